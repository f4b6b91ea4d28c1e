"""OCI registries as mirrors and targets: a real one on loopback, and hostile or broken ones on a bare socket."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from assetmgr.errors import AccessError, IntegrityError, UsageError
from assetmgr.images import CONFIG, MANIFEST
from assetmgr.mirrors import open_mirror
from assetmgr.mirrors.pushing import HeldFile
from assetmgr.mirrors.registry_target import RegistryTarget
from assetmgr.reporting import Silent
from assetmgr.transfer.registry_upload import SMALL
from tests.hub import Hub
from tests.mirrors.registry import PASSWORD, USER, Registry, running, skopeo
from tests.mirrors.support import QUICK, bring, locked, sha256
from tests.support import Project, hub_manifest, served, truncate
from tests.transfer.support import body

CONTENTS = {"config.json": b"{}", "empty": b"", "weights": body(SMALL + 70_001, 5), "listing": body(3000, 6)}
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def no_logins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have logins of his own."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running(tmp_path_factory.mktemp("guarded"), login=True) as registry:
        yield registry


def held(folder: Path, contents: dict[str, bytes]) -> list[HeldFile]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return [HeldFile("m", name, str(folder / name), sha256(data), len(data)) for name, data in contents.items()]


def logged_in(tmp_path: Path, host: str, user: str = USER, password: str = PASSWORD) -> None:
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    (tmp_path / "docker").mkdir(exist_ok=True)
    (tmp_path / "docker/config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))


def test_what_is_pushed_is_brought_back_and_what_is_there_is_not_sent_again(registry: Registry, tmp_path: Path) -> None:
    files = held(tmp_path / "store", CONTENTS)
    text = registry.mirror("lab/first:v1")
    target = RegistryTarget(text, QUICK, Silent())
    report = target.put(files)
    assert (report.files, report.bytes, report.errors) == (4, sum(map(len, CONTENTS.values())), ())
    again = target.put(files, full=True)
    assert (again.files, again.present_files, again.errors) == (0, 4, ())
    for name, data in CONTENTS.items():
        assert registry.get(f"lab/first/blobs/sha256:{sha256(data)}") == data, name
    brought = bring(tmp_path / "other", locked(CONTENTS, NOBODY), [text])
    assert brought.contents == CONTENTS
    assert [(row.mirror, row.state, row.files) for row in brought.traffic.mirrors] == [(text, "used", 4)]
    lacking = bring(tmp_path / "third", locked({"x": b"not there"}, NOBODY), [registry.mirror("lab/none")])
    assert lacking.errors
    assert lacking.traffic.mirrors[0].state == "lacking"


def test_what_is_damaged_here_is_not_pushed_and_what_is_damaged_there_is_told(
    registry: Registry, tmp_path: Path
) -> None:
    contents = {"good": b"good", "small": b"small one", "large": body(SMALL + 9, 8), "short": b"short", "gone": b"gone"}
    files = held(tmp_path / "store", contents)
    for name in ("small", "large"):
        path = tmp_path / "store" / name
        path.write_bytes(b"X" + path.read_bytes()[1:])
    (tmp_path / "store/short").write_bytes(b"s")
    (tmp_path / "store/gone").unlink()
    target = RegistryTarget(registry.mirror("lab/second"), QUICK, Silent())
    report = target.put(files)
    assert (report.files, len(report.errors)) == (1, 4)
    assert all(isinstance(error, IntegrityError) and "--repair" in error.mend for error in report.errors)
    for name in ("small", "large", "short", "gone"):
        assert not registry.blob_file(sha256(contents[name])).exists()
    registry.blob_file(sha256(b"good")).write_bytes(b"evil")
    assert target.put(files[:1]).present_files == 1
    [error] = target.put(files[:1], full=True).errors
    assert "other bytes" in error.message
    brought = bring(tmp_path / "other", locked({"good": b"good"}, NOBODY), [registry.mirror("lab/second")])
    assert brought.errors


def test_a_login_is_taken_from_where_docker_keeps_it_and_no_other_will_do(
    guarded: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "assetmgr.http")
    files = held(tmp_path / "store", CONTENTS)
    text = guarded.mirror("lab/guarded")
    target = RegistryTarget(text, QUICK, Silent())
    with pytest.raises(AccessError, match="HTTP 401") as caught:
        target.put(files)
    assert f"docker login {guarded.host}" in caught.value.mend
    for host in ("127.0.0.1:1", "https://" + guarded.host, "localhost:" + str(guarded.port), "other.example"):
        logged_in(tmp_path, host)
        with pytest.raises(AccessError):
            target.put(files)
    logged_in(tmp_path, guarded.host, password="wrong")
    with pytest.raises(AccessError):
        target.put(files)
    logged_in(tmp_path, guarded.host)
    assert target.put(files).files == 4
    assert bring(tmp_path / "other", locked(CONTENTS, NOBODY), [text]).contents == CONTENTS
    logged_in(tmp_path, "http://" + guarded.host + "/v2/")
    assert bring(tmp_path / "third", locked(CONTENTS, NOBODY), [text]).contents == CONTENTS
    assert "HEAD http://" in caplog.text
    for secret in (PASSWORD, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()):
        assert secret not in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        "oci:lab/assets",
        "oci://",
        "oci://host",
        "oci://host/",
        "oci://host/Upper",
        "oci://host/a/../b",
        "oci://host/a//b",
        "oci://host/a:",
        "oci://host/a:b:c",
        "oci://host/a:-x",
        "oci://user:word@host/a",
        "oci://host/a@sha256:00",
        "oci://host:x/a",
        "oci://host:99999/a",
        "oci://ho st/a",
        "oci://host/a?b",
        "oci://[::1/a",
        "oci+https://host/a",
    ],
)
def test_what_names_no_repository_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_mirror(text)
    assert caught.value.mend
    assert "word" not in str(caught.value)


def told_by(registry: Registry, repository: str, tag: str) -> set[str]:
    """The assets that a tag tells of."""
    config = json.loads(registry.get(f"{repository}/manifests/{tag}", MANIFEST))["config"]
    document = json.loads(registry.get(f"{repository}/blobs/{config['digest']}"))
    return {each["name"] for each in document["assets"]}


# --- two machines -------------------------------------------------------------------------------------------------


def test_a_machine_with_the_registry_alone_gets_everything_and_skopeo_carries_it_on(
    registry: Registry, tmp_path: Path
) -> None:
    hub = Hub()
    hub.publish("/f/weights", CONTENTS["weights"])
    hub.publish("/f/words", CONTENTS["listing"])
    hub.create("org/name").commit({"config.json": b"{}", "vocab.txt": b"a\nb\n"})
    with served(hub, tmp_path / "first") as first:
        datasets = "".join(
            f"  {name}:\n    files: [{{url: '{{endpoint}}/f/{name}'}}]\n" for name in ("weights", "words")
        )
        first.write(hub_manifest() + "datasets:\n" + datasets)
        first.run("lock")
        first.run("pull")
        text = registry.mirror("lab/team:v1")
        first.run("mirror", "push", text)
        asked = len(hub.requests)
        config = json.loads(registry.get("lab/team/manifests/v1", MANIFEST))["config"]
        assert config["mediaType"] == CONFIG
        first.run("mirror", "push", text)
        assert json.loads(registry.get("lab/team/manifests/v1", MANIFEST))["config"] == config

        # out of the registry into a folder, and from there into another one
        layout = tmp_path / "layout"
        skopeo("copy", "--all", "--src-tls-verify=false", f"docker://{registry.host}/lab/team:v1", f"oci:{layout}:v1")
        skopeo(
            "copy", "--all", "--dest-tls-verify=false", f"oci:{layout}:v1", f"docker://{registry.host}/lab/carried:v2"
        )
        copied = json.loads(registry.get("lab/carried/manifests/v2", MANIFEST))
        assert copied["config"] == config
        for number, mirror in enumerate([text, str(layout), registry.mirror("lab/carried:v2")]):
            other = Project(tmp_path / f"other{number}", "http://127.0.0.1:9")
            other.folder.mkdir()
            for name in ("assets.yaml", "assets.lock.json"):
                (other.folder / name).write_bytes((first.folder / name).read_bytes())
            other.run("pull", "--mirror", mirror)
            other.run("verify", "--full")
        assert len(hub.requests) == asked

        # no manifest, no lock: the tag tells of it all
        for number, mirror in enumerate([text, str(layout), registry.mirror("lab/carried:v2")]):
            bare = Project(tmp_path / f"bare{number}", NOBODY)
            bare.folder.mkdir()
            bare.run("pull", "weights", "words", "--mirror", mirror)
            assert bare.run("verify", "--full").code == 0
            listed = bare.run("list", "--mirror", mirror, "--json")
            assert {"weights", "words"} <= {row["name"] for row in json.loads(listed.out)}
        assert len(hub.requests) == asked

        # what is not whole is not named, and the rest is; what others pushed stays
        damage = next(path for path in (first.root / "files").rglob("weights") if path.is_file())
        truncate(damage, 3)
        broken = registry.mirror("lab/broken:v1")
        first.run("mirror", "push", broken, code=3)
        assert "weights" not in told_by(registry, "lab/broken", "v1")
        first.run("mirror", "push", broken, "words")
        assert told_by(registry, "lab/broken", "v1") >= {"words"}
        assert "weights" in told_by(registry, "lab/team", "v1")
        first.run("mirror", "push", text, "words")
        assert "weights" in told_by(registry, "lab/team", "v1")
