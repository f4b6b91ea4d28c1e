"""huggingface_hub takes the server for the hub, with nothing of assetmgr on its side. Passes with 0.36 to 2.x."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from assetmgr.server.catalog import Catalogs
from assetmgr.server.hub import Hub
from assetmgr.server.requests import Request
from assetmgr.server.server import Server
from assetmgr.workspace import Workspace
from tests.server.support import FILES, MANIFEST, get, serving, stocked, stocked_hub
from tests.support import REPOSITORY, clean_environment

os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # read when huggingface_hub is imported
huggingface_hub: Any = pytest.importorskip("huggingface_hub")
errors: Any = pytest.importorskip("huggingface_hub.errors")

pytestmark = pytest.mark.hub
SECOND = {**FILES, "config.json": b'{"model_type": "gpt2"}'}
ROWS = {"train.csv": b"a,b\n1,2\n", "README.md": b"# rows\n"}


@pytest.fixture(scope="module")
def commits(workspace: Workspace) -> Mapping[str, str]:
    return {entry.name: entry.commit for entry in workspace.locked()}


@pytest.fixture
def api(server: Server) -> Any:
    return huggingface_hub.HfApi(endpoint=server.address, token=False)


def download(server: Server, cache: Path, repo: str = "org/name", kind: str = "model", **options: Any) -> Path:
    options.setdefault("token", False)
    return Path(
        huggingface_hub.snapshot_download(repo, repo_type=kind, endpoint=server.address, cache_dir=cache, **options)
    )


def held(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("revision", [None, "main", "v1", "commit"])
def test_a_snapshot_of_a_branch_a_tag_or_a_commit_has_every_byte(
    server: Server, commits: Mapping[str, str], tmp_path: Path, revision: str | None
) -> None:
    asked = commits["tagged"] if revision == "commit" else revision
    snapshot = download(server, tmp_path, revision=asked)
    is_first = revision in ("v1", "commit")
    assert held(snapshot) == (FILES if is_first else SECOND)
    assert snapshot.name == commits["tagged" if is_first else "whole"]
    assert held(download(server, tmp_path, revision=asked)) == held(snapshot)


def test_a_dataset_is_served_beside_a_model_of_any_name(server: Server, tmp_path: Path) -> None:
    assert held(download(server, tmp_path, "org/rows", "dataset")) == ROWS
    with pytest.raises(errors.RepositoryNotFoundError):
        download(server, tmp_path, "org/rows", "model")


def test_the_program_of_the_hub_downloads(server: Server, tmp_path: Path) -> None:
    names = [Path(sys.executable).with_name(name) for name in ("hf", "huggingface-cli")]
    program = next((name for name in names if name.exists()), None)
    if program is None:
        pytest.skip("huggingface_hub's program is not installed here")
    home = {"HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": server.address}
    done = subprocess.run(
        [program, "download", "org/name", "--local-dir", tmp_path / "there"],
        env=clean_environment(**home),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {name: data for name, data in held(tmp_path / "there").items() if not name.startswith(".cache/")}
    assert found == SECOND


def test_one_file_is_fetched_and_one_that_is_not_there_is_told_so(server: Server, tmp_path: Path) -> None:
    options = {"endpoint": server.address, "cache_dir": tmp_path, "token": False}
    for _ in range(2):
        path = huggingface_hub.hf_hub_download("org/name", "data/more/b \u00e9.txt", **options)
        assert Path(path).read_bytes() == b"b"
    with pytest.raises(errors.EntryNotFoundError) as told:
        huggingface_hub.hf_hub_download("org/name", "none.txt", **options)
    assert type(told.value) is not errors.LocalEntryNotFoundError
    with pytest.raises(errors.RevisionNotFoundError):
        huggingface_hub.hf_hub_download("org/name", "config.json", revision="v9", **options)
    with pytest.raises(errors.RevisionNotFoundError):
        download(server, tmp_path, revision="v9")
    with pytest.raises(errors.RepositoryNotFoundError):
        download(server, tmp_path, "org/none")


def test_the_api_tells_of_files_folders_and_revisions(
    server: Server, api: Any, commits: Mapping[str, str], tmp_path: Path
) -> None:
    rows = {row.path: row for row in api.list_repo_tree("org/name", recursive=True)}
    assert rows.keys() == {*FILES, "data", "data/more"}
    weights = rows["model.safetensors"]
    assert (weights.size, weights.lfs.size, len(weights.lfs.sha256)) == (len(FILES["model.safetensors"]),) * 2 + (64,)
    assert [row.path for row in api.list_repo_tree("org/name", "data")] == ["data/more", "data/a.txt"]
    with pytest.raises(errors.EntryNotFoundError):
        list(api.list_repo_tree("org/name", "nowhere"))
    info = api.repo_info("org/name", files_metadata=True)
    assert (info.sha, {one.rfilename for one in info.siblings}) == (commits["whole"], set(FILES))
    assert {one.rfilename: one.size for one in info.siblings} == {name: len(data) for name, data in SECOND.items()}
    assert {ref.name: ref.target_commit for ref in api.list_repo_refs("org/name").branches} == {
        "main": commits["whole"],
        "v1": commits["tagged"],
    }
    found = api.get_paths_info("org/name", ["data", "config.json", "none"])
    assert [row.path for row in found] == ["data", "config.json"]
    assert api.file_exists("org/name", "config.json")
    assert not api.file_exists("org/name", "none")
    assert get(server, "/api/whoami-v2").status == 401
    assert huggingface_hub.HfApi(endpoint=server.address, token="hf_any").whoami()["name"] == "assetmgr"


@pytest.mark.parametrize("name", ["org/tree", "org/resolve", "alone"])
def test_a_repo_may_be_called_as_a_part_of_the_protocol_is(workspace: Workspace, name: str) -> None:
    catalog = Catalogs(workspace.store).now()
    repo = dataclasses.replace(catalog.repos["model", "org/name"], id=name)
    hub = Hub(dataclasses.replace(catalog, repos={("model", name): repo}))

    def asked(path: str) -> Any:
        return json.loads(hub.api(Request("GET", f"/api/models/{name}{path}", {}), "").body)

    assert asked("")["id"] == asked("/revision/main")["id"] == name
    assert [row["path"] for row in asked("/tree/main/data")] == ["data/more", "data/a.txt"]
    assert hub.resolve("model", [*name.split("/"), "resolve", "main", "data", "a.txt"]).size == 1


def test_what_is_not_served_of_a_repo_is_no_missing_repo(server: Server) -> None:
    reply = get(server, "/api/models/org/name/commits/main")
    assert (reply.status, reply.headers.get("x-error-code")) == (404, None)
    assert "nothing is served at /api/models/org/name/commits/main" in reply.headers["x-error-message"]


def test_a_long_tree_comes_in_pages(server: Server) -> None:
    target, seen = "/api/models/org/name/tree/main?recursive=true&limit=2", []
    while target:
        reply = get(server, target)
        seen += [row["path"] for row in json.loads(reply.body)]
        link = reply.headers.get("link", "")
        assert not link or link.startswith("<http://127.0.0.1/")
        target = link.partition(">")[0].removeprefix("<http://127.0.0.1")
    assert sorted(seen) == sorted({*FILES, "data", "data/more"})


# --- a part is never taken for the whole ------------------------------------------------------------------------------


def test_a_filtered_asset_lists_its_whole_commit_and_refuses_what_it_does_not_hold(
    server: Server, api: Any, tmp_path: Path
) -> None:
    assert {row.path for row in api.list_repo_tree("org/part", recursive=True)} > set(FILES)
    assert {one.rfilename for one in api.repo_info("org/part").siblings} == set(FILES)
    with pytest.raises(errors.RevisionNotFoundError, match="not held by this server"):
        download(server, tmp_path / "all", "org/part")
    options = {"endpoint": server.address, "cache_dir": tmp_path / "one", "token": False}
    with pytest.raises(errors.RevisionNotFoundError, match="part was pinned without it"):
        huggingface_hub.hf_hub_download("org/part", "model.safetensors", **options)
    reply = get(server, "/org/part/resolve/main/model.safetensors")
    assert (reply.status, reply.headers["x-error-code"]) == (403, "RevisionNotFound")
    part = download(server, tmp_path / "some", "org/part", allow_patterns=["*.json", "data/*"])
    assert held(part) == {name: data for name, data in FILES.items() if name.endswith(".json") or "data/" in name}


def test_a_part_whose_listing_is_lost_is_not_listed_at_all(tmp_path: Path) -> None:
    workspace = stocked(tmp_path, stocked_hub())
    (entry,) = (entry for entry in workspace.locked() if entry.name == "part")
    assert entry.listing is not None
    os.unlink(workspace.store.listing(entry.listing))
    with serving(workspace) as server:
        with pytest.raises(errors.RevisionNotFoundError, match="held in part"):
            download(server, tmp_path / "all", "org/part")
        reply = get(server, "/org/part/resolve/main/config.json")
        assert (reply.status, reply.body) == (200, FILES["config.json"])


# --- transformers -----------------------------------------------------------------------------------------------------

LOAD = """
from transformers import AutoModel, AutoTokenizer
from transformers.utils import cached_file
tokenizer = AutoTokenizer.from_pretrained("our/bert")
model = AutoModel.from_pretrained("our/bert")
print(model(**tokenizer("a b", return_tensors="pt")).last_hidden_state.sum().item())

