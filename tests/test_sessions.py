"""Recorded sessions in a real terminal, one for each kind of user: from an empty folder to a loaded asset.

What is checked is the screen as it stands when the prompt is back: lines drawn over, bars gone.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo import ORIGIN, published
from tests.support import REPOSITORY, Project, served
from tests.terminal import terminal

# A user's own script, which knows nothing of assetmgr.
SCRIPT = f"""\
from transformers import Blip2ForConditionalGeneration

print(type(Blip2ForConditionalGeneration.from_pretrained("{ORIGIN}/tiny-blip2-vqa")).__name__)
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with served(published(), tmp_path / "machine") as project:
        yield project


def shape(shown: str, project: Project) -> list[str]:
    """The lines of a screen, less what differs from run to run: this machine's folders, times and free space."""
    shown = shown.replace("\n", "\0")
    # A folder's name may be broken over two lines, as it is long.
    shown = re.sub("\0?".join(map(re.escape, str(project.folder))), "HERE", shown)
    shown = re.sub("\0?".join(map(re.escape, str(project.folder.parent))), "THERE", shown)
    shown = shown.replace("\0", "\n")
    for pattern, word in (
        (r"\d{4}-\d\d-\d\d \d\d:\d\d", "DATE"),
        (r"\d{4}-\d\d-\d\d", "DATE"),
        (r"\d+\.\d ?s\b", "TIME"),
        (r"[\d.]+ [GTM]B free", "ROOM free"),
    ):
        shown = re.sub(pattern, word, shown)
    return shown.split("\n")


@pytest.mark.torch
def test_an_admin_provisions_a_machine(project: Project) -> None:
    pytest.importorskip("transformers")
    with terminal(project.folder, project.environment(), columns=250) as shell:

        def seen(line: str, code: int = 0) -> list[str]:
            return shape(shell.run(line, code=code), project)

        assert seen("ls -A assets.yaml", code=2)  # an empty folder
        assert seen("assetmgr init") == ["assetmgr: assets.yaml written; next: assetmgr add hub:ORG/NAME"]
        added = seen(f"assetmgr add hub:{ORIGIN}/tiny-blip2-vqa --name tiny-blip2 --group demo")
        assert added[0] == f"tiny-blip2: 9 files, 2.8 MB, {ORIGIN}/tiny-blip2-vqa at eefe213ceaec"
        assert added[-1] == "assetmgr: next: assetmgr pull tiny-blip2"
        assert "disk: 2.7 MB needed, ROOM free: it fits" in added
        assert seen(f"assetmgr add hub-dataset:{ORIGIN}/coco-sample --name coco-sample")[-1].endswith("coco-sample")
        assert seen("assetmgr sync --dry-run")[-1] == (
            "assetmgr: dry run: 9 files to fetch (3.2 MB) for 2 assets in HERE/store; nothing was written; TIME"
        )
        assert seen("assetmgr sync")[-1].startswith("assetmgr: 2 assets proved in HERE/store: 9 files fetched (3.2 MB")
        assert seen("assetmgr sync") == ["assetmgr: nothing to do: 2 assets, 19 files, proved in HERE/store; TIME"]
        assert seen("assetmgr status") == [
            "asset        kind     state      files      size  revision       proved",
            "tiny-blip2   model    installed      9    2.8 MB  main@eefe213c  DATE",
            "coco-sample  dataset  installed     10  568.0 kB  main@abc49a36  DATE",
            "assetmgr: 2 assets: 2 installed; 3.4 MB in the store",
        ]
        assert seen("assetmgr verify --full --budget 10m") == [
            "assetmgr: verified 3.4 MB of 3.4 MB in TIME; oldest proof now DATE; 0 findings"
        ]
        assert seen("assetmgr lock --check") == ["assetmgr: the lock says what the manifest asks for"]
        assert seen("assetmgr statsu", code=2)[-1] == "error: there is no command 'statsu'; did you mean 'status'?"
        loaded = "import assetmgr; print(assetmgr.load_model('tiny-blip2', device='cpu').dtype)"
        assert seen(f'python -c "{loaded}"')[-1] == "torch.float16"


@pytest.mark.torch
def test_a_store_is_carried_to_a_machine_without_internet(project: Project, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    if shutil.which("rsync") is None:
        pytest.skip("no rsync here: it is what carries the store")
    with terminal(project.folder, project.environment(), columns=250) as shell:
        shown = shell.run(f"assetmgr pull hub:{ORIGIN}/tiny-blip2-vqa")
        assert "1 asset proved in" in shown
        shell.run(f"rsync -a store/ {tmp_path}/stick/")
    away = tmp_path / "away"
    # Another machine: no hub, no manifest, and nothing of this user's home.
    environment = project.environment(
        HOME=str(away), HF_HOME=f"{away}/hf", HF_ENDPOINT="http://127.0.0.1:9", ASSETMGR_ROOT=str(away / "assets")
    )
    with terminal(away, environment, columns=250) as shell:
        shell.run(f"rsync -a {tmp_path}/stick/ assets/")
        first, second = shell.run("assetmgr verify"), shell.run("assetmgr verify")
        assert "1 asset, 9 files, 2.8 MB: all proved (by stamps, 2.8 MB hashed)" in first
        assert "1 asset, 9 files, 2.8 MB: all proved (by stamps, 0 B hashed)" in second
        (away / "script.py").write_text(SCRIPT)
        shown = shell.run(f"assetmgr run --needs {ORIGIN}/tiny-blip2-vqa -- python script.py")
        assert shown.split("\n")[-1] == "Blip2ForConditionalGeneration"


@pytest.mark.torch
def test_a_researcher_loads_what_is_installed(project: Project) -> None:
    pytest.importorskip("transformers")
    shutil.copy(REPOSITORY / "manifests" / "demo.yaml", project.folder / "assets.yaml")
    project.run("sync")
    work = project.folder / "work" / "empty"
    work.mkdir(parents=True)
    (project.folder / "assets.yaml").rename(project.folder / "elsewhere.yaml")
    with terminal(work, project.environment(PYTHON_BASIC_REPL="1"), columns=250) as shell:
        assert "installed" in shell.run("assetmgr list 'tiny*' --installed")
        assert "eefe213ceaec" in shell.run("assetmgr show tiny-blip2")
        shell.send("python -q")
        for line, answer in (
            ("import assetmgr", ""),
            ("pictures = assetmgr.load_dataset('coco-sample', split='val')", ""),
            ("len(pictures)", "25"),
            ("model = assetmgr.load_model('tiny-blip2', device='cpu')", ""),
            ("sample = next(s for s in pictures if s['image_id'] == 6818)", ""),
            ("model.caption(sample['image'])", "a couple of buckets in a white room"),
        ):
            shell.wait_for(">>> ")
            shell.send(line)
            if answer:
                shell.wait_for(re.escape(answer))
        shell.wait_for(">>> ")
        shell.send("exit()")
        assert shell.finish().code == 0
