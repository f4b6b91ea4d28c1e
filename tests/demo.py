"""``python -m tests.demo``: from a manifest to a right answer about a picture, on a hub on this machine.

Every command and every line of output is real. Ends with 1 when anything is not as expected.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.hub import Hub
from tests.support import REPOSITORY, clean_environment, flip_byte

DATA = REPOSITORY / "tests" / "data"
ORIGIN = "assetmgr-demo"
WEIGHTS = "model-00001-of-00002.safetensors"
# Of the questions that were measured; the last is one that the model gets wrong.
QUESTIONS = slice(3, None)


class Unexpected(Exception):
    """Something that the demo shows is not so."""


def say(text: str = "") -> None:
    print(text, flush=True)


def heading(text: str) -> None:
    say(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}")


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Unexpected(otherwise)


class Shell:
    """The user's shell: one folder, one environment, `assetmgr` on PATH."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder = folder
        self.root = folder / "store"
        said = {"HF_ENDPOINT": endpoint, "ASSETMGR_ROOT": str(self.root)}
        self.environment = clean_environment(
            # What other libraries keep besides goes away with the folder.
            HF_HOME=str(folder / "other" / "huggingface"),
            TORCHINDUCTOR_CACHE_DIR=str(folder / "other" / "torch"),
            # Its words and its data come through one pipe: in the order in which they are written.
            PYTHONUNBUFFERED="1",
            PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            **said,
        )
        say(f"$ cd {shlex.quote(str(folder))}")
        for name, value in said.items():
            say(f"$ export {name}={shlex.quote(value)}")

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run ``assetmgr``, echo the command and its output, and return the output."""
        say(f"$ assetmgr {shlex.join(arguments)}")
        output = ""
        with subprocess.Popen(
            ["assetmgr", *arguments],
            executable=shutil.which("assetmgr", path=self.environment["PATH"]),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    output += line
                    say(line.rstrip("\n"))
            except BaseException:
                process.terminate()  # nobody may write to the folder while it is being removed
                process.wait()
                raise
        if code:
            say(f"(exit code {process.returncode})")
        expect(process.returncode == code, f"assetmgr {shlex.join(arguments)} ended with {process.returncode}")
        return output


def published() -> Hub:
    hub = Hub()
    hub.create(f"{ORIGIN}/tiny-blip2-vqa").commit_folder(DATA / "tiny_blip2_vqa")
    for name in ("coco-sample", "easy-vqa"):
        hub.create(f"{ORIGIN}/{name}", "dataset").commit_folder(DATA / name)
    return hub


def from_manifest_to_store(shell: Shell) -> None:
    heading("assets.yaml, a copy of manifests/demo.yaml, says what is wanted: lock pins it, pull brings it")
    shell.run("lock")
    shell.run("plan")
    shell.run("pull")
    expect(shell.run("status").count(" installed ") == 3, "not all three assets are installed")
    shell.run("verify", "--full")


def damage_and_repair(shell: Shell, hub: Hub) -> None:
    weights = Path(shell.root, "hub", f"models--{ORIGIN}--tiny-blip2-vqa", "snapshots")
    (weights,) = weights.glob(f"*/{WEIGHTS}")
    right = weights.read_bytes()
    heading("one bit of the weights is flipped on purpose; the file's size and time stay as they were")
    flip_byte(weights, 700_000, keep_time=True)
    say(f"(flipped a bit of byte 700,000 of {WEIGHTS})")
    found = shell.run("verify", "--full", code=3)
    expect(f"tiny-blip2: {WEIGHTS}: altered" in found, "the flipped bit was not found")
    hub.reset_log()
    mended = shell.run("verify", "--full", "--repair")
    expect(f"repaired: tiny-blip2: {WEIGHTS}" in mended, "the repair was not reported")
    fetched = [record.path for record in hub.requests if record.method == "GET" and "/resolve/" in record.path]
    expect(len(fetched) == 1 and fetched[0].endswith(WEIGHTS), f"the repair fetched {fetched or 'nothing'}")
    expect(weights.read_bytes() == right, "the repaired file is not what it was")
    say(f"(the hub sent one file, {WEIGHTS}; it is byte for byte what it was)")
    heading("pulling what is there already asks nobody")
    hub.reset_log()
    shell.run("pull")
    expect(not hub.requests, f"pull made {len(hub.requests)} requests, first {hub.requests[:1]}")
    say("(requests to the hub: 0)")


def sample_of(samples: Any, image_id: int, text: str) -> Any:
    """The sample of an image that has this text."""
    return next(found for found in samples if (found["image_id"], found["text_input"]) == (image_id, text))


def use_without_network(shell: Shell) -> list[str]:
    """Load the dataset and the model as research code does; return what is not as it was measured."""
    heading("the network is gone now: the hub is closed, and nobody else is asked either")
    connections: list[object] = []
    sys.addaudithook(lambda event, details: connections.append(details[1]) if event == "socket.connect" else None)
    os.environ.clear()
    os.environ.update(shell.environment)
    os.chdir(shell.folder)
    expected = json.loads((DATA / "expected.json").read_text())
    import assetmgr

    say(">>> import assetmgr")
    say('>>> captions = assetmgr.load_dataset("coco-sample")')
    captions: Any = assetmgr.load_dataset("coco-sample")
    say(">>> {split: len(samples) for split, samples in captions.items()}")
    say(f"{ {split: len(samples) for split, samples in captions.items()} }")
    say('>>> captions["val"][0]')
    say(f"{captions['val'][0]}")
    say('>>> model = assetmgr.load_model("tiny-blip2", device="cpu")')
    say(">>> model")
    model = assetmgr.load_model("tiny-blip2", device="cpu")
    say(f"{model!r}")

    heading("the model describes pictures: model.caption(sample['image'])")
    say("(it was trained on these few pictures: a right caption proves the bytes and the loader, not its talent)")
    wrong = []
    for row in expected["captions"]:
        sample = sample_of(captions[row["split"]], row["image_id"], row["reference"])
        said = model.caption(sample["image"])
        say(f"  picture   {row['image']}")
        say(f"  model     {said}")
        say(f"  expected  {row['model']}   {'same' if said == row['model'] else 'DIFFERENT'}")
        say(f"  a person  {sample['text_input']}")
        if said != row["model"]:
            wrong.append(f"{row['image']}: the caption is {said!r}, not {row['model']!r}")

    heading("the model answers questions: model.answer(sample['image'], sample['text_input'])")
    questions: Any = assetmgr.load_dataset("easy-vqa-sample", split="test")
    rows = expected["vqa"][QUESTIONS]
    say(f"  {'question':40} {'model':10} {'expected'}")
    right = 0
    for row in rows:
        sample = sample_of(questions, row["image_id"], row["question"])
        said = model.answer(sample["image"], sample["text_input"])
        right += said == sample["answer"]
        verdict = "right" if said == sample["answer"] else "wrong"
        say(f"  {sample['text_input']:40} {said:10} {sample['answer']:10} {verdict}")
        if said != row["model"]:
            wrong.append(f"{row['image']}, {row['question']!r}: the answer is {said!r}, measured was {row['model']!r}")
    say(
        f"  {right} of these {len(rows)} right; measured over all {expected['vqa_questions']} questions of the sample: "
        f"{expected['vqa_right']} right (it is a model of 2.8 MB)"
    )
    if connections:
        wrong.append(f"connections were tried without a network: {connections}")
    return wrong


@contextlib.contextmanager
def project_folder(keep: bool) -> Iterator[Path]:
    """A fresh folder with the demo's manifest as ``assets.yaml``; gone at the end, also when interrupted."""
    folder = Path(tempfile.mkdtemp(prefix="assetmgr-demo-"))
    try:
        shutil.copyfile(REPOSITORY / "manifests" / "demo.yaml", folder / "assets.yaml")
        yield folder
    finally:
        os.chdir(REPOSITORY)
        if keep:
            say(f"\nkept: {folder}")
        else:
            shutil.rmtree(folder)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the project and its store, and say where they are")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()
    try:
        with project_folder(options.keep) as folder:
            hub = published()
            with hub.serve() as endpoint:
                heading("a hub on this machine publishes a model and two datasets")
                shell = Shell(folder, endpoint)
                from_manifest_to_store(shell)
                damage_and_repair(shell, hub)
            wrong = use_without_network(shell)
            expect(not wrong, "\n".join(wrong))
    except Unexpected as difference:
        print(f"\nNOT AS EXPECTED: {difference}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # who read this has gone; nothing can be said at exit either
        return 141
    say(f"\nall as expected, in {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
