"""`try`: does this model load here, and what does it say?"""

from __future__ import annotations

import contextlib
import sys
import time
import warnings
from typing import TYPE_CHECKING

from assetmgr.cli.options import open_workspace
from assetmgr.cli.output import Output, size
from assetmgr.cli.tables import table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from assetmgr.cli.parser import Commands
    from assetmgr.models.trial import Outcome

_TASKS = ("caption", "answer", "generate", "features", "match", "embed")


def register(commands: Commands) -> None:
    """Add what this file does to the command line."""
    trying = commands.add(
        "try",
        "load a model, and try it on an image or a text",
        _try,
        "assetmgr try blip2-opt-2.7b --image cat.jpg                      # a caption",
        'assetmgr try blip2-opt-2.7b --image cat.jpg --question "How many cats?"',
        'assetmgr try clip --image cat.jpg --text "a cat"                 # how well the two match',
        'assetmgr try minilm --text "a cat" --text "a dog"                # how near the texts are',
    )
    trying.add_argument("name", metavar="NAME")
    trying.add_argument("--image", metavar="PICTURE", help="the image, a file")
    trying.add_argument("--question", metavar="TEXT", help="a question about the image")
    trying.add_argument(
        "--context",
        metavar=("QUESTION", "ANSWER"),
        nargs=2,
        action="append",
        default=[],
        help="an earlier question with its answer, put before --question; may be repeated",
    )
    trying.add_argument(
        "--text", metavar="TEXT", action="append", default=[], help="a text; may be repeated where texts are embedded"
    )
    trying.add_argument(
        "--prompt",
        metavar="TEXT",
        help="the beginning of a text about the image; with --question its form: 'Question: {question} Answer:'",
    )
    trying.add_argument("--task", choices=_TASKS, help="what to do (else what is meant by the options that are given)")
    trying.add_argument("--device", metavar="DEVICE", default="auto", help="auto, cpu, cuda, cuda:1, mps (auto)")
    trying.add_argument(
        "--dtype", choices=["auto", "float32", "float16", "bfloat16"], default="auto", help="of the weights in memory"
    )
    trying.add_argument(
        "--quantize", choices=["int8", "nf4", "none"], help="through bitsandbytes (else as the manifest says)"
    )


def _try(options: argparse.Namespace, output: Output) -> int:
    from assetmgr.models.trial import Given, attempt, check_given

    given = Given(
        options.image,
        options.question,
        tuple(options.text),
        options.prompt,
        tuple((asked, answered) for asked, answered in options.context),
    )
    check_given(given, options.task)
    workspace = open_workspace(options, output)
    started = time.monotonic()
    with _aside(output):
        loaded = workspace.load_model(
            options.name, device=options.device, dtype=options.dtype, quantize=options.quantize
        )
        ready = time.monotonic()
        kind, dtype = type(loaded.model).__name__, str(loaded.dtype).removeprefix("torch.")
        output.say(
            f"{loaded.name}: {kind}, {dtype} on {loaded.device}, {size(loaded.footprint)}; "
            f"loaded by {loaded.backend} in {ready - started:.1f} s"
        )
        outcome = attempt(loaded, given, options.task)
    done = time.monotonic()
    if output.json:
        from assetmgr.cli.trying_documents import TryDocument

        output.document(
            TryDocument(
                loaded.name, loaded.backend, kind, str(loaded.device), dtype, loaded.footprint,
                round(ready - started, 3), round(done - ready, 3), outcome,
            )
        )  # fmt: skip
        return 0
    for line in _told(outcome):
        output.data(line)
    output.say(f"{outcome.task} in {done - ready:.1f} s")
    return 0


def _told(outcome: Outcome) -> Iterator[str]:
    if outcome.text is not None:
        yield outcome.text
    rows = [(name, " x ".join(map(str, shape))) for name, shape in outcome.shapes.items()]
    scores = (("itm", outcome.itm), ("itc", outcome.itc))
    rows += [(name, f"{value:.4f}") for name, value in scores if value is not None]
    if rows:
        yield table(rows)
    if len(outcome.similarities) > 1:
        yield table([tuple(f"{value:.4f}" for value in row) for row in outcome.similarities])


@contextlib.contextmanager
def _aside(output: Output) -> Iterator[None]:
    """What libraries print is no answer; their warnings are for who asks for details."""
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        if not output.verbose:
            warnings.simplefilter("ignore")
        yield
