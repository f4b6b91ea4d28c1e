"""Google Drive and Kaggle: their pages, signed addresses and refusals, from a manifest through lock and pull."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from assetmgr.transfer.kaggle_file import KaggleFile
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.retry import PassingError
from tests.origins.test_files import forget_partials, locked, manifest
from tests.support import Project
from tests.transfer.services import SIGNATURE, Services, serve

BODY = Random(1).randbytes(3_000_000)
ID = "1AbCdEfGhIjKlMnOpQrStUvWxYz012345"
KEY = "canary-key-90aa"
SECRETS = (KEY, SIGNATURE, base64.b64encode(f"me:{KEY}".encode()).decode())


@pytest.fixture
def services() -> Services:
    return Services(drive={ID: BODY}, kaggle={"o/d/a/w.bin": BODY, "c/titanic/train.csv": BODY}, login=f"me:{KEY}")


@pytest.fixture
def project(services: Services, tmp_path: Path) -> Iterator[Project]:
    with serve(services, tmp_path) as environment:
        project = Project(tmp_path / "project", env=environment)
        project.folder.mkdir()
        yield project


@pytest.fixture
def kaggle_json(project: Project) -> Path:
    """A user's key, as Kaggle gives it."""
    pytest.importorskip("kagglesdk")
    path = project.folder / "home/.kaggle/kaggle.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"username": "me", "key": KEY}))
    path.chmod(0o600)
    return path


def without(project: Project, *modules: str) -> dict[str, str]:
    """An environment where some libraries are not installed."""
    folder = project.folder / "without"
    folder.mkdir(exist_ok=True)
    for module in modules:
        (folder / f"{module}.py").write_text("raise ImportError('not installed')\n")
    return {"PYTHONPATH": f"{folder}:{project.environment()['PYTHONPATH']}"}


def pull_drive(project: Project, more: str = "") -> None:
    project.write(manifest(f"url: 'gdrive:{ID}', path: w.bin{more}"))


# --- Google Drive -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_warned", [False, True])
def test_a_shared_file_is_locked_and_pulled(services: Services, project: Project, is_warned: bool) -> None:
    if is_warned:
        pytest.importorskip("gdown")
        services.warned.add(ID)
    pull_drive(project)
    project.run("lock")
    assert locked(project)[0]["urls"] == [f"gdrive:{ID}"], "nothing that expires is locked"
    forget_partials(project)
    project.run("pull")
    assert (project.path("m") / "w.bin").read_bytes() == BODY
    assert not any({"authorization", "cookie"} & headers.keys() for _, _, headers in services.log)


def test_a_cut_file_is_gone_on_with(services: Services, project: Project) -> None:
    pytest.importorskip("gdown")
    services.warned.add(ID)
    services.cut = 2_000_000
    pull_drive(project)
    project.run("lock")
    ranges = [headers.get("range") for path, headers in services.asked("drive.usercontent.google.com")]
    assert any(asked and asked > "bytes=1" for asked in ranges)


def test_a_confirmation_that_has_expired_is_asked_for_again(services: Services, project: Project) -> None:
    pytest.importorskip("gdown")
    services.warned.add(ID)
    services.uses, services.cut = 1, 2_000_000
    pull_drive(project)
    project.run("lock")
    project.run("pull")
    assert (project.path("m") / "w.bin").read_bytes() == BODY


@pytest.mark.parametrize(
    ("state", "code", "words"),
    [
        ("exhausted", 5, ["quota", "Too many users", "tomorrow"]),
        ("private", 7, ["sign in", "shared with anyone"]),
        ("unknown", 5, ["HTTP 404"]),
    ],
)
def test_what_drive_refuses_is_told_with_a_mend(
    services: Services, project: Project, state: str, code: int, words: list[str]
) -> None:
    pytest.importorskip("gdown")
    if state == "unknown":
        services.drive.clear()
    else:
        getattr(services, state).add(ID)
    pull_drive(project)
    done = project.run("lock", code=code)
    for word in ("m: w.bin", f"gdrive:{ID}", "mend:", *words):
        assert word in done.err
    assert len(done.err.splitlines()) < 10
    assert len(services.asked("drive.google.com")) == 1, "it is not asked again"


def test_without_gdown_a_page_is_told_with_the_extra_and_the_next_url_is_tried(
    services: Services, project: Project
) -> None:
    services.warned.add(ID)
    pull_drive(project)
    done = project.run("lock", code=1, env=without(project, "gdown"))
    assert "pip install 'assetmgr[gdrive]'" in done.err
    (project.folder / "w.bin").write_bytes(BODY)
    project.write(manifest(f"url: ['gdrive:{ID}', ./w.bin], path: w.bin"))
    project.run("lock", env=without(project, "gdown"))


def test_a_link_to_drives_viewer_is_told_how_to_be_written(project: Project) -> None:
    from assetmgr.transfer.judging import page_error

    for link in (f"https://drive.google.com/file/d/{ID}/view?usp=sharing", f"https://drive.google.com/uc?id={ID}"):
        assert f"gdrive:{ID}" in page_error(link).mend


