"""`assetmgr bundle` as it is typed: what it prints, its exit codes, and mends that work."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from assetmgr.cli import main
from assetmgr.cli.shapes import shape
from tests.bundle.support import Site, keygen, needs_keys
from tests.support import flip_byte

jsonschema = pytest.importorskip("jsonschema")


class Said(NamedTuple):
    out: str
    err: str

    @property
    def document(self) -> Any:
        told = json.loads(self.out)
        jsonschema.validate(told, shape("bundle"))
        return told


Run = Callable[..., Said]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"), scale=1)


@pytest.fixture
def run(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a line in the project's folder; ``root`` is the store, this machine's where none is given."""
    monkeypatch.chdir(site.folder)

    def run(line: str, *, code: int = 0, root: Path | None = None) -> Said:
        monkeypatch.setenv("ASSETMGR_ROOT", str(root or site.folder / "here"))
        capsys.readouterr()
        try:
            found = main(shlex.split(line))
        except SystemExit as ended:
            found = int(ended.code or 0)
        said = Said(*capsys.readouterr())
        assert found == code, said
        return said

    return run


def test_a_bundle_is_made_shown_proved_and_loaded(run: Run, site: Site, tmp_path: Path) -> None:
    bundle = tmp_path / "lab"
    said = run(f"bundle create -o {bundle} words model pictures").err
    assert f"{bundle}: 7 files written" in said
    assert "lab 20" in said
    assert "3 assets; not signed" in said
    shown = run(f"bundle inspect {bundle}").out
    assert [line.split()[0] for line in shown.splitlines() if line][-3:] == ["words", "model", "pictures"]
    assert "signed  no" in shown
    assert "every byte is as its index says" in run(f"bundle verify {bundle}").err
    there = tmp_path / "there"
    assert "3 assets proved" in run(f"bundle load {bundle}", root=there).err
    (site.folder / "model").mkdir(exist_ok=True)  # a folder of that name is no bundle
    assert "already there" in run(f"bundle load {bundle} model", root=there).err
    assert run("path model", root=there).out.strip() == str(there / "files/model")
    assert run(f"-q bundle verify {bundle}") == ("", "")
    with_json = run(f"bundle load {bundle} words --json", root=tmp_path / "other").document
    assert [each["name"] for each in with_json["pulled"]] == ["words"]
    assert "7 files already there" in run(f"bundle create --output {bundle} --dry-run").err


def test_a_damaged_bundle_is_told_file_by_file(run: Run, tmp_path: Path) -> None:
    bundle = tmp_path / "lab"
    run(f"bundle create -o {bundle}")
    largest = max((bundle / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    flip_byte(largest)
    (bundle / "letter.txt").write_text("dear")
    said = run(f"bundle verify {bundle}", code=3)
    assert len(said.out.splitlines()) == 2
    assert largest.name in said.out
    assert "'letter.txt' is named by nothing in it" in said.out
    findings = run(f"bundle verify {bundle} --json", code=3).document["findings"]
    assert [each["kind"] for each in findings] == ["extra", "damaged"]
    assert "letter.txt" in run(f"bundle load {bundle}", code=3, root=tmp_path / "there").err
    assert "letter.txt" in run(f"bundle inspect {bundle}").err
    (bundle / "letter.txt").unlink()
    assert largest.name in run(f"bundle load {bundle}", code=3, root=tmp_path / "there").err
    run(f"bundle create -o {bundle} --full")  # as the mend says
    run(f"bundle verify {bundle}")
    run(f"bundle load {bundle}", root=tmp_path / "there")


@needs_keys
def test_a_signature_is_asked_for_and_its_signer_told(run: Run, tmp_path: Path) -> None:
    key = keygen(tmp_path / "alice")
    run(f"bundle create -o {tmp_path}/lab --sign {key}")
    run(f"bundle create -o {tmp_path}/plain")
    assert "yes (by whom, --verify-with KEYS tells)" in run(f"bundle inspect {tmp_path}/lab").out
    told = run(f"bundle verify {tmp_path}/lab --verify-with {key}.pub --json").document
    assert (told["signed"], told["signer"]["name"]) == (True, "alice")
    for action in ("inspect", "verify", "load"):
        said = run(f"bundle {action} {tmp_path}/plain --verify-with {key}.pub", code=3, root=tmp_path / "there").err
        assert "is not signed" in said
    assert (
        "by alice (SHA256:" in run(f"bundle load {tmp_path}/lab --verify-with {key}.pub", root=tmp_path / "there").err
    )
    again = run(f"bundle create -o {tmp_path}/lab").err
    assert "as it was; signed" in again
    run(f"bundle create -o {tmp_path}/new --sign {tmp_path}/nobody", code=2)
    assert not (tmp_path / "new").exists()


def test_volumes_and_deltas_say_what_they_wait_for(run: Run, tmp_path: Path) -> None:
    run(f"bundle create -o {tmp_path}/lab --max-size 110k")
    volumes = sorted((tmp_path / "lab").iterdir())
    assert len(volumes) > 1
    there = tmp_path / "there"
    said = run(f"bundle load {volumes[0]}", root=there).err
    assert "not whole yet" in said
    waiting = run(f"bundle load {volumes[0]} --json", root=there).document["awaited"]
    assert waiting
    assert "the other volumes of" in run(f"bundle verify {volumes[0]}").err
    run("bundle load " + " ".join(map(str, volumes)), root=there)
    run("verify --full", root=there)
    run(f"bundle create -o {tmp_path}/delta --since {tmp_path}/lab")
    assert "made since another bundle" in run(f"bundle load {tmp_path}/delta", code=4, root=tmp_path / "alone").err
    run(f"bundle load {tmp_path}/delta --with {tmp_path}/lab", root=tmp_path / "alone")
    run("verify --full", root=tmp_path / "alone")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("bundle create", "where to is not said"),
        ("bundle load", "no bundle is named"),
        ("bundle verify", "no bundle is named"),
        ("bundle load x --sign key", "bundle load takes no --sign: it is for create"),
        (
            "bundle create -o x --verify-with key",
            "bundle create takes no --verify-with: it is for inspect and verify and load",
        ),
        ("bundle create -o x --max-size 25X", "is no size such as"),
        ("bundle create -o x --max-size 0", "is no size such as"),
        ("bundle create -o x --serial -1", "serial"),
        ("bundle create -o x --serial 0", "a serial is a number"),
        ("bundle create -o x nothing", "no asset 'nothing'"),
        ("bundle creat -o x", "did you mean 'create'"),
        ("bundle create -o x --lod", "bundle takes no --lod"),
        ("bundle create -o x --since nowhere", "nowhere: there is no such bundle"),
    ],
)
def test_what_makes_no_sense_is_said(run: Run, line: str, says: str) -> None:
    code = 5 if "nowhere" in line else 2
    assert says in run(line, code=code).err


def test_in_a_project_whose_lock_names_other_bytes_it_is_said(run: Run, site: Site, tmp_path: Path) -> None:
    run(f"bundle create -o {tmp_path}/lab words")
    lock = site.folder / "assets.lock.json"
    before = lock.read_bytes()
    try:
        document = json.loads(before)
        document["assets"]["words"]["files"][0]["sha256"] = "0" * 64
        lock.write_text(json.dumps(document))
        said = run(f"bundle load {tmp_path}/lab", root=tmp_path / "there").err
        assert "words: the lock here names other bytes than this bundle" in said
    finally:
        lock.write_bytes(before)