ifs = ("missing_entries", "connection_errors", "gated_repo")
lenient = {f"_raise_exceptions_for_{one}": False for one in ifs}
assert cached_file("org/part", "generation_config.json", **lenient) is None  # it is not in the commit
try:
    cached_file("org/part", "model.safetensors", **lenient)
except OSError as error:
    assert "not held by this server" in str(error.__cause__)
else:
    raise SystemExit("a file that is not held was passed over")

import datasets
assert datasets.load_dataset("org/rows")["train"][0] == {"a": 1, "b": 2}
"""


@pytest.mark.torch
def test_transformers_and_datasets_load_over_the_server_what_they_load_from_a_folder(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("datasets")
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]))
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = transformers.BertModel(transformers.BertConfig(vocab_size=7, **small)).eval()
    model.save_pretrained(folder)
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    hub = stocked_hub()
    hub.create("our/bert").commit_folder(folder)
    text = MANIFEST.replace("models:\n", 'models:\n  bert: {hub: {repo: our/bert, endpoint: "ENDPOINT"}}\n')
    with serving(stocked(tmp_path / "lab", hub, text)) as server:
        home = {"HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": server.address}
        done = subprocess.run(
            [sys.executable, "-c", LOAD],
            env=clean_environment(**home) | {"PYTHONPATH": str(REPOSITORY / "nowhere")},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    expected = model(**transformers.AutoTokenizer.from_pretrained(folder)("a b", return_tensors="pt"))
    assert float(done.stdout) == pytest.approx(expected.last_hidden_state.sum().item(), abs=1e-4)
    (snapshot,) = (tmp_path / "hf" / "hub" / "models--our--bert" / "snapshots").iterdir()
    there = held(snapshot)
    assert {"config.json", "model.safetensors"} <= there.keys()
    assert there.items() <= held(folder).items()
