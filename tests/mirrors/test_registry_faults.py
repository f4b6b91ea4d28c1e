"""What may happen between a push or a pull and a registry: tokens that run out, breaks, hurry, and hostile tags."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from assetmgr.carried import Carriage
from assetmgr.images import MANIFEST, image
from assetmgr.mirrors.pushing import HeldFile
from assetmgr.mirrors.registry_target import RegistryTarget
from assetmgr.reporting import Silent
from assetmgr.transfer.registry_upload import SMALL
from tests.hub import Hub
from tests.mirrors.front import Ask, Front, Given, cut, fronting, json_answer
from tests.mirrors.registry import PASSWORD, USER, Registry, running
from tests.mirrors.support import QUICK, bring, locked, sha256
from tests.support import REPOSITORY, Project, clean_environment, served
from tests.transfer.support import body

NOBODY = "http://127.0.0.1:9"
ONE_BY_ONE = dataclasses.replace(QUICK, jobs=1)
LARGE = body(2 * SMALL + 12_345, 3)


@pytest.fixture(autouse=True)
def no_logins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


def held(folder: Path, contents: dict[str, bytes]) -> list[HeldFile]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return [HeldFile("m", name, str(folder / name), sha256(data), len(data)) for name, data in contents.items()]


def basic() -> str:
    return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def logged_in(tmp_path: Path, host: str) -> None:
    (tmp_path / "docker").mkdir(exist_ok=True)
    auths = {"auths": {host: {"auth": basic().removeprefix("Basic ")}}}
    (tmp_path / "docker/config.json").write_text(json.dumps(auths))


class Tokens:
    """A registry's judge that wants a token; each lives for so many requests."""

    def __init__(self, lives: int) -> None:
        self.lives, self.left, self.given, self.scopes = lives, 0, 0, list[str]()

    def __call__(self, ask: Ask) -> Given | None:
        if ask.path.startswith("/token"):
            if ask.headers.get("Authorization") != basic():
                return json_answer({"errors": []}, 401)
            self.scopes += ask.query["scope"]
            self.given, self.left = self.given + 1, self.lives
            return json_answer({"token": f"t{self.given}"})
        if self.left > 0 and ask.headers.get("Authorization") == f"Bearer t{self.given}":
            self.left -= 1
            del ask.headers["Authorization"]
            return None
        realm = f'Bearer realm="http://{ask.headers["Host"]}/token",service="lab"'
        return Given(401, {"WWW-Authenticate": realm})


def test_a_token_that_runs_out_in_a_push_is_asked_for_again(registry: Registry, tmp_path: Path) -> None:
    files = held(tmp_path / "store", {f"f{number}": body(900, number) for number in range(6)} | {"large": LARGE})
    tokens = Tokens(lives=4)
    with fronting(registry.port, tokens) as front:
        text = f"oci://{front.host}/lab/tokens"
        logged_in(tmp_path, front.host)
        assert RegistryTarget(text, ONE_BY_ONE, Silent()).put(files).errors == ()
        assert tokens.given > 3
        assert set(tokens.scopes) == {"repository:lab/tokens:pull,push"}
        tokens.scopes.clear()
        brought = bring(tmp_path / "other", locked({"large": LARGE}, NOBODY), [text])
        assert brought.contents == {"large": LARGE}
        assert set(tokens.scopes) == {"repository:lab/tokens:pull"}


def test_neither_login_nor_token_goes_where_a_registry_keeps_its_bytes(registry: Registry, tmp_path: Path) -> None:
    RegistryTarget(registry.mirror("lab/moved"), QUICK, Silent()).put(held(tmp_path / "store", {"large": LARGE}))
    tokens = Tokens(lives=100)
    with fronting(registry.port, lambda _: None) as storage:

        def judge(ask: Ask) -> Given | None:
            refusal = tokens(ask)
            if refusal is None and "/blobs/" in ask.path:
                return Given(307, {"Location": f"http://{storage.host}{ask.path}"})
            return refusal

        with fronting(registry.port, judge) as front:
            logged_in(tmp_path, front.host)
            brought = bring(tmp_path / "other", locked({"large": LARGE}, NOBODY), [f"oci://{front.host}/lab/moved"])
        assert brought.contents == {"large": LARGE}
        assert storage.asks
        assert not any("Authorization" in ask.headers for ask in storage.asks)


def once(matches: Callable[[Ask], bool], what: Callable[[Ask], Given | None]) -> Callable[[Ask], Given | None]:
    """A judge that does something to the first request that matches."""
    met = [False]

    def judge(ask: Ask) -> Given | None:
        if not met[0] and matches(ask):
            met[0] = True
            return what(ask)
        return None

    return judge


