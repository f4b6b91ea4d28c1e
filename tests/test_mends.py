"""For each kind of error a situation that a user gets into: what is said, and that what it says to do mends it.

Where the mend is a command it is run as it is printed, by a shell, once what it takes for granted is so. Then the
command that failed is run again, and works.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from assetmgr import errors
from assetmgr.errors import AssetError
from tests.hub import Hub, RawEntry
from tests.origins.checkout import SHAPES, packed, some
from tests.support import Done, Project, flip_byte, served, truncate
from tests.test_errors import leaves
from tests.test_mutex import holder

DATA = Path(__file__).parent / "data"
BODY = b"0123456789" * 300
TOKEN = "hf_" + "a" * 32
FILES = "version: 1\nmodels:\n  m:\n    files: [{url: '{endpoint}/f/w.bin'}]\n"
_COMMAND = re.compile(r"((?:assetmgr|pip install) .+?)(?=[,;]? (?:or|and) |[,;`] ?|\n|$)")


class World:
    """A project, its hub, and a shell that has `assetmgr` and a `pip` that only takes note of what it is told."""

    def __init__(self, project: Project, hub: Hub) -> None:
        self.project, self.hub = project, hub
        self.programs = project.folder.parent / "programs"
        self.programs.mkdir()
        self.pip_log = self.programs / "pip.log"
        self._program("assetmgr", f'exec "{sys.executable}" -m assetmgr "$@"')
        self._program("pip", f'printf "%s\\n" "$*" >> "{self.pip_log}"')

    def _program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.programs / name).chmod(0o755)

    def fails(self, kind: type[AssetError], *arguments: str, says: str) -> str:
        """Run a command that must fail in this way; return its mend."""
        done = self.project.run("--json", *arguments, code=kind.exit_code)  # which tells a person too
        assert re.search(says, done.err), done.err
        (error, *_) = done.json["errors"]
        assert error["type"] == kind.__name__
        assert error["mend"]
        assert f"  mend: {error['mend'].splitlines()[0]}" in done.err, done.err
        return str(error["mend"])

    def works(self, *arguments: str) -> Done:
        return self.project.run(*arguments)

    def type_in(self, mend: str) -> str:
        """Run the command that a mend names, as it is printed."""
        found = _COMMAND.search(mend)
        assert found, mend
        path = f"{self.programs}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-e", "-c", found[1]],
            cwd=self.project.folder,
            env=self.project.environment(PATH=path),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{found[1]}\n{done.stdout}\n{done.stderr}"
        return found[1]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    hub = Hub()
    hub.publish("/f/w.bin", BODY)
    hub.publish("/f/v.bin", BODY[:-1])
    hub.create("org/name").commit({"config.json": b"{}", "model.safetensors": BODY})
    with served(hub, tmp_path / "project") as project:
        yield World(project, hub)


Situation: TypeAlias = Callable[[World], None]
SITUATIONS: dict[type[AssetError], Situation] = {}


def befalls(kind: type[AssetError]) -> Callable[[Situation], Situation]:
    def register(situation: Situation) -> Situation:
        SITUATIONS[kind] = situation
        return situation

    return register


# --- 1, 2: the place, the manifest, the command line, the lock -------------------------------------------------------


@befalls(errors.AssetError)
def a_file_stands_where_the_store_should(world: World) -> None:
    world.project.write(FILES)
    world.project.root.write_text("a file")
    mend = world.fails(AssetError, "lock", says=f"error: {world.project.root}.*: Not a directory")
    assert mend.startswith("see what stands there")
    world.project.root.unlink()
    world.works("lock")


@befalls(errors.MissingExtraError)
def a_library_is_not_installed(world: World) -> None:
    world.project.write(FILES.replace("w.bin'", "w.bin', crc32c: '00000000'"))
    broken = world.programs / "without"
    broken.mkdir()
    (broken / "google_crc32c.py").write_text("raise ModuleNotFoundError('google_crc32c', name='google_crc32c')")
    usual = world.project.environment()["PYTHONPATH"]
    world.project.env["PYTHONPATH"] = f"{broken}{os.pathsep}{usual}"
    mend = world.fails(errors.MissingExtraError, "lock", says="m.*crc32c pin needs the google-crc32c library")
    assert world.type_in(mend) == "pip install 'assetmgr[crc32c]'"
    assert world.pip_log.read_text() == "install assetmgr[crc32c]\n"
    del world.project.env["PYTHONPATH"]  # which is what pip would have done
    pytest.importorskip("google_crc32c")
    world.fails(errors.IntegrityError, "lock", says="expected crc32c 00000000")  # it can be computed now


@befalls(errors.ManifestError)
def a_key_is_misspelt(world: World) -> None:
    world.project.write(FILES.replace("files:", "flies:"))
    done = world.project.run("lock", code=2)
    assert re.search(r"assets\.yaml:4:5: unknown key 'flies' in a model; did you mean 'files'\?", done.err), done.err
    world.project.write(FILES)  # as it says
    world.works("lock")


@befalls(errors.UsageError)
def there_is_no_manifest_and_no_name(world: World) -> None:
    mend = world.fails(errors.UsageError, "lock", says="error: no manifest here")
    world.type_in(mend)
    world.works("lock")


@befalls(errors.UnknownAssetError)
def a_name_is_misspelt(world: World) -> None:
    world.project.write(FILES.replace("  m:", "  minilm:"))
    world.fails(errors.UnknownAssetError, "lock", "minilmm", says=r"no asset 'minilmm' .*; did you mean 'minilm'\?")
    world.works("lock", "minilm")


@befalls(errors.LockError)
def a_lock_is_damaged(world: World) -> None:
    world.project.write(FILES)
    world.works("lock")
    world.project.lock_file.write_text("{")
    mend = world.fails(errors.LockError, "pull", says=f"error: {world.project.lock_file}: not JSON")
    world.type_in(mend.partition(", or ")[2])
    world.works("pull")


@befalls(errors.LockConflictError)
def a_merge_left_both_sides_in_a_lock(world: World) -> None:
    project = world.project
    project.write(FILES)
    world.works("lock")

    def git(*arguments: str, code: int = 0) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        assert subprocess.run(["git", *who, *arguments], cwd=project.folder, capture_output=True).returncode == code

    git("init", "-q")
    git("add", "assets.yaml", "assets.lock.json")
    git("commit", "-qm", "one")
    git("branch", "other")
    for branch, file in (("other", "v"), ("-", "x")):
        git("checkout", "-q", branch)
        world.hub.publish(f"/f/{file}.bin", file.encode())
        project.write(FILES.replace("w.bin", f"{file}.bin"))
        world.works("lock")
        git("commit", "-qam", file)
    git("merge", "-q", "other", code=1)
    git("checkout", "-q", "--ours", "assets.yaml")
    mend = world.fails(errors.LockConflictError, "lock", says="a merge left both sides in it")
    git(*re.findall(r"\(git (checkout --ours \S+?),", mend)[0].split())
    world.type_in(mend)
    world.works("pull")


@befalls(errors.LockVersionError)
def a_lock_is_of_a_newer_assetmgr(world: World) -> None:
    world.project.write(FILES)
    world.works("lock")
    document = json.loads(world.project.lock_file.read_text())
    world.project.lock_file.write_text(json.dumps(document | {"version": 2}))
    mend = world.fails(errors.LockVersionError, "pull", says=f"error: {world.project.lock_file}.*version 2")
    assert world.type_in(mend) == "pip install --upgrade assetmgr"
    world.project.lock_file.write_text(json.dumps(document))  # the newer one would read the other
    world.works("pull")


@befalls(errors.PatternError)
def patterns_select_nothing(world: World) -> None:
    manifest = "version: 1\nmodels:\n  m:\n    hub: org/name\n    allow_patterns: '{}'\n"
    world.project.write(manifest.replace("{}", "*.pth"))
    mend = world.fails(
        errors.PatternError, "lock", says=r"assets\.yaml:3:3: m: allow_patterns .* match no file of org/name"
    )
    assert "it holds: config.json, model.safetensors" in mend
    world.project.write(manifest.replace("{}", "*.safetensors"))
    world.works("lock")


# --- 3: bytes and names ----------------------------------------------------------------------------------------------


@befalls(errors.ChangedOutcomeError)
def what_a_script_fetches_is_another_now(world: World) -> None:
    project, hub = world.project, world.hub
    shape = next(shape for shape in SHAPES if shape.name == "vg")
    for path, data in shape.published().items():
        hub.publish(path, data)
    shape.write(project.folder / "LAVIS", project.endpoint)
    project.write("version: 1\ndatasets:\n  vg: {script: download_vg, checkout: ./LAVIS}\n")
    world.works("lock")
    world.works("pull")
    world.works("lock", "--freeze")
    project.env["ASSETMGR_ROOT"] = str(project.folder / "another")
    hub.publish("/vg/images.zip", packed("images.zip", some("VG_100K", 3)))
    mend = world.fails(errors.ChangedOutcomeError, "pull", says="vg: .* gives (another|other bytes)")
    assert "--mirror" in mend
    assert " && assetmgr pull" in world.type_in(mend)
    world.works("pull")


@befalls(errors.IntegrityError)
def a_file_is_damaged(world: World) -> None:
    world.project.write(FILES)
    world.works("lock")
    world.works("pull")
    truncate(world.project.root / "files/m/w.bin", 10)
    mend = world.fails(errors.IntegrityError, "path", "m", says=r"error: m: w\.bin: truncated: expected 3000 bytes")
    world.type_in(mend)
    world.works("path", "m")
    # What only a full look finds is told as findings, with the same mend.
    flip_byte(world.project.root / "files/m/w.bin", keep_time=True)
    done = world.project.run("verify", "--full", code=3)
    world.type_in(done.err.partition("mend: ")[2])
    world.works("verify", "--full")


@befalls(errors.UnsafeNameError)
def a_repo_has_a_name_that_climbs(world: World) -> None:
    world.hub.create("org/bad").commit({"fine.txt": b"fine", "a/../../x": RawEntry(b"escaped")})
    world.project.write("version: 1\nmodels:\n  m:\n    hub: org/bad\n")
    mend = world.fails(errors.UnsafeNameError, "lock", says=r"m.*a/\.\./\.\./x")
    assert "nothing was written" in mend
    world.project.write("version: 1\nmodels:\n  m:\n    hub: org/name\n")  # another repo, as it says
    world.works("lock")


# --- 4: what is not there --------------------------------------------------------------------------------------------


@befalls(errors.NotInstalledError)
def it_is_not_installed(world: World) -> None:
    world.project.write(FILES)
    mend = world.fails(errors.NotInstalledError, "path", "m", says="error: m: not installed")
    assert mend == "assetmgr lock m && assetmgr pull m"
    world.works("lock")
    mend = world.fails(errors.NotInstalledError, "path", "m", says="error: m: not installed")
    assert world.type_in(mend) == "assetmgr pull m"
    world.works("path", "m")


@befalls(errors.NotLockedError)
def it_is_not_locked(world: World) -> None:
    world.project.write(FILES)
    mend = world.fails(errors.NotLockedError, "pull", says="error: m: not locked .*there is no .*assets.lock.json")
    assert world.type_in(mend) == "assetmgr lock m"
    world.works("pull")


@befalls(errors.StaleLockError)
def the_manifest_has_changed_since(world: World) -> None:
    world.project.write(FILES)
    world.works("lock")
    world.project.write(FILES.replace("w.bin", "v.bin"))
    world.fails(errors.StaleLockError, "lock", "--check", says="error: .*m")
    mend = world.fails(errors.StaleLockError, "pull", "--locked", says="error: m: the manifest changed since")
    world.type_in(mend)
    world.works("lock", "--check")
    world.works("pull", "--locked")


# --- 5: the origin and the network -----------------------------------------------------------------------------------


@befalls(errors.OriginError)
def a_url_leads_nowhere(world: World) -> None:
    world.project.write(FILES.replace("w.bin", "gone.bin"))
    mend = world.fails(errors.OriginError, "lock", says=r"error: m: gone\.bin: http.*/f/gone\.bin: HTTP 404")
    assert "correct the url in the manifest" in mend
    world.project.write(FILES)
    world.works("lock")


@befalls(errors.RepoNotFoundError)
def a_repo_is_shown_to_another_token(world: World) -> None:
    other = TOKEN.replace("a", "b")
    world.hub.tokens |= {TOKEN: "*", other: []}
    world.hub.create("org/mine", private=True).commit({"config.json": b"{}"})
    world.project.write("version: 1\nmodels:\n  m:\n    hub: org/mine\n")
    world.project.env["HF_TOKEN"] = other
    mend = world.fails(errors.RepoNotFoundError, "lock", says="error: m: .*org/mine")
    assert "correct `hub:` in the manifest, or give a token that may see it" in mend
    world.project.env["HF_TOKEN"] = TOKEN
    world.works("lock")


@befalls(errors.WrongKindError)
def a_dataset_stands_among_the_models(world: World) -> None:
    world.hub.create("org/data", "dataset").commit({"train.json": b"[]"})
    world.project.write("version: 1\nmodels:\n  m:\n    hub: org/data\n")
    mend = world.fails(errors.WrongKindError, "lock", says="error: m: org/data is a dataset on .*asks for a model")
    assert mend == "move m from `models:` to `datasets:` in the manifest"
    world.project.write("version: 1\ndatasets:\n  m:\n    hub: org/data\n")
    world.works("lock")


@befalls(errors.RevisionNotFoundError)
def a_branch_is_gone(world: World) -> None:
    world.project.write("version: 1\nmodels:\n  m:\n    hub: org/name\n    revision: gone\n")
    mend = world.fails(errors.RevisionNotFoundError, "lock", says="error: m: .*gone")
    assert "correct `revision:` in the manifest" in mend
    world.project.write("version: 1\nmodels:\n  m:\n    hub: org/name\n    revision: main\n")
    world.works("lock")


@befalls(errors.OfflineError)
def the_network_is_forbidden(world: World) -> None:
    world.project.write("version: 1\nmodels:\n  m:\n    hub: org/name\n")
    world.works("lock")
    mend = world.fails(errors.OfflineError, "pull", "--offline", says="error: m: .*--offline")
    assert world.type_in(mend) == "assetmgr pull m"
    world.works("pull", "--offline")


@befalls(errors.UnknownSplitError)
def a_split_is_misspelt(world: World) -> None:
    pytest.importorskip("pyarrow")
    world.hub.publish("/f/a.json", b'[{"image": "a.jpg", "caption": "x", "image_id": 1}]')
    world.hub.publish("/f/a.jpg", (DATA / "coco-sample/val2017/000000002149.jpg").read_bytes())
    world.project.write(
        "version: 1\ndatasets:\n  d:\n    files: [{url: '{endpoint}/f/a.json'}, {url: '{endpoint}/f/a.jpg'}]\n"
        "    splits: {train: a.json}\n    samples: caption\n"
    )
    world.works("lock")
    world.works("pull")
    show = ("show", "d", "--samples", "1", "-o", "sheet.html", "--split")
    mend = world.fails(errors.UnknownSplitError, *show, "trian", says="error: d has no split 'trian'.*train")
    assert mend == "its splits are train"
    world.works(*show, "train")


# --- 6, 7, 8: the disk, leave, and others ----------------------------------------------------------------------------


@befalls(errors.DiskSpaceError)
def the_disk_is_too_small(world: World) -> None:
    world.hub.create("org/huge").commit({"model.safetensors": RawEntry(b"small", size=10**15)})
    world.project.write("version: 1\nmodels:\n  huge: {hub: org/huge}\n  m: {hub: org/name}\n")
    world.works("lock")
    mend = world.fails(
        errors.DiskSpaceError, "pull", says="error: .*bytes are needed and .* are free; the most for huge"
    )
    assert "name fewer assets" in mend
    world.works("pull", "m")


@befalls(errors.MemorySpaceError)
def a_model_is_larger_than_what_is_free(world: World) -> None:
    pytest.importorskip("transformers")
    weights = sum(path.stat().st_size for path in (DATA / "tiny_blip2_vqa").glob("*.safetensors"))
    world.hub.create("org/blip2").commit_folder(DATA / "tiny_blip2_vqa")
    world.project.write("version: 1\nmodels:\n  m:\n    hub: org/blip2\n")
    world.works("lock")
    world.works("pull")
    done = world.project.python(
        "import sys, assetmgr\nfrom assetmgr import errors\nfrom assetmgr.models import fitting\n"
        "fitting.main_memory = lambda *, swap: int(sys.argv[1])\n"
        "load_model = assetmgr.load_model\n"
        "try: load_model('m', device='cpu', dtype='float32')\n"
        "except errors.MemorySpaceError as error: print(error.exit_code, eval(error.mend.split(', which')[0]).dtype)\n",
        str(weights * 7 // 10),
    )
    assert done.out == "6 torch.float16\n"


@befalls(errors.AccessError)
def a_repo_is_gated(world: World) -> None:
    world.hub.tokens[TOKEN] = "*"
    world.hub.create("org/gated", gated="manual").commit({"config.json": b"{}"})
    world.project.write("version: 1\nmodels:\n  m:\n    hub: org/gated\n")
    mend = world.fails(errors.AccessError, "lock", says="error: m: .*org/gated is gated")
    assert "accept its terms at" in mend
    assert "HF_TOKEN" in mend
    world.project.env["HF_TOKEN"] = TOKEN
    world.works("lock")


@befalls(errors.FetchByHandError)
def a_file_is_to_be_fetched_by_hand(world: World) -> None:
    world.project.write("version: 1\ndatasets:\n  m:\n    files: [{path: w.bin, ask: Ask the publisher for w.bin}]\n")
    mend = world.fails(errors.FetchByHandError, "lock", says="error: m: w.bin.*Ask the publisher for w.bin")
    where = re.search(r"put it.* at (\S+)", mend)
    assert where
    Path(where[1]).parent.mkdir(parents=True, exist_ok=True)
    Path(where[1]).write_bytes(BODY)
    assert world.type_in(mend.partition("then: ")[2]) == "assetmgr lock m"
    world.works("lock")
    world.works("pull")


@befalls(errors.BusyError)
def another_process_holds_it(world: World) -> None:
    world.project.write(FILES)
    world.works("lock")
    world.works("pull")
    (mine,) = world.project.root.glob(".assetmgr/mutex/files-*.lock")
    (world.project.root / "files/m/w.bin").unlink()
    with holder(mine) as other:
        mend = world.fails(errors.BusyError, "pull", "--wait", "0", says=f"m.*process {other.pid}")
        assert "end it" in mend
    world.works("pull", "--wait", "0")


@befalls(errors.SeveralErrors)
def several_assets_fail_each_in_its_way(world: World) -> None:
    world.project.write(FILES + "  n:\n    files: [{url: '{endpoint}/f/v.bin'}]\n")
    done = world.project.run("pull", code=4)
    mends = re.findall(r"mend: (.*)", done.err)
    assert len(mends) == 2
    for mend in mends:
        world.type_in(mend)
    world.works("pull")


# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="what is printed is typed into bash")
@pytest.mark.parametrize("kind", leaves(), ids=lambda kind: str(kind.__name__))
def test_what_an_error_says_to_do_mends_it(kind: type[AssetError], world: World) -> None:
    SITUATIONS[kind](world)
