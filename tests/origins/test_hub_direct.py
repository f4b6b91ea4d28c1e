"""The direct transport: what it asks a hub for, what it makes of the answers, and when Xet is left to others."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr.errors import OriginError
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.origins import Context, Origins, hub_listing
from assetmgr.origins.hub_direct import Direct, user_token, xet_is_there
from assetmgr.origins.hub_listing import HubListing, select
from assetmgr.store import Store
from assetmgr.transfer.limits import Limits
from tests.hub import Fault, Hub
from tests.support import Project, eventually, hub_manifest, served

pytestmark = pytest.mark.hub

WEIGHTS = random.Random(7).randbytes(12 << 20)
SMALL = {"config.json": b"{}", "sub/a%20b #1.txt": b"text", "vocab.json": b"[]"}


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.create("org/name").commit({**SMALL, "model.safetensors": WEIGHTS})
    return hub


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        project.write(hub_manifest(extra=["transport: direct"]))
        yield project


def test_one_request_a_file_and_two_for_the_listing(hub: Hub, project: Project) -> None:
    project.run("lock")
    assert hub.count("GET", "/api/") == 2
    assert hub.count("GET", "/resolve/") == len(SMALL), "the hub has no sha256 of these"
    hub.reset_log()
    project.run("pull")
    assert [record.line for record in hub.requests if "model.safetensors" not in record.path] == []
    assert hub.count("HEAD") == 0
    project.run("verify", "--full", "--offline")


def test_huggingface_hub_takes_the_result_for_its_own(project: Project) -> None:
    project.run("lock")
    project.run("pull")
    look = (
        "import huggingface_hub as h\n"
        "folder = h.snapshot_download('org/name', local_files_only=True)\n"
        "one = h.hf_hub_download('org/name', 'sub/a%20b #1.txt', local_files_only=True)\n"
        "print(folder); print(open(one).read())\n"
    )
    env = {"HF_HUB_CACHE": str(project.root / "hub")}
    folder, text = project.python(look, env=env).out.split("\n")[:2]
    assert folder == str(project.path("m"))
    assert text == "text"


def test_a_killed_pull_goes_on_inside_the_file(hub: Hub, project: Project) -> None:
    project.run("lock")
    stall = hub.faults.add(Fault(match="model.safetensors", stall_after=9 << 20, times=None))
    process = project.start("pull")
    assert hub.faults.wait_stalled(timeout=30)
    (partial,) = project.root.glob(f".assetmgr/partial/{hashlib.sha256(WEIGHTS).hexdigest()}")
    assert eventually(lambda: partial.read_bytes()[: 8 << 20] == WEIGHTS[: 8 << 20])
    process.kill()
    process.communicate()
    hub.faults.remove(stall)
    hub.faults.release()
    hub.reset_log()
    assert "going on after" in project.run("pull").err
    assert sum(record.sent for record in hub.requests) <= 5 << 20
    project.run("verify", "--full", "--offline")


def test_a_redirect_to_the_storage_takes_no_token_along(hub: Hub, project: Project) -> None:
    hub.tokens["hf_canary"] = "*"
    storage = Hub()
    storage.publish("/lfs/model", WEIGHTS)
    with storage.serve() as address:
        away = {"Location": f"{address}/lfs/model?signed=1"}
        hub.faults.add(Fault(match="model.safetensors", status=302, headers=away, times=None))
        project.run("lock", env={"HF_TOKEN": "hf_canary"})
        project.run("pull", env={"HF_TOKEN": "hf_canary"})
    assert hub.requests[-1].headers["authorization"] == "Bearer hf_canary"
    assert not any("authorization" in record.headers for record in storage.requests)
    project.run("verify", "--full", "--offline")


def test_a_page_of_the_listing_that_is_elsewhere_is_refused(hub: Hub, project: Project) -> None:
    hub.tokens["hf_canary"] = "*"
    with Hub().serve() as elsewhere:
        link = f'<{elsewhere}/api/models/org/name/tree/x>; rel="next"'
        hub.faults.add(Fault(match="/tree/", headers={"Link": link}, times=None))
        assert "refused" in project.run("lock", code=5, env={"HF_TOKEN": "hf_canary"}).err


@pytest.mark.parametrize(
    "body",
    [b"<!doctype html><title>Sign in</title>", b"{}", b'["x"]', b'[{"type": "file", "path": 3}]', b"[" * 100_000],
    ids=["page", "object", "text", "field", "deep"],
)
def test_what_is_no_listing_is_told_as_that(hub: Hub, project: Project, body: bytes) -> None:
    answer = {"Content-Length": str(len(body))}
    hub.faults.add(Fault(match="/tree/", status=200, body=body, headers=answer, times=None))
    done = project.run("lock", code=5)
    assert "not what a hub's API says" in done.err
    assert "HF_ENDPOINT" in done.err


def test_every_page_of_a_listing_is_read_however_its_link_is_written(hub: Hub, project: Project) -> None:
    hub.page_size = 3
    commit = hub.repos["model", "org/name"].commit({**SMALL, "w.json": b"{}"})
    link = f"</api/models/org/name/tree/{commit}?recursive=true&cursor=3 >; title=\"a, b\"; REL='prefetch next'"
    hub.faults.add(Fault(match="/tree/", headers={"Link": link}))
    project.run("lock")
    assert locked_files(project) == sorted([*SMALL, "model.safetensors", "w.json"])


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(match="/tree/", headers={"Link": "<x; rel=next"}, times=None), "Link header"),
        (Fault(match="/tree/", headers={"Link": "<ftp://h/x>; rel=next"}, times=None), "refused"),
        (Fault(match="/tree/", headers={"Link": "<>; rel=next"}, times=None), "does not end"),
        (Fault(match="/tree/", status=206, body=b"[]", times=None), "HTTP 206"),
        (Fault(match="/revision/", status=206, body=b"{}", times=None), "HTTP 206"),
    ],
    ids=["no link", "scheme", "itself", "part of a tree", "part of a repo"],
)
def test_a_listing_that_may_lack_files_is_never_locked(hub: Hub, project: Project, fault: Fault, words: str) -> None:
    hub.faults.add(fault)
    done = project.run("lock", code=5)
    assert words in done.err
    assert done.err.startswith("error: m: ")
    assert not project.lock_file.exists()


def answer_json(hub: Hub, match: str, body: object) -> None:
    data = json.dumps(body).encode()
    answer = {"Content-Length": str(len(data))}
    hub.faults.add(Fault(match=match, status=200, body=data, headers=answer, times=None))


def row(path: str = "a", size: int = 1, **more: object) -> dict[str, object]:
    return {"type": "file", "path": path, "size": size, "oid": "1" * 40, **more}


@pytest.mark.parametrize(
    ("match", "body", "code", "words"),
    [
        ("/tree/", [row(), row()], 3, "lists 'a' twice"),
        ("/tree/", [row("a\ud800")], 5, "not what a hub's API says"),
        ("/tree/", [row(oid="\udfff")], 5, "not what a hub's API says"),
        ("/tree/", [row(), {**row("b"), "type": ["file"]}], 5, "not what a hub's API says"),
        ("/tree/", [row(size=-1)], 3, "a size of -1 bytes"),
        ("/tree/", [row(lfs={"oid": "0" * 64, "size": -7})], 3, "a size of -7 bytes"),
        ("/tree/", [row(lfs={"oid": "0" * 64, "size": 1 << 63})], 3, "which no file has"),
        ("/tree/", [row(size=10**30)], 3, "which no file has"),
        ("/revision/", {"sha": "\ud800"}, 3, "hex digits"),
        ("/revision/", {"sha": "../../../x"}, 3, "hex digits"),
    ],
)
def test_what_a_hub_says_is_checked_before_anything_is_made_of_it(
    hub: Hub, project: Project, match: str, body: object, code: int, words: str
) -> None:
    answer_json(hub, match, body)
    done = project.run("lock", code=code)
    assert words in done.err
    assert done.err.startswith("error: m: ")
    assert not project.lock_file.exists()
    assert match != "/revision/" or hub.count("GET", "/tree/") == 0


def test_a_name_that_is_no_text_is_refused_whoever_lists_it(hub: Hub, project: Project) -> None:
    project.write(hub_manifest(extra=["transport: snapshot"]))
    answer_json(hub, "/tree/", [row("a\ud800")])
    assert project.run("lock", code=3).err.startswith("error: m: org/name ")


@pytest.mark.parametrize("transport", ["direct", "snapshot"])
def test_a_commit_is_not_swapped_for_another(hub: Hub, project: Project, transport: str) -> None:
    project.run("lock")
    before = project.lock_file.read_text()
    asked = json.loads(before)["assets"]["m"]["commit"]
    answer_json(hub, "/revision/", {"id": "org/name", "sha": "b" * 40, "siblings": []})
    answer_json(hub, f"/tree/{'b' * 40}", [row("config.json")])
    for extra in ([f"revision: {'c' * 40}"], ["allow_patterns: '*.json'"]):
        project.write(hub_manifest(extra=[*extra, f"transport: {transport}"]))
        done = project.run("lock", code=3)
        assert done.err.startswith("error: m: ")
        assert "b" * 40 in done.err
        assert ("c" * 40 if "revision" in extra[0] else asked) in done.err
        assert project.lock_file.read_text() == before


def test_a_listing_that_grows_without_end_is_given_up(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_listing, "_LISTING_MOST", 500)
    hub.page_size = 1
    with hub.serve() as endpoint, Origins(Context(Store(tmp_path))) as origins:
        listing = HubListing(endpoint, None, origins.fetcher().read)
        with pytest.raises(OriginError, match=r"m: .*more than 500 bytes"):
            listing.answer("m", {"do": "tree", "kind": "model", "repo": "org/name", "commit": "main"})
    assert 2 <= hub.count("GET", "/tree/") <= 4


def test_an_api_that_drips_has_stalled(hub: Hub, tmp_path: Path) -> None:
    hub.faults.add(Fault(match="/tree/", throttle=100.0, times=None))
    limits = Limits(attempts=1, read_timeout=0.3, least_rate=100_000)
    with hub.serve() as endpoint, Origins(Context(Store(tmp_path), limits=limits)) as origins:
        listing = HubListing(endpoint, None, origins.fetcher().read)
        with pytest.raises(OriginError, match="stalled"):
            listing.answer("m", {"do": "tree", "kind": "model", "repo": "org/name", "commit": "main"})


@pytest.mark.parametrize("status", [204, 404, 410, 451])
def test_a_server_that_is_no_hub_is_told_with_what_names_it(hub: Hub, project: Project, status: int) -> None:
    hub.faults.add(Fault(match="/api/", status=status, headers={"X-Error-Code": None}, times=None))
    done = project.run("lock", code=5)
    assert f"HTTP {status}" in done.err
    assert "check HF_ENDPOINT (or `endpoint:`) and `hub:`" in done.err


@pytest.mark.parametrize(
    "endpoint", ["hub.example", "ftp://hub.example", "http://h:port", "http://h x", "http://h/?a=b", "http://", "\x1b"]
)
def test_an_endpoint_that_is_no_address_is_named(project: Project, endpoint: str) -> None:
    done = project.run("lock", code=2, env={"HF_ENDPOINT": endpoint})
    assert "HF_ENDPOINT" in done.err
    assert "\x1b" not in done.err


@pytest.mark.parametrize("transport", ["direct", "snapshot"])
@pytest.mark.parametrize("token", ["hf_canary\u2026", "hf_canary\u200b", "hf_canary\x07b"])
def test_a_token_that_no_header_can_carry_is_told_as_that(
    hub: Hub, project: Project, token: str, transport: str
) -> None:
    project.write(hub_manifest(extra=[f"transport: {transport}"]))
    done = project.run("lock", code=7, env={"HF_TOKEN": token})
    assert done.err.startswith("error: m: the token in HF_TOKEN ")
    assert "canary" not in done.err
    assert hub.requests == []
    file = project.folder / "token"
    file.write_bytes(token.encode())
    assert str(file) in project.run("lock", code=7, env={"HF_TOKEN_PATH": str(file)}).err
    file.write_bytes("hf_x".encode("utf-16"))
    assert str(file) in project.run("lock", code=7, env={"HF_TOKEN_PATH": str(file)}).err


def locked_files(project: Project) -> list[str]:
    return [file["path"] for file in json.loads(project.lock_file.read_text())["assets"]["m"]["files"]]


def test_a_file_that_the_commit_lost_is_told_in_the_hubs_words(hub: Hub, project: Project) -> None:
    project.run("lock")
    hub.faults.add(Fault(match="model.safetensors", status=404, headers={"X-Error-Code": "EntryNotFound"}, times=None))
    done = project.run("pull", code=5)
    assert done.err.startswith("error: m: model.safetensors: org/name from http://127.0.0.1:")
    assert "404" in done.err


def test_two_revisions_of_one_run_both_come(hub: Hub, project: Project) -> None:
    """A failure of one asset leaves the engine fit for the next."""
    hub.create("org/other").commit({"a.json": b"{}"})
    hub.faults.add(Fault(match="org/name/resolve", status=404, times=None))
    project.write("version: 1\nmodels:\n  a: {hub: org/name}\n  b: {hub: org/other}\n")
    assert "a: " in project.run("lock", code=5).err
    hub.faults.clear()
    project.run("lock")
    hub.faults.add(Fault(match="model.safetensors", status=404, times=None))
    project.run("pull", code=5)
    assert (project.path("b") / "a.json").read_bytes() == b"{}"


# --- Xet -------------------------------------------------------------------------------------------------------------


def locked(path: str, size: int, *, lfs: bool = True) -> LockedFile:
    return LockedFile(path, size, "0" * 64, None if lfs else "1" * 40)


def test_large_files_that_the_hub_offers_over_xet_are_told_by_one_head_each(hub: Hub, tmp_path: Path) -> None:
    files = {"a.safetensors": WEIGHTS, "b.safetensors": WEIGHTS[1:], "c.bin": b"small"}
    commit = hub.create("org/xet").commit(files)
    entry = LockedAsset(
        name="m",
        kind="model",
        origin="hub",
        declared="",
        repo="org/xet",
        commit=commit,
        files=(
            *(locked(name, len(content)) for name, content in files.items()),
            locked("d.bin", 99 << 20, lfs=False),
        ),
    )
    hub.faults.add(Fault(match="a.safetensors", method="HEAD", headers={"X-Xet-Hash": "f" * 64}, times=None))
    with hub.serve() as endpoint, Origins(Context(Store(tmp_path))) as origins:
        direct = Direct(origins.context, endpoint, origins.fetcher())
        assert direct.over_xet(entry, entry.files) == {"a.safetensors"}
        assert sorted(record.path.rpartition("/")[2] for record in hub.requests) == ["a.safetensors", "b.safetensors"]
        assert {record.method for record in hub.requests} == {"HEAD"}
    assert direct.over_xet(entry, entry.files) == set(), "who fetches meets the dead hub, and tells"


def test_xet_is_left_alone_where_the_user_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hf_xet")
    monkeypatch.delenv("HF_HUB_DISABLE_XET", raising=False)
    assert xet_is_there()
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    assert not xet_is_there()


def test_with_xet_there_a_large_plain_file_costs_one_look_and_goes_direct(hub: Hub, project: Project) -> None:
    pytest.importorskip("hf_xet")
    project.write(hub_manifest())
    project.run("lock", env={"HF_HUB_DISABLE_XET": "0"})
    hub.reset_log()
    project.run("pull", env={"HF_HUB_DISABLE_XET": "0"})
    assert [record.method for record in hub.requests] == ["HEAD", "GET"]


def test_with_a_limit_on_the_rate_nobody_looks_for_xet(hub: Hub, project: Project) -> None:
    pytest.importorskip("hf_xet")
    project.write(hub_manifest())
    project.run("lock")
    hub.reset_log()
    project.run("pull", "--limit-rate", "1G", env={"HF_HUB_DISABLE_XET": "0"})
    assert [record.method for record in hub.requests] == ["GET"]


def test_a_limit_that_snapshot_download_cannot_keep_is_told(project: Project) -> None:
    project.env["ASSETMGR_TRANSPORT"] = "snapshot"
    project.run("lock")
    assert "--limit-rate" in project.run("pull", "--limit-rate", "1G").err


# --- as huggingface_hub has it ---------------------------------------------------------------------------------------

_PATHS = st.lists(st.text("ab/.*[]!?-", min_size=1, max_size=8), max_size=6)
_GLOBS = st.none() | st.lists(st.text("ab/.*[]!?-", min_size=1, max_size=6), max_size=3)


@given(_PATHS, _GLOBS, _GLOBS)
def test_patterns_select_what_huggingface_hub_selects(
    paths: list[str], allow: list[str] | None, ignore: list[str] | None
) -> None:
    from huggingface_hub.utils._paths import filter_repo_objects

    assert select(paths, allow, ignore) == list(
        filter_repo_objects(paths, allow_patterns=allow, ignore_patterns=ignore)
    )


_PLACES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "XDG_CACHE_HOME")


@pytest.mark.parametrize("where", _PLACES)
def test_the_token_is_read_where_huggingface_hub_reads_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in (*_PLACES, "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    hub = "https://huggingface.co"
    assert user_token(hub) is None
    files = {"HF_TOKEN_PATH": "t", "HF_HOME": "token", "XDG_CACHE_HOME": "huggingface/token"}
    if where in files:
        path = tmp_path / files[where]
        path.parent.mkdir(exist_ok=True)
        path.write_text("hf_mine\n")
        monkeypatch.setenv(where, str(path if where == "HF_TOKEN_PATH" else tmp_path))
    else:
        monkeypatch.setenv(where, " hf_mine\r\n")
    assert user_token(hub) == "hf_mine"
    assert user_token("https://hub.example") is None