class Resumable:
    """A registry that goes on with an upload where it broke; its first PATCH breaks after so many bytes."""

    def __init__(self, breaks_at: int) -> None:
        self.came, self.sent, self.breaks_at, self.is_done = bytearray(), list[int](), breaks_at, False

    def __call__(self, ask: Ask) -> Given | None:
        place = {"Location": "/v2/lab/broken/blobs/uploads/1"}
        size = int(ask.headers.get("Content-Length") or 0)
        if ask.method == "POST":
            return Given(202, place)
        if ask.method == "PATCH":
            self.sent.append(size)
            assert ask.headers["Content-Range"] == f"{len(self.came)}-{len(self.came) + size - 1}"
            self.came += ask.body(size if len(self.sent) > 1 else self.breaks_at)
            return Given(202 if len(self.sent) > 1 else 0, place | {"Content-Length": "0"}) if size else Given(400)
        if ask.method == "PUT":
            self.is_done = ask.query["digest"] == [f"sha256:{sha256(bytes(self.came))}"]
            return Given(201 if self.is_done else 400)
        if "/uploads/" in ask.path:
            return Given(204, place | {"Range": f"0-{len(self.came) - 1}"})
        return Given(404)


def test_an_upload_that_breaks_goes_on_where_it_was(tmp_path: Path) -> None:
    files = held(tmp_path / "store", {"large": LARGE})
    registry = Resumable(6 << 20)
    with fronting(1, registry) as front:
        report = RegistryTarget(f"oci://{front.host}/lab/broken", QUICK, Silent()).put(files)
    assert report.errors == ()
    assert registry.sent == [len(LARGE), len(LARGE) - (6 << 20)]
    assert registry.is_done


def test_an_upload_that_breaks_is_begun_anew_where_a_registry_forgets_it(registry: Registry, tmp_path: Path) -> None:
    files = held(tmp_path / "store", {"large": LARGE})
    breaks = once(lambda ask: ask.method == "PATCH", lambda ask: cut(ask, 6 << 20))
    with fronting(registry.port, breaks) as front:
        assert RegistryTarget(f"oci://{front.host}/lab/broken", QUICK, Silent()).put(files).errors == ()
        assert front.count("POST") == 2
    assert registry.get(f"lab/broken/blobs/sha256:{sha256(LARGE)}") == LARGE


@pytest.mark.parametrize(
    "matches",
    [
        lambda ask: ask.method == "HEAD",
        lambda ask: ask.method == "POST",
        lambda ask: ask.method == "PATCH",
        lambda ask: ask.method == "PUT" and "/uploads/" in ask.path,
        lambda ask: ask.method == "PUT" and "/manifests/" in ask.path,
    ],
    ids=["head", "post", "patch", "put", "manifest"],
)
@pytest.mark.parametrize("what", ["busy", "hangs up", "is done, and hangs up"])
def test_a_registry_that_fails_once_at_any_step_is_asked_again(
    registry: Registry, tmp_path: Path, matches: Callable[[Ask], bool], what: str
) -> None:
    does: dict[str, Callable[[Ask], Given | None]] = {
        "busy": lambda _: Given(503, {"Retry-After": "0"}),
        "hangs up": lambda ask: cut(ask, 0),
        "is done, and hangs up": lambda ask: cut(ask, 1 << 30),
    }
    repository = "lab/" + re.sub(r"\W", "", tmp_path.name.lower())
    files = held(tmp_path / "store", {"large": LARGE, "small": tmp_path.name.encode()})
    with fronting(registry.port, once(matches, does[what])) as front:
        target = RegistryTarget(f"oci://{front.host}/{repository}:v1", QUICK, Silent())
        assert target.put(files).errors == ()
        target.tell(Carriage(()))
    for data in (LARGE, tmp_path.name.encode()):
        assert registry.get(f"{repository}/blobs/sha256:{sha256(data)}") == data
    assert registry.get(f"{repository}/manifests/v1", MANIFEST)


def test_a_blob_that_breaks_off_is_gone_on_with_and_one_that_lies_is_not_taken(
    registry: Registry, tmp_path: Path
) -> None:
    RegistryTarget(registry.mirror("lab/gives"), QUICK, Silent()).put(held(tmp_path / "store", {"large": LARGE}))
    breaks = once(lambda ask: ask.method == "GET" and "/blobs/" in ask.path, lambda ask: cut(ask, 5 << 20))
    with fronting(registry.port, breaks) as front:
        text = f"oci://{front.host}/lab/gives"
        assert bring(tmp_path / "other", locked({"large": LARGE}, NOBODY), [text]).contents == {"large": LARGE}
        assert any("Range" in ask.headers for ask in front.asks)
    with fronting(registry.port, lambda _: Given(200, {}, b"X" + LARGE[1:])) as front:
        brought = bring(tmp_path / "third", locked({"large": LARGE}, NOBODY), [f"oci://{front.host}/lab/gives"])
        assert not brought.contents
        assert brought.errors


