"""The user's token: from wherever huggingface_hub has it, to its own hub alone, over every transport."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import Hub
from tests.support import Project, files_below, hub_manifest, served

pytestmark = pytest.mark.hub

CANARY = "hf_canary"
WEIGHTS = b"weights" * 1000


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.tokens[CANARY] = "*"
    hub.create("org/name", private=True).commit({"config.json": b"{}", "model.safetensors": WEIGHTS})
    return hub


@pytest.fixture(params=["direct", "snapshot"])
def project(hub: Hub, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        project.write(hub_manifest(extra=[f"transport: {request.param}"]))
        yield project


@pytest.mark.parametrize("where", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HOME"])
def test_every_request_to_its_hub_has_the_token_and_nothing_that_is_written_or_said(
    hub: Hub, project: Project, where: str
) -> None:
    env = {where: CANARY}
    if where in ("HF_TOKEN_PATH", "HF_HOME"):
        # As `hf auth login` leaves it.
        token = project.folder / "login" / "token"
        token.parent.mkdir()
        token.write_text(CANARY)
        env = {where: str(token if where == "HF_TOKEN_PATH" else token.parent)}
    said = [project.run(*command, env=env) for command in (("-v", "lock"), ("-v", "pull"), ("--json", "verify"))]
    assert len(hub.requests) >= 4
    assert {record.headers.get("authorization") for record in hub.requests} == {f"Bearer {CANARY}"}
    assert not any(CANARY in done.out + done.err for done in said)
    for name in files_below(project.root):
        assert CANARY.encode() not in (project.root / name).read_bytes(), name


def test_no_token_is_sent_where_the_user_has_said_so(hub: Hub, project: Project) -> None:
    env = {"HF_TOKEN": CANARY, "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}
    done = project.run("lock", code=7, env=env)
    assert "unset HF_HUB_DISABLE_IMPLICIT_TOKEN" in done.err
    project.run("lock", env={"HF_TOKEN": CANARY})
    hub.reset_log()
    project.run("pull", code=7, env=env)
    assert hub.requests
    assert not any("authorization" in record.headers for record in hub.requests)


def test_no_other_hub_mirror_or_storage_gets_it(hub: Hub, project: Project) -> None:
    other = Hub()
    other.create("org/open").commit({"a.json": b"[]", "model.safetensors": b"other"})
    # As the real hub does: to another origin.
    hub.redirect_lfs = project.endpoint.replace("127.0.0.1", "localhost")
    with other.serve() as elsewhere:
        with (project.folder / "assets.yaml").open("a") as manifest:
            manifest.write(f"  open:\n    hub: {{repo: org/open, endpoint: '{elsewhere}'}}\n    transport: auto\n")
        env = {"HF_TOKEN": CANARY, "ASSETMGR_MIRRORS": f"{elsewhere}/mirror"}
        project.run("lock", env=env)
        project.run("pull", env=env)
    asked = [record.path for record in other.requests]
    assert any("/mirror/" in path for path in asked)
    assert any("/api/" in path for path in asked)
    stored = [record for record in hub.requests if record.path.startswith("/cdn/")]
    assert stored
    assert not any("authorization" in record.headers for record in (*other.requests, *stored))
