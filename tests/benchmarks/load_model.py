"""`load_model` beside `from_pretrained` of the same local files, imports apart."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

from tests.benchmarks.runner import Bench, Row, Run, alternate, at_most
from tests.support import REPOSITORY, Project

AT_MOST = 1.05

MAKE = """
import sys
import torch, transformers
torch.manual_seed(0)
config = transformers.BertConfig(
    vocab_size=30_000, hidden_size=768, num_hidden_layers=int(sys.argv[2]), intermediate_size=3072)
transformers.BertModel(config).save_pretrained(sys.argv[1])
"""
# Both sides import what either needs, load, and touch every weight.
TIME = """
import sys, time
import torch, transformers
from transformers import BertModel
import assetmgr, assetmgr.loading, assetmgr.workspace
from assetmgr.models.backends import transformers as backend
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
whose, folder, root = sys.argv[1:]
started = time.perf_counter()
if whose == "ours":
    model = assetmgr.load_model("the-model", root=root, device="cpu").model
else:
    model = BertModel.from_pretrained(folder, local_files_only=True).eval()
for weight in model.parameters():
    weight.sum()
print(time.perf_counter() - started)
"""


def load_model(bench: Bench) -> Iterator[Row]:
    """A BERT of about 340 MB (quick: 120 MB), with the proof of its stamps."""
    made = bench.place / "made"
    subprocess.run([sys.executable, "-c", MAKE, str(made), "1" if bench.quick else "9"], check=True, cwd=REPOSITORY)
    files = ", ".join(f"{{url: '{file}', path: {file.name}}}" for file in sorted(made.iterdir()))
    project = Project(bench.place / "project")
    project.write(f"version: 1\nmodels:\n  the-model:\n    files: [{files}]\n")
    for step in ("lock", "pull"):
        project.run(step)

    size = (made / "model.safetensors").stat().st_size

    def side(whose: str) -> Run:
        command = [sys.executable, "-c", TIME, whose, str(made), str(project.root)]

        def run() -> float:
            done = subprocess.run(command, check=True, capture_output=True, cwd=bench.place, env=dict(os.environ))
            return float(done.stdout)

        return run

    took = alternate(bench.rounds(5), ours=side("ours"), peer=side("peer"))
    yield at_most(f"load_model of {size >> 20} MiB / from_pretrained", took["ours"], took["peer"], AT_MOST)