# --- Kaggle -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("kaggle_json")
@pytest.mark.parametrize("url", ["kaggle:o/d/a/w.bin", "kaggle:c/titanic/train.csv", "kaggle:o/d/versions/2/a%20b.bin"])
def test_a_file_is_fetched_from_its_signed_address_without_the_key(
    services: Services, project: Project, url: str
) -> None:
    services.kaggle["o/d/versions/2/a b.bin"] = BODY
    project.write(manifest(f"url: '{url}'"))
    done = [project.run("lock")]
    forget_partials(project)
    done.append(project.run("pull"))
    (name,) = (str(file["path"]) for file in locked(project))
    assert (project.path("m") / name).read_bytes() == BODY
    assert name == url.rpartition("/")[2].replace("%20", " ")
    assert all("authorization" in headers for _, headers in services.asked("api.kaggle.com"))
    assert not any("authorization" in headers for _, headers in services.asked("storage.googleapis.com"))
    kept = project.lock_file.read_text() + "".join(
        path.read_text(errors="replace") for path in (project.root / ".assetmgr").rglob("*") if path.is_file()
    )
    assert not [secret for secret in SECRETS if secret in kept + "".join(one.out + one.err for one in done)]


@pytest.mark.usefixtures("kaggle_json")
def test_a_signature_that_has_expired_is_asked_for_again(services: Services, project: Project) -> None:
    services.uses, services.cut = 2, 2_000_000  # one for the library that finds it, one for us
    project.write(manifest("url: 'kaggle:o/d/a/w.bin'"))
    project.run("lock")
    project.run("pull")
    assert (project.path("m") / "w.bin").read_bytes() == BODY


@pytest.mark.usefixtures("kaggle_json")
@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("kaggle:c/titanic/train.csv", 7, ["HTTP 403", "rules", "kaggle.com/competitions/titanic/rules"]),
        ("kaggle:o/d/a/w.bin", 7, ["HTTP 403", "kaggle.com/datasets/o/d"]),
        ("kaggle:o/d/gone.bin", 5, ["HTTP 404", "kaggle.com/datasets/o/d"]),
    ],
)
def test_what_kaggle_refuses_is_told_with_a_mend(
    services: Services, project: Project, url: str, code: int, words: list[str]
) -> None:
    services.unaccepted |= {"c/titanic/train.csv", "o/d/a/w.bin"}
    project.write(manifest(f"url: '{url}'"))
    done = project.run("lock", code=code)
    for word in (url, "mend:", *words):
        assert word in done.err
    assert done.out == ""
    assert len(services.asked("api.kaggle.com")) == 1, "it is not asked again"


def test_a_wrong_key_is_told_with_where_to_get_one(services: Services, project: Project, kaggle_json: Path) -> None:
    services.login = "me:another"
    project.write(manifest("url: 'kaggle:o/d/a/w.bin'"))
    done = project.run("lock", code=7)
    assert "HTTP 401" in done.err
    assert "kaggle.json" in done.err
    assert KEY not in done.err


def test_without_a_key_the_user_is_told_where_to_get_one(
    services: Services, project: Project, kaggle_json: Path
) -> None:
    kaggle_json.unlink()
    project.write(manifest("url: 'kaggle:o/d/a/w.bin'"))
    done = project.run("lock", code=7)
    assert "kaggle.json" in done.err
    assert "https://www.kaggle.com/settings" in done.err
    assert done.out == ""
    assert services.log == []


def test_without_the_library_the_extra_is_named(services: Services, project: Project) -> None:
    project.write(manifest("url: 'kaggle:o/d/a/w.bin'"))
    done = project.run("lock", code=1, env=without(project, "kaggle", "kagglesdk"))
    assert "'assetmgr[kaggle]'" in done.err
    assert services.log == []


@pytest.mark.usefixtures("kaggle_json")
def test_a_file_that_kaggle_packs_is_refused(services: Services, project: Project) -> None:
    services.packed.add("o/d/a/w.bin")
    project.write(manifest("url: 'kaggle:o/d/a/w.bin'"))
    assert "w.bin.zip" in project.run("lock", code=5).err


def test_a_silent_service_is_not_waited_for_beyond_the_limits(
    kaggle_json: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(kaggle_json.parent))
        with pytest.raises(PassingError, match="says nothing for 2 s"):
            KaggleFile("kaggle:o/d/a.bin", Limits(connect_timeout=1, read_timeout=1)).open(pytest.fail)


def test_offline_asks_neither(services: Services, project: Project) -> None:
    project.write(manifest(f"url: 'gdrive:{ID}', path: a", "url: 'kaggle:o/d/a/w.bin'"))
    project.run("lock", "--offline", code=5)
    assert services.log == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("gdrive:", "FILE_ID"),
        ("gdrive:a/b", "FILE_ID"),
        (f"gdrive:{ID}?x=1", "FILE_ID"),
        (f"gdrive:{ID}", "'path'"),
        ("kaggle:o", "OWNER/DATASET/PATH"),
        ("kaggle:o/d", "OWNER/DATASET/PATH"),
        ("kaggle:o/d/", "OWNER/DATASET/PATH"),
        ("kaggle:o/d/../../x", "OWNER/DATASET/PATH"),
        ("kaggle:o/d/%2e%2e/x", "OWNER/DATASET/PATH"),
        ("gcs:b/x", "gdrive, kaggle"),
    ],
)
def test_a_url_that_names_no_file_is_a_mistake_in_the_manifest(project: Project, url: str, words: str) -> None:
    project.write(manifest(f"url: '{url}'"))
    done = project.run("lock", code=2)
    assert words in done.err
    assert "assets.yaml:5:" in done.err
