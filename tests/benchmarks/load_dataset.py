"""`load_dataset` on captions of COCO's true size, beside LAVIS in its own environment."""

from __future__ import annotations

import io
import json
import random
import shutil
import statistics
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.runner import Bench, Row, alternate, at_most, seconds
from tests.hub import Hub
from tests.support import REPOSITORY, Project

TRUE_SIZE = 566_747
CAPTIONS_AN_IMAGE = 5
LARGE = 10_000_000
LAVIS = REPOSITORY / ".venv-lavis" / "bin" / "python"
PICTURES = REPOSITORY / "tests" / "data" / "coco-sample"
OPEN, MEMORY, RATE = 0.030, 20, 200_000

PARSE = "import json, sys, time; t = time.perf_counter(); json.load(open(sys.argv[1])); print(time.perf_counter() - t)"

Side = Mapping[str, Any]


def load_dataset(bench: Bench) -> Iterator[Row]:
    """Open, prepare and read; LAVIS does the same on the same files."""
    count = 20_000 if bench.quick else TRUE_SIZE
    project = _project(bench.place / "project", count, 200_000 if bench.quick else LARGE)
    pictured = _pictured(bench.place / "pictured")
    has_lavis = LAVIS.exists()
    if not has_lavis:
        bench.note(f"LAVIS is not beside it: there is no {LAVIS.relative_to(REPOSITORY)} (make lavis-env)")
    peers = ("ours", "lavis") if has_lavis else ("ours",)

    yield from _first(project, bench, count)
    yield from _open(project, bench, count, peers)
    yield from _large(project, bench)
    yield from _rates(project, pictured, bench, peers)
    yield from _workers(project, peers)


def _first(project: Project, bench: Bench, count: int) -> Iterator[Row]:
    annotations = project.root / "lavis" / "coco" / "annotations" / "coco_karpathy_train.json"

    def prepare() -> float:
        shutil.rmtree(project.root / "prepared", ignore_errors=True)
        return float(measure(project, "open", "ours", "coco_caption")["open"])

    def parse() -> float:
        command = [sys.executable, "-c", PARSE, str(annotations)]
        return float(subprocess.run(command, check=True, capture_output=True).stdout)

    took = alternate(bench.rounds(5), ours=prepare, peer=parse)
    yield at_most(f"first open of {count:,} captions / json.load", took["ours"], took["peer"], 2)


def _open(project: Project, bench: Bench, count: int, peers: Iterable[str]) -> Iterator[Row]:
    runs: dict[str, list[Side]] = {whose: [] for whose in peers}
    for _ in range(1 + bench.rounds(7)):
        for whose, found in runs.items():
            found.append(measure(project, "open", whose, "coco_caption"))
    at = {
        whose: {key: statistics.median(side[key] for side in found[1:]) for key in ("open", "memory", "all")}
        for whose, found in runs.items()
    }
    ours = at["ours"]
    peer = at.get("lavis", {key: float("nan") for key in ours})
    yield Row(
        f"open of {count:,} captions / LAVIS", seconds(ours["open"]), seconds(peer["open"]),
        f"{ours['open'] / peer['open']:.3f}", f"<= {OPEN * 1000:g} ms", ours["open"] <= OPEN,
    )  # fmt: skip
    yield Row(
        "... its memory over imports", f"{ours['memory'] / 1e6:.1f} MB", f"{peer['memory'] / 1e6:.1f} MB",
        f"{ours['memory'] / peer['memory']:.3f}", f"<= {MEMORY} MB", ours["memory"] <= MEMORY * 1e6,
    )  # fmt: skip
    yield at_most("... with imports", ours["all"], peer["all"], 0.1)


def _large(project: Project, bench: Bench) -> Iterator[Row]:
    measure(project, "open", "ours", "large")
    found = [measure(project, "open", "ours", "large") for _ in range(bench.rounds(7))]
    small = [measure(project, "open", "ours", "coco_caption") for _ in found]
    took, beside = (statistics.median(side["open"] for side in sides) for sides in (found, small))
    space, less = (statistics.median(side["memory"] for side in sides) / 1e6 for sides in (found, small))
    yield Row("open of ten million rows / of the above", seconds(took), seconds(beside), f"{took / beside:.3f}")
    yield Row("... its memory over imports", f"{space:.1f} MB", f"{less:.1f} MB", f"{space / less:.3f}")


def _rates(project: Project, pictured: Project, bench: Bench, peers: Iterable[str]) -> Iterator[Row]:
    for what, where, words in (
        ("images", pictured, "samples with images a second, at random / LAVIS"),
        ("texts", project, "rows without images a second, random batches / LAVIS's lists"),
    ):
        runs: dict[str, list[float]] = {whose: [] for whose in peers}
        for _ in range(1 + bench.rounds(5)):
            for whose, found in runs.items():
                found.append(measure(where, what, whose, "coco_caption")["rate"])
        ours = statistics.median(runs["ours"][1:])
        peer = statistics.median(runs["lavis"][1:]) if "lavis" in runs else float("nan")
        bound, holds = (">= 1", ours >= peer) if what == "images" else (f">= {RATE:,}", ours >= RATE)
        yield Row(words, f"{ours:,.0f}", f"{peer:,.0f}", f"{ours / peer:.2f}", bound, holds)


