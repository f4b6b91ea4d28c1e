"""The variables of `assetmgr env`: which, for which shell, and that other libraries find the store by them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from assetmgr.environment import HOOK, SHELLS, applied, changes, script
from assetmgr.errors import UsageError
from tests.hub import Hub
from tests.support import REPOSITORY, Project, hub_manifest, served

PLACES = {
    "ASSETMGR_ROOT": "/s",
    "HF_HUB_CACHE": "/s/hub",
    "HUGGINGFACE_HUB_CACHE": "/s/hub",
    "TORCH_HOME": "/s/torch",
    "HF_DATASETS_CACHE": "/s/prepared/datasets",
}
OFFLINE = dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE"), "1")
UGLY = (
    "it's",
    'say "x"',
    "a $HOME `id` $(id)",
    "back\\slash\\",
    "tab\tand\nline",
    "ü 漢 \u2019 \u201c",
    "%TEMP% !1 ~",
    "-n",
)


@pytest.mark.skipif(os.name == "nt", reason="the paths are of POSIX")
@pytest.mark.parametrize(
    ("options", "environ", "wanted"),
    [
        ({}, {}, PLACES | OFFLINE),
        ({}, {"HF_HOME": "/h", "TRANSFORMERS_CACHE": "/old"}, PLACES | {"TRANSFORMERS_CACHE": None} | OFFLINE),
        ({"online": True}, {}, PLACES),
        ({"online": True}, {"HF_HUB_OFFLINE": "1"}, PLACES | {"HF_HUB_OFFLINE": None}),
        ({"writable": False}, {}, {name: PLACES[name] for name in PLACES if name != "HF_DATASETS_CACHE"} | OFFLINE),
        ({"manifests": ["/a.yaml", "/b.yaml"]}, {}, PLACES | {"ASSETMGR_MANIFEST": "/a.yaml:/b.yaml"} | OFFLINE),
        ({"hook": True}, {}, PLACES | OFFLINE | {"PYTHONPATH": HOOK}),
        ({"hook": True}, {"PYTHONPATH": ""}, PLACES | OFFLINE | {"PYTHONPATH": HOOK}),
        ({"hook": True}, {"PYTHONPATH": "/x::/y"}, PLACES | OFFLINE | {"PYTHONPATH": f"{HOOK}:/x::/y"}),
        ({"hook": True}, {"PYTHONPATH": f"/x:{HOOK}"}, PLACES | OFFLINE | {"PYTHONPATH": f"{HOOK}:/x"}),
    ],
)
def test_what_changes(options: dict[str, object], environ: Mapping[str, str], wanted: Mapping[str, str | None]) -> None:
    assert changes("/s", environ, **options) == wanted  # type: ignore[arg-type]


def test_changes_are_made_and_unmade() -> None:
    assert applied({"A": "1", "B": "2"}, {"B": None, "C": "3"}) == {"A": "1", "C": "3"}


def test_a_root_that_huggingface_hub_would_read_as_another_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAR", "/elsewhere")
    with pytest.raises(UsageError, match="FAR"):
        changes("/data/$FAR/store", {})
    assert changes("/data/$NONE/store", {})["ASSETMGR_ROOT"] == "/data/$NONE/store"


# PowerShell is not among Debian's packages: its quoting is tried wherever it is installed, and by its text below.
PROGRAMS = ["sh", "bash", "dash", "zsh", "fish", *(["pwsh"] if shutil.which("pwsh") else [])]


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_shell_reads_the_very_values(program: str) -> None:
    shell = shutil.which(program)
    if shell is None:
        pytest.skip(f"there is no {program} here")
    language = {"fish": "fish", "pwsh": "powershell"}.get(program, "sh")
    assert language in SHELLS
    values = {f"UGLY{number}": text for number, text in enumerate(UGLY)}
    show = f"import json, os; print(json.dumps({{n: os.environ.get(n) for n in {[*values, 'GONE']!r}}}))"
    call = "& " if language == "powershell" else ""
    text = script({**values, "GONE": None}, language) + f"\n{call}'{sys.executable}' -c \"{show}\"\n"
    done = subprocess.run(
        [shell, "-c", text], env={**os.environ, "GONE": "1"}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {**values, "GONE": None}


def test_powershell_is_told_each_value_in_single_quotes() -> None:
    told = script({"A": "it's $x `n \u2019 \"", "GONE": None}, "powershell")
    assert told == "$env:A = 'it''s $x `n \u2019\u2019 \"'\nRemove-Item Env:GONE -ErrorAction SilentlyContinue"


@pytest.mark.skipif(os.name == "nt", reason="bytes that are no text are of POSIX")
def test_a_root_that_is_no_text_is_handed_on_byte_for_byte(tmp_path: Path) -> None:
    root = os.fsencode(tmp_path) + b"/\xff \t\n\x1b[1m"
    done = subprocess.run(
        ["sh", "-ec", f"eval \"$('{sys.executable}' -m assetmgr env)\"\nprintenv TORCH_HOME"],
        env={**os.environb, b"ASSETMGR_ROOT": root, b"PYTHONPATH": os.fsencode(REPOSITORY)},
        capture_output=True,
        check=True,
    )
    assert done.stdout == root + b"/torch\n"


LOOK = """
import json, huggingface_hub
from huggingface_hub import constants, get_token, hf_hub_download
path = hf_hub_download("org/name", "config.json")
print(json.dumps([path, get_token(), constants.HF_HUB_OFFLINE]))
"""


@pytest.mark.hub
def test_a_shell_that_took_the_variables_finds_the_store_offline_and_the_users_own_token(tmp_path: Path) -> None:
    hub = Hub()
    hub.create("org/name").commit({"config.json": b"{}"})
    with served(hub, tmp_path / "it's a $place") as project:
        project.root.mkdir()  # a `$` counts as a letter where the folder is there
        project.write(hub_manifest())
        project.run("lock")
        project.run("pull")
        home = Path(project.environment()["HF_HOME"])
        home.mkdir()
        (home / "token").write_text("hf_of_the_user")
        asked = len(hub.requests)
        taken = subprocess.run(
            ["sh", "-ec", f"eval \"$('{sys.executable}' -m assetmgr env)\"\n'{sys.executable}' -c '{LOOK}'"],
            cwd=project.folder,
            env=project.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert taken.returncode == 0, taken.stderr
        path, token, offline = json.loads(taken.stdout)
        assert path.startswith(str(project.root / "hub"))
        assert (token, offline) == ("hf_of_the_user", True)
        assert len(hub.requests) == asked
        assert project.run("--json", "env", "--online", "--hook").json["PYTHONPATH"].startswith(HOOK)


@pytest.mark.torch
def test_torch_hub_takes_the_file_from_the_store(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"weight": torch.ones(3)}, tmp_path / "w.pth")
    project = Project(tmp_path / "project")
    project.write(f"version: 1\nmodels:\n  m:\n    files: [{{url: {tmp_path}/w.pth, place: torch}}]\n")
    project.run("lock")
    project.run("pull")
    code = "import torch; print(torch.hub.load_state_dict_from_url('https://far.example/w.pth')['weight'].sum().item())"
    done = project.run("run", "--needs", "m", "--", sys.executable, "-c", code)
    assert done.out == "3.0\n"
    missing = code.replace("w.pth", "other.pth")
    done = project.run("run", "--", sys.executable, "-c", f"try:\n {missing}\nexcept OSError as e: print(e)")
    assert "https://far.example/other.pth is not in the store" in done.out
