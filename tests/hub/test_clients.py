"""huggingface_hub takes the loopback hub for the real one. Passes with 0.36, 1.31 and 2.4."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import Fault, Hub, Kind, Repo

os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # read when huggingface_hub is imported
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
huggingface_hub: Any = pytest.importorskip("huggingface_hub")
errors: Any = pytest.importorskip("huggingface_hub.errors")

pytestmark = pytest.mark.hub
WEIGHTS = bytes(range(256)) * 4000
FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS, "data/a.txt": b"a", "data/more/b.txt": b"b"}


@pytest.fixture
def hub() -> Hub:
    return Hub(tokens={"hf_all": "*", "hf_none": ()})


@pytest.fixture
def endpoint(hub: Hub) -> Iterator[str]:
    with hub.serve() as endpoint:
        yield endpoint


@pytest.fixture(params=["model", "dataset"])
def repo(hub: Hub, request: pytest.FixtureRequest) -> Repo:
    kind: Kind = request.param
    repo = hub.create("org/name", kind)
    repo.tag("v1", repo.commit(FILES, message="first"))
    repo.commit({"config.json": b"{1}"}, message="second")
    return repo


@pytest.fixture
def api(endpoint: str) -> Any:
    return huggingface_hub.HfApi(endpoint=endpoint, token=False)


def download(endpoint: str, cache: Path, repo: Repo, **options: Any) -> Path:
    options.setdefault("token", False)
    return Path(
        huggingface_hub.snapshot_download(repo.id, repo_type=repo.kind, endpoint=endpoint, cache_dir=cache, **options)
    )


def held(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("page_size", [1000, 2])
@pytest.mark.parametrize("revision", ["main", "v1", "refs/pr/1"])
def test_a_snapshot_has_every_byte(
    hub: Hub, endpoint: str, repo: Repo, tmp_path: Path, revision: str, page_size: int
) -> None:
    hub.page_size = page_size
    repo.branch("refs/pr/1", repo.tags["v1"])
    snapshot = download(endpoint, tmp_path, repo, revision=revision)
    assert held(snapshot) == FILES | ({"config.json": b"{1}"} if revision == "main" else {})
    commit = repo.find(revision)
    assert commit is not None
    assert snapshot.name == commit.sha
    names = {path.name for path in (snapshot.parent.parent / "blobs").iterdir()}
    assert hashlib.sha256(WEIGHTS).hexdigest() in names


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_snapshot_comes_through_a_redirect(hub: Hub, endpoint: str, repo: Repo, tmp_path: Path, host: str) -> None:
    hub.redirect_lfs = endpoint.replace("127.0.0.1", host) if host == "localhost" else True
    token = "hf_all"
    assert held(download(endpoint, tmp_path, repo, token=token))["model.safetensors"] == WEIGHTS
    (fetch,) = [record for record in hub.requests if record.line.startswith("GET /cdn/")]
    assert ("authorization" in fetch.headers) == (host == "127.0.0.1")


def test_one_file_is_fetched_and_found_again(hub: Hub, endpoint: str, repo: Repo, tmp_path: Path) -> None:
    options = {"repo_type": repo.kind, "endpoint": endpoint, "cache_dir": tmp_path, "token": False}
    for _ in range(2):
        path = huggingface_hub.hf_hub_download(repo.id, "data/a.txt", **options)
        assert Path(path).read_bytes() == b"a"
    assert hub.count("GET", "/resolve/") == 1
    with pytest.raises(errors.EntryNotFoundError):
        huggingface_hub.hf_hub_download(repo.id, "none.txt", **options)


@pytest.mark.parametrize("expand", [False, True])
def test_the_api_reads_listings_info_refs_and_history(hub: Hub, api: Any, repo: Repo, expand: bool) -> None:
    hub.page_size = 2
    rows = list(api.list_repo_tree(repo.id, repo_type=repo.kind, recursive=True, expand=expand))
    files = {row.path: row for row in rows if hasattr(row, "blob_id")}
    assert set(files) == set(FILES)
    assert {row.path for row in rows} - set(FILES) == {"data", "data/more"}
    assert files["model.safetensors"].lfs.sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    assert [row.path for row in api.list_repo_tree(repo.id, "data", repo_type=repo.kind)] == [
        "data/more",
        "data/a.txt",
    ]
    info = api.repo_info(repo.id, repo_type=repo.kind, files_metadata=True)
    assert info.sha == repo.branches["main"]
    assert {sibling.rfilename: sibling.size for sibling in info.siblings}["model.safetensors"] == len(WEIGHTS)
    refs = api.list_repo_refs(repo.id, repo_type=repo.kind)
    assert [ref.name for ref in refs.tags] == ["v1"]
    assert [commit.title for commit in api.list_repo_commits(repo.id, repo_type=repo.kind)] == [
        "second",
        "first",
    ]
    found = api.get_paths_info(repo.id, ["data", "config.json", "none"], repo_type=repo.kind)
    assert [row.path for row in found] == ["data", "config.json"]


def test_refusals_become_the_client_s_own_errors(hub: Hub, endpoint: str, api: Any, repo: Repo, tmp_path: Path) -> None:
    other = "dataset" if repo.kind == "model" else "model"
    with pytest.raises(errors.RepositoryNotFoundError):
        api.repo_info(repo.id, repo_type=other)
    with pytest.raises(errors.RevisionNotFoundError):
        download(endpoint, tmp_path, repo, revision="none")
    repo.gated = "manual"
    for token in (False, "hf_none"):
        with pytest.raises(errors.GatedRepoError):
            download(endpoint, tmp_path, repo, token=token)
    assert held(download(endpoint, tmp_path, repo, token="hf_all"))["config.json"] == b"{1}"
    repo.private = True
    for token in (False, "hf_none"):
        with pytest.raises(errors.RepositoryNotFoundError):
            huggingface_hub.HfApi(endpoint=endpoint, token=token).repo_info(repo.id, repo_type=repo.kind)
    assert huggingface_hub.HfApi(endpoint=endpoint, token="hf_all").whoami()["name"] == "tester"


def test_a_renamed_repository_is_followed(hub: Hub, endpoint: str, tmp_path: Path) -> None:
    hub.create("org/new").commit(FILES)
    hub.alias("old", "org/new")
    path = huggingface_hub.hf_hub_download("old", "config.json", endpoint=endpoint, cache_dir=tmp_path, token=False)
    assert Path(path).read_bytes() == b"{}"
    assert huggingface_hub.HfApi(endpoint=endpoint, token=False).model_info("old").id == "org/new"


def test_a_wrong_byte_of_the_right_size_is_accepted_by_the_client(
    hub: Hub, endpoint: str, repo: Repo, tmp_path: Path
) -> None:
    hub.faults.add(Fault("model.safetensors", flip_at=7))
    snapshot = download(endpoint, tmp_path, repo)
    assert (snapshot / "model.safetensors").read_bytes() != WEIGHTS
