"""LAVIS's documented examples, unmodified, offline, on what assetmgr pulled: `assetmgr run -- python example.py`."""

from __future__ import annotations

import ast
import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.support import Done, Project, without_root_powers

pytestmark = pytest.mark.lavis
SCRIPTS = Path(__file__).parent / "scripts"
# Whoever asks for anything asks here, and is refused at once.
NOBODY = "http://127.0.0.1:9"
DEAD = {"http_proxy": NOBODY, "https_proxy": NOBODY, "NO_PROXY": "", "no_proxy": ""}
# The tests run side by side: threads of torch would only stand in each other's way.
ALONE = DEAD | {"OMP_NUM_THREADS": "1"}


def example(stage: Project, script: str, *arguments: str | Path, needs: str) -> Done:
    command = [sys.executable, str(SCRIPTS / script), *map(str, arguments)]
    return stage.run("run", "--needs", needs, "--", *command, env=ALONE, timeout=280)


def test_a_caption(stage: Project, picture: Path) -> None:
    done = example(stage, "caption.py", picture, needs="blip_caption/base_coco")
    caption, first_weight = done.out.splitlines()[-2:]
    assert [len(text.split()) > 3 for text in ast.literal_eval(caption)] == [True]
    checkpoint = stage.root / "torch" / "hub" / "checkpoints" / "blip_coco_caption_base.pth"
    code = (
        f"import torch; state = torch.load({str(checkpoint)!r}, mmap=True)['model']\n"
        "print(float(state['text_decoder.bert.embeddings.word_embeddings.weight'][0, 0]))"
    )
    assert stage.python(code).out.strip() == first_weight
    # What is told is LAVIS's own: no cache is taken for an old one, no download is begun.
    assert "version of Transformers" not in done.err
    assert "seems to be the one of a previous version" not in done.err
    assert "Downloading" not in done.out + done.err


def test_an_answer(stage: Project, picture: Path) -> None:
    answers = ast.literal_eval(example(stage, "answer.py", picture, needs="blip_vqa/vqav2").out.splitlines()[-1])
    assert [type(answer) for answer in answers] == [str]


def test_features_in_three_modes(stage: Project, picture: Path) -> None:
    done = example(stage, "features.py", picture, needs="blip_feature_extractor/base")
    both, image, text, similarity = done.out.splitlines()[-4:]
    length = json.loads(both)[1]
    assert json.loads(both) == [1, length, 768]
    assert image == "[1, 197, 768] [1, 197, 256]"
    assert text == f"[1, {length}, 768] [1, {length}, 256]"
    assert -1 <= float(similarity) <= 1


def test_a_dataset_and_its_images_elsewhere(stage: Project, tmp_path: Path) -> None:
    elsewhere = tmp_path / "copied"
    shutil.copytree(stage.root / "lavis" / "coco" / "images", elsewhere)
    lines = example(stage, "dataset.py", elsewhere, needs="coco_caption").out.splitlines()
    splits, sample, keys, moved = (line for line in lines if not line.startswith("Using downloaded"))
    assert splits == "['train', 'val', 'test'] [10, 3, 2]"
    assert "PIL.Image.Image image mode=RGB" in sample
    assert "'text_input': 'A computer desk topped with an open laptop computer.'" in sample
    assert keys == "['image', 'image_id', 'instance_id']"
    assert moved.endswith(str(elsewhere))
    code = (
        "from lavis.datasets.builders import load_dataset\ntry: load_dataset('coco_vqa')\nexcept OSError as e: print(e)"
    )
    done = stage.run("run", "--", sys.executable, "-c", code, env=DEAD)
    assert "is not in the store, and `assetmgr run` is offline" in done.out


@pytest.mark.skipif(shutil.which("java") is None, reason="COCO's evaluation needs Java")
def test_lavis_own_runner_trains_and_evaluates(stage: Project, tmp_path: Path) -> None:
    project = tmp_path / "project.yaml"
    project.write_text((SCRIPTS / "project.yaml").read_text().replace("{output}", str(tmp_path / "output")))
    needs = (
        "run",
        "--needs",
        "blip_caption/base_coco",
        "--needs",
        "coco_caption",
        "--needs",
        "coco-caption-evaluation",
        "--",
    )
    done = stage.run(*needs, sys.executable, str(SCRIPTS / "train.py"), str(project), env=ALONE, timeout=280)
    told = done.out + done.err
    assert "Missing keys []" in told
    assert "Start training epoch 0, 1 iters per inner epoch." in told
    job = tmp_path / "output" / "job"
    assert len(json.loads((job / "result" / "test_epoch0.json").read_text())) == 2
    scores = json.loads((job / "evaluate.txt").read_text())["test"]
    assert scores.keys() == {"Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "METEOR", "ROUGE_L", "CIDEr", "SPICE"}
    assert all(0 <= score <= 10 for name, score in scores.items() if name != "SPICE")
    # Stanford CoreNLP, which it would fetch, is not in the catalog.
    assert scores["SPICE"] != scores["SPICE"]
    assert "SPICE is left out, offline" in told
    code = (
        f"import torch; new = torch.load({str(job / 'checkpoint_0.pth')!r}, weights_only=False)['model']\n"
        f"old = torch.load({str(stage.root / 'torch/hub/checkpoints/blip_coco_caption_base.pth')!r})['model']\n"
        "name = 'text_decoder.cls.predictions.transform.dense.weight'\n"
        "print(float((new[name] - old[name]).abs().max()))"
    )
    assert 1e-4 < float(stage.python(code).out) < 1e-2
    (job / "checkpoint_0.pth").unlink()


def test_a_store_that_may_not_be_written_is_enough(stage: Project, tmp_path: Path) -> None:
    copied = tmp_path / "store"
    shutil.copytree(stage.root, copied, symlinks=True)
    (copied / "hub" / "version.txt").unlink()
    reader = Project(tmp_path, prefix=without_root_powers())
    for folder in (copied, *copied.rglob("*")):
        if folder.is_dir() and not folder.is_symlink():
            folder.chmod(0o555)
    code = (
        "import lavis, transformers\n"
        "print(len(transformers.BertTokenizer.from_pretrained('bert-base-uncased')))\n"
        "print(len(lavis.datasets.builders.load_dataset('coco_caption')['train']))"
    )
    done = reader.run("run", "--needs", "bert-base-uncased", "--", sys.executable, "-c", code, env=DEAD)
    assert [line for line in done.out.splitlines() if line.isdigit()] == ["30522", "10"]
    assert "cache" not in done.err.replace("new cache system", "")
    for folder in (copied, *copied.rglob("*")):
        if folder.is_dir() and not folder.is_symlink():
            folder.chmod(0o755)


def test_everything_is_as_it_was_pulled_afterwards(stage: Project) -> None:
    stage.run("verify", "--full", "--offline")
