"""What is written out in Python is found with its place; what is computed is a remark, never a guess."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr.scan.documents import pieces_of
from assetmgr.scan.finds import Find, Named, Remark, Repo
from assetmgr.scan.python_calls import find_calls


def found(text: str, file: str = "a.py") -> list[Find]:
    return find_calls(pieces_of(file, text), lambda name: name == "models/here")


def one(text: str) -> Find:
    (find,) = found(text)
    return find


HUB = "from huggingface_hub import snapshot_download, hf_hub_download\n"
DATASETS = "from datasets import load_dataset\n"
LAVIS = "from lavis.models import load_model_and_preprocess, load_model\n"


def model(repo: str, line: int = 1, **more: object) -> Repo:
    return Repo(f"a.py:{line}", "model", repo, is_use=True, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('AutoModel.from_pretrained("o/m")', model("o/m")),
        ('transformers.AutoModel.from_pretrained("bert-base-uncased")', model("bert-base-uncased")),
        ('X.from_pretrained(pretrained_model_name_or_path="o/m", revision="v1")', model("o/m", revision="v1")),
        ('X.from_pretrained("o/m", subfolder="unet")', model("o/m", allow=("unet/*",))),
        ('X.from_pretrained("o/m", revision=None)', model("o/m")),
        ('PeftModel.from_pretrained(base, "o/adapter")', model("o/adapter")),
        ('M = "o/m"\nX.from_pretrained(M)', model("o/m", 2)),
        ('def f():\n    m = "o/m"\n    return X.from_pretrained(m)', model("o/m", 3)),
        ('M: str = "o/m"\nX.from_pretrained(M)', model("o/m", 2)),
        (f'{HUB}snapshot_download("o/m")', Repo("a.py:2", "model", "o/m")),
        (
            f'{HUB}snapshot_download(repo_id="o/d", repo_type="dataset", allow_patterns="*.json", local_dir="x")',
            Repo("a.py:2", "dataset", "o/d", allow=("*.json",), local_dir="x"),
        ),
        (
            f'{HUB}P = ["*.bin", "*.h5"]\nsnapshot_download("o/m", ignore_patterns=P)',
            Repo("a.py:3", "model", "o/m", ignore=("*.bin", "*.h5")),
        ),
        ('HfApi().snapshot_download("o/m")', Repo("a.py:1", "model", "o/m")),
        ("import huggingface_hub as h\nh.snapshot_download('o/m')", Repo("a.py:2", "model", "o/m")),
        (
            f'{HUB}hf_hub_download("o/m", "w[1].bin", subfolder="a")',
            Repo("a.py:2", "model", "o/m", allow=("a/w[[]1].bin",)),
        ),
        (f'{DATASETS}load_dataset("o/d", split="train")', Repo("a.py:2", "dataset", "o/d", is_use=True)),
        (f'{DATASETS}load_dataset("imdb")', Repo("a.py:2", "dataset", "imdb", is_use=True)),
        (
            f'{DATASETS}load_dataset("o/d", data_files=["a.json"])',
            Repo("a.py:2", "dataset", "o/d", allow=("a.json",), is_use=True),
        ),
        (
            'from lavis.datasets.builders import load_dataset\nload_dataset("coco_caption")',
            Named("a.py:2", "coco_caption"),
        ),
        ('import assetmgr\nassetmgr.load_dataset("coco_caption")', Named("a.py:2", "coco_caption")),
        ('import assetmgr as am\nam.load_model("mini")', Named("a.py:2", "mini")),
        (
            f'{LAVIS}load_model_and_preprocess(name="blip_caption", model_type="base_coco", is_eval=True)',
            Named("a.py:2", "blip_caption/base_coco"),
        ),
        (f'{LAVIS}load_model("blip2", "pretrain")', Named("a.py:2", "blip2/pretrain")),
        ('from lavis.models import *\nload_model("blip2", "pretrain")', Named("a.py:2", "blip2/pretrain")),
        ('from transformers import pipeline\npipeline("vqa", model="o/m")', model("o/m", 2)),
        ('SentenceTransformer("all-MiniLM-L6-v2")', model("sentence-transformers/all-MiniLM-L6-v2")),
        ('import timm\ntimm.create_model("hf-hub:timm/vit@v2")', model("timm/vit", 2, revision="v2")),
    ],
)
def test_what_is_written_out_is_found(text: str, expected: Find) -> None:
    assert one(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("X.from_pretrained(args.model)", "is computed: args.model"),
        ('X.from_pretrained(f"o/{size}")', "is computed"),
        ('M = "o/a"\nM = "o/b"\nX.from_pretrained(M)', "is computed: M"),
        ('M = "o/a"\ndef f(M):\n    X.from_pretrained(M)', "is computed: M"),
        ('for M in ["o/a", "o/b"]:\n    X.from_pretrained(M)', "is computed: M"),
        ('X.from_pretrained("o/m", revision=rev)', "revision is computed: rev"),
        (f"{HUB}snapshot_download('o/m', allow_patterns=[p])", "allow_patterns is computed"),
        (f"{HUB}snapshot_download('o/m', repo_type='space')", "neither model nor dataset"),
        (f"{HUB}hf_hub_download('o/m', name)", "filename is computed"),
        ('X.from_pretrained("./model")', "local path"),
        ('X.from_pretrained("E:\\\\model")', "local path"),
        ('X.from_pretrained("models/here")', "local path"),
        ('X.from_pretrained("your/target/repo")', "no hub repo"),
        (f'{DATASETS}load_dataset("json", data_files="a.json")', "files of your own"),
        (f"{LAVIS}load_model('blip2')", "needs its name and its model_type"),
        ('from transformers import pipeline\npipeline("vqa")', "default one"),
    ],
)
def test_what_is_computed_or_local_is_a_remark(text: str, words: str) -> None:
    find = one(text)
    assert isinstance(find, Remark)
    assert words in find.text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "def load_model_and_preprocess(a, b): ...\nload_model_and_preprocess('a', 'b')",
        "from modelscope import snapshot_download\nsnapshot_download('o/m')",
        "from keras.models import load_model\nload_model('o/m')",
        "import mlflow\nmlflow.load_model('a', 'b')",
        "cls.from_pretrained(model_type='base')",
        "from pandas import *\npipeline('a', 'b')",
    ],
)
def test_what_is_another_librarys_is_left_alone(text: str) -> None:
    assert found(text) == []


def test_a_line_that_is_no_python_loses_only_itself() -> None:
    text = "%matplotlib inline\n!pip install x\nX.from_pretrained('o/a')\n"
    text += "模型 GPU\nprint 'old'\nX.from_pretrained('o/b')\n"
    finds = found(text)
    assert [find.repo for find in finds if isinstance(find, Repo)] == ["o/a", "o/b"]
    assert [str(find.text) for find in finds if isinstance(find, Remark)] == [
        "2 lines that are no Python were passed over"
    ]
    assert [find.where for find in finds] == ["a.py:4", "a.py:3", "a.py:6"]


def test_a_file_that_is_no_python_is_one_remark() -> None:
    for text in ("<html>\n" * 100, "\0", "(" * 100_000, "x = " + "-" * 20_000 + "1"):
        (find,) = found(text)
        assert isinstance(find, Remark)


def test_blocks_of_a_page_and_cells_of_a_notebook_share_imports_and_say_their_places() -> None:
    page = (
        "# Title\n```python \nfrom lavis.datasets.builders import load_dataset\nname = 'vg_vqa'\n```\n"
        "text\n```bash\nload_dataset('no')\n```\n- item\n   ~~~py\n   load_dataset(name)\n   ~~~\n"
        "```pycon\n>>> load_dataset('c')\n'out'\n```\n```python\nload_dataset('open')\n"
    )
    assert found(page, "a.md") == [Named("a.md:12", "vg_vqa"), Named("a.md:15", "c"), Named("a.md:19", "open")]
    notebook = (
        '{"cells": [{"cell_type": "markdown", "source": "load_dataset(1)"},'
        '{"cell_type": "code", "source": ["%load_ext x\\n", "import assetmgr as am\\n"]},'
        '{"cell_type": "code", "source": "%%bash\\nno python"}, 7,'
        '{"cell_type": "code", "source": "\\nam.load_dataset(\'d\')"}]}'
    )
    assert found(notebook, "n.ipynb") == [Named("n.ipynb:cell 5:2", "d")]
    with pytest.raises(ValueError, match="truncated"):
        found("{", "n.ipynb")


@given(st.text(max_size=200))
def test_no_text_is_too_odd_to_be_read(text: str) -> None:
    found(text)
    found(f"```python\n{text}\n```", "a.md")