# --- hostile tags -------------------------------------------------------------------------------------------------


def given_digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def hostile(documents: dict[str, bytes]) -> Callable[[Ask], Given | None]:
    """A registry that gives these, by the last part of what is asked for."""

    def judge(ask: Ask) -> Given | None:
        data = documents.get(ask.path.rpartition("/")[2])
        return Given(404) if data is None else Given(200, {}, data)

    return judge


def config_of(text: str) -> dict[str, bytes]:
    """A tag whose config is a text."""
    made = image(Carriage(()), {})
    data = text.encode("utf-8", "surrogatepass")
    named = json.loads(made.named.data)
    named["config"] |= {"digest": given_digest(data), "size": len(data)}
    return {"v1": json.dumps(named).encode(), given_digest(data): data}


def looped() -> dict[str, bytes]:
    # No document can name itself by digest; a registry may give one for whatever is asked for.
    return {"v1": b'{"manifests": [{"digest": "sha256:' + b"0" * 64 + b'"}]}', "sha256:" + "0" * 64: b"{}"}


TAGS: dict[str, dict[str, bytes]] = {
    "no json": {"v1": b"<html>"},
    "huge": {"v1": b" " * (5 << 20)},
    "deep": {"v1": b"[" * 100_000},
    "another's image": {"v1": b'{"schemaVersion": 2, "config": {"mediaType": "application/x", "digest": "sha256:0"}}'},
    "a lie": looped(),
    "config of nothing": config_of(""),
    "config of a list": config_of("[]"),
    "config, deep": config_of('{"assets": ' + "[" * 100_000),
    "config with a surrogate": config_of('{"assets": ["\udc00"]}'),
}


@pytest.mark.parametrize("documents", TAGS.values(), ids=TAGS.keys())
def test_a_tag_that_is_hostile_is_refused_in_words(tmp_path: Path, documents: dict[str, bytes]) -> None:
    with fronting(1, hostile(documents)) as front:
        project = Project(tmp_path, NOBODY)
        for arguments in (("pull", "weights"), ("list",)):
            done = project.run(*arguments, "--mirror", f"oci://{front.host}/lab/bad:v1", code=None)
            assert done.code in (2, 3, 4, 5), done
            assert "Traceback" not in done.err
            assert done.err.strip()
    assert not [path for path in project.root.rglob("*") if path.is_file() and "weights" in path.name]


# --- a kill -------------------------------------------------------------------------------------------------------


def test_a_push_that_is_killed_leaves_the_tag_as_it_was_and_the_next_one_ends_it(
    registry: Registry, tmp_path: Path
) -> None:
    hub = Hub()
    hub.publish("/f/one", b"one")
    hub.publish("/f/two", LARGE)
    with served(hub, tmp_path / "first") as first:
        datasets = "".join(f"  {name}:\n    files: [{{url: '{{endpoint}}/f/{name}'}}]\n" for name in ("one", "two"))
        first.write(f"version: 1\ndatasets:\n{datasets}")
        first.run("lock")
        first.run("pull")
        process: list[subprocess.Popen[bytes]] = []

        def kill(ask: Ask) -> Given | None:
            process[0].send_signal(signal.SIGKILL)
            process[0].wait(30)
            cut(ask, 1 << 20)
            return None

        front: Front
        with fronting(registry.port, once(lambda ask: ask.method == "PATCH", kill)) as front:
            text = f"oci://{front.host}/lab/killed:v1"
            first.run("mirror", "push", text, "one")
            before = registry.get("lab/killed/manifests/v1", MANIFEST)
            command = [sys.executable, "-m", "assetmgr", "--root", str(first.root), "mirror", "push", text]
            environment = clean_environment() | {"PYTHONPATH": str(REPOSITORY)}
            process.append(subprocess.Popen(command, cwd=first.folder, env=environment, stderr=subprocess.DEVNULL))
            assert process[0].wait(60) == -signal.SIGKILL
            assert registry.get("lab/killed/manifests/v1", MANIFEST) == before
            first.run("mirror", "push", text)
        bare = Project(tmp_path / "bare", NOBODY)
        bare.folder.mkdir()
        bare.run("pull", "one", "two", "--mirror", registry.mirror("lab/killed:v1"))
        bare.run("verify", "--full")