def _workers(project: Project, peers: Iterable[str]) -> Iterator[Row]:
    for whose in peers:
        at = {key: value / 1e6 for key, value in measure(project, "workers", whose, "coco_caption").items()}
        label = f"{'LAVIS: ' if whose == 'lavis' else ''}memory of 8 forked workers / of one"
        for suffix, words in ((" and parent", ""), (" without and parent", ", without data")):
            one, eight = at["one" + suffix], at["eight" + suffix]
            bound = ("<= 1.3", eight <= 1.3 * one) if whose == "ours" and not words else ("-", None)
            yield Row(f"{label}{words}", f"{eight:.0f} MB", f"{one:.0f} MB", f"{eight / one:.2f}", *bound)
    at = {key: value / 1e6 for key, value in measure(project, "spawned", "ours", "coco_caption").items()}
    yield Row(
        "memory of 8 spawned workers / of workers without data", f"{at['eight']:.0f} MB",
        f"{at['eight without']:.0f} MB", f"{at['eight'] / at['eight without']:.2f}",
    )  # fmt: skip


def measure(project: Project, what: str, whose: str, name: str) -> Side:
    """One measurement, in a process of its own."""
    python = sys.executable if whose == "ours" else str(LAVIS)
    command = [python, "-m", "tests.benchmarks.dataset_child", what, whose, name]
    if whose == "lavis":
        command = [str(LAVIS.parent / "assetmgr"), "run", "--", *command]
    done = subprocess.run(
        command, cwd=project.folder, env=project.environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    found: Side = json.loads(done.stdout.splitlines()[-1])
    return found


# --- what is read ----------------------------------------------------------------------------------------------------


def _project(folder: Path, count: int, large: int) -> Project:
    """COCO's captions by their true names and in their true number, without pictures; and ten million rows."""
    hub = Hub()
    names = [f"val2014/COCO_val2014_{number * 7:012d}.jpg" for number in range(-(-count // CAPTIONS_AN_IMAGE))]
    hub.publish("/large.json", b"[" + b",".join(json.dumps(row).encode() for row in rows(large, names)) + b"]")
    more = "  large:\n    files: [{url: URL/large.json}]\n    splits: {train: large.json}\n    samples: caption\n"
    return _pulled(folder, hub, rows(count, names), more)


def _pictured(folder: Path) -> Project:
    """A few pictures of COCO, extracted from their archive, and captions of them."""
    hub = Hub()
    places = {f"val2014/COCO_val2014_{int(one.stem):012d}.jpg": one for one in sorted(PICTURES.glob("*2017/*.jpg"))}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, picture in places.items():
            archive.write(picture, name)
    hub.publish("/val2014.zip", packed.getvalue())
    more = "  coco-images:\n    files: [{url: URL/val2014.zip, extract: lavis/coco/images}]\n"
    return _pulled(folder, hub, rows(100 * len(places), list(places)), more, "    requires: coco-images\n")


def _pulled(folder: Path, hub: Hub, train: Iterable[dict[str, str]], more: str, extra: str = "") -> Project:
    """A project with coco_caption in its store, under the names that LAVIS looks for."""
    hub.publish("/coco_karpathy_train.json", json.dumps(list(train)).encode())
    short = json.dumps([{"image": "val2014/COCO_val2014_000000000000.jpg", "caption": ["one", "two"]}]).encode()
    for split in ("val", "test"):
        hub.publish(f"/coco_karpathy_{split}.json", short)
    with hub.serve() as endpoint:
        project = Project(folder, endpoint)
        files = "".join(
            f"      - {{url: {endpoint}/coco_karpathy_{split}.json, place: lavis/coco/annotations}}\n"
            for split in ("train", "val", "test")
        )
        project.write(
            f"version: 1\ndatasets:\n  coco_caption:\n    files:\n{files}{extra}"
            f"    splits: {{train: coco_karpathy_train.json}}\n    samples: caption\n{more.replace('URL', endpoint)}"
        )
        project.run("lock", timeout=600)
        project.run("pull", timeout=600)
    (project.root / "lavis" / "coco" / "images").mkdir(parents=True, exist_ok=True)  # LAVIS wants it
    return project


WORDS = (
    "a the man woman dog cat bicycle street kitchen plate riding standing next to on with of in two three red small "
    "large green people table train holding sitting near field water board wave bear bench sign"
)


def rows(count: int, names: list[str]) -> Iterator[dict[str, str]]:
    """Rows as Karpathy's lists have them, of random words, the same in every run."""
    source = random.Random(0)
    words = WORDS.split()
    captions = [" ".join(source.choices(words, k=source.randint(8, 14))).capitalize() + "." for _ in range(20_000)]
    for number in range(count):
        image = names[number // CAPTIONS_AN_IMAGE % len(names)]
        yield {"caption": captions[number % len(captions)], "image": image, "image_id": f"coco_{image[-10:-4]}"}
