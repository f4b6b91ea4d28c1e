"""A store as LAVIS needs it, locked and pulled from this machine in place of the catalog's own servers.

The checkpoints have LAVIS's architectures, written by LAVIS's own classes; the captions and pictures are a real sample
of COCO in the form of Karpathy's splits; the vocabulary has the size and the special tokens of bert-base-uncased.
"""

from __future__ import annotations

import io
import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

from assetmgr.transfer.detour import VARIABLE
from tests.hub import Hub
from tests.support import Project

SAMPLE = Path(__file__).parents[1] / "data" / "coco-sample"
GCS = "https://storage.googleapis.com"
COCO = "http://images.cocodataset.org"
MODELS = {
    "blip_caption/base_coco": "LAVIS/models/BLIP/blip_coco_caption_base.pth",
    "blip_vqa/vqav2": "BLIP/models/model_base_vqa_capfilt_large.pth",
    "blip_feature_extractor/base": "BLIP/models/model_base_capfilt_large.pth",
}
_BUCKET = "sfr-vision-language-research"
_ANNOTATIONS = ("coco_karpathy_train", "coco_karpathy_val", "coco_karpathy_test")
_TRUTHS = ("coco_karpathy_val_gt", "coco_karpathy_test_gt")


def manifest() -> str:
    """What is wanted of the catalog; the files of which the sample is another are declared anew, without checksums."""
    wanted = ", ".join([*MODELS, "coco-caption-evaluation"])
    lines = ["version: 1", f"requires: [{wanted}]", "datasets:", "  coco_caption:", "    files:"]
    place = "lavis/coco/annotations"
    lines += [f"      - {{url: {GCS}/{_BUCKET}/datasets/{stem}.json, place: {place}}}" for stem in _ANNOTATIONS]
    lines += ["    requires: coco-images", "  coco-images:", "    files:"]
    for split in ("train2014", "val2014"):
        lines += [f"      - {{url: {COCO}/zips/{split}.zip, extract: lavis/coco/images, keep_archive: false}}"]
    return "\n".join(lines) + "\n"


def make_stage(folder: Path) -> None:
    """Publish everything on loopback, lock and pull it; the servers end with this."""
    hub = Hub()
    hub.create("bert-base-uncased").commit(vocabulary())
    for path, data in files().items():
        hub.publish(path, data)
    with hub.serve() as endpoint:
        detours = {f"{GCS}/": f"{endpoint}/gcs/", f"{COCO}/": f"{endpoint}/coco/"}
        project = Project(folder, endpoint, {VARIABLE: json.dumps(detours)})
        project.write(manifest())
        project.run("lock", "bert-base-uncased")
        project.run("pull", "bert-base-uncased")
        written = folder / "checkpoints"
        command = [sys.executable, "-m", "tests.lavis.checkpoints", str(written)]
        project.run("run", "--needs", "bert-base-uncased", "--", *command, timeout=300)
        for name, path in MODELS.items():
            checkpoint = written / name.replace("/", "-")
            hub.publish(f"/gcs/{_BUCKET}/{path}", checkpoint.read_bytes())
            checkpoint.unlink()
        project.run("lock")
        project.run("pull")


def files() -> dict[str, bytes]:
    """What the two servers have of COCO, by path."""
    published: dict[str, bytes] = {}
    captions: dict[str, dict[str, list[str]]] = {}
    for split in ("train", "val"):
        told = json.loads((SAMPLE / "annotations" / f"captions_{split}2017.json").read_text())
        names = {image["id"]: f"{split}2014/COCO_{split}2014_{image['id']:012d}.jpg" for image in told["images"]}
        captions[split] = {names[image]: [] for image in names}
        for row in told["annotations"]:
            captions[split][names[row["image_id"]]].append(row["caption"])
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for image, name in names.items():
                archive.write(SAMPLE / f"{split}2017" / f"{image:012d}.jpg", name)
        published[f"/coco/zips/{split}2014.zip"] = packed.getvalue()
    rows = [
        {"caption": caption, "image": image, "image_id": f"coco_{_id(image)}"}
        for image, several in captions["train"].items()
        for caption in several
    ]
    held: list[dict[str, Any]] = [{"image": image, "caption": several} for image, several in captions["val"].items()]
    documents: dict[str, Any] = {_ANNOTATIONS[0]: rows, _ANNOTATIONS[1]: held[:3], _ANNOTATIONS[2]: held[3:]}
    for name, part in zip(_TRUTHS, (held[:3], held[3:]), strict=True):
        told = [(_id(row["image"]), caption) for row in part for caption in row["caption"]]
        documents[name] = {
            "images": [{"id": image} for image in sorted({image for image, _ in told})],
            "annotations": [{"id": at, "image_id": image, "caption": text} for at, (image, text) in enumerate(told)],
        }
    return published | {
        f"/gcs/{_BUCKET}/datasets/{name}.json": json.dumps(value).encode() for name, value in documents.items()
    }


def _id(image: str) -> int:
    return int(image[-16:-4])


def vocabulary() -> dict[str, bytes]:
    """A tokenizer's files with 30,522 entries, the special ones where bert-base-uncased has them."""
    words = [f"[unused{number}]" for number in range(30522)]
    words[0] = "[PAD]"
    words[100:104] = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    spoken = [path.read_text().lower() for path in sorted((SAMPLE / "annotations").glob("*.json"))]
    known = sorted({*re.findall("[a-z]+", " ".join(spoken)), *"abcdefghijklmnopqrstuvwxyz.,?!'", "picture", "fountain"})
    known += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    words[999 : 999 + len(known)] = known
    return {
        "vocab.txt": ("\n".join(words) + "\n").encode(),
        "tokenizer_config.json": json.dumps({"do_lower_case": True, "model_max_length": 512}).encode(),
        "config.json": json.dumps({"model_type": "bert", "architectures": ["BertForMaskedLM"]}).encode(),
    }
