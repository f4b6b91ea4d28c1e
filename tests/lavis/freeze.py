"""``python3.11 -m tests.lavis.freeze``: resolve LAVIS's requirements anew, into assetmgr/requirements/.

``lavis-overrides.txt`` says where LAVIS 1.0.2's own requirements are departed from, and why; ``lavis.txt`` is every
package of an environment that was resolved so, at its version. Run it by a Python that LAVIS's dependencies have wheels
for (3.11 is the newest). tests/lavis/test_environment.py tells when the two no longer agree.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

LAVIS = "salesforce-lavis==1.0.2"
FOLDER = Path(__file__).resolve().parents[2] / "assetmgr" / "requirements"
FROZEN = FOLDER / "lavis.txt"
OVERRIDES = FOLDER / "lavis-overrides.txt"
# What is held, and why.
HELD: Mapping[str, tuple[str, str]] = {
    "torch": ("==2.13.0", "any build of it: for the CPU or for your CUDA"),
    "torchvision": ("==0.28.0", "the one for this torch"),
    "numpy": ("<2", "opencv-python-headless 4.5.5.64, which LAVIS pins, was built for numpy 1"),
    "pandas": ("<3", "for numpy 1"),
    "transformers": ("==4.26.1", "LAVIS's <4.27; BLIP's beam search breaks from 4.33, its import from 4.56"),
}
# Tools, the demo app, the download scripts that the wheel does not have: no model, dataset, task or runner needs them.
# (scikit-image is imported by lavis.common.gradcam alone, with matplotlib, which LAVIS does not even require.)
LEFT_OUT = ("contexttimer", "ipython", "opendatasets", "plotly", "pre-commit", "python-magic", "scikit-image",
            "streamlit", "wheel")  # fmt: skip
# What assetmgr's load_dataset needs beside LAVIS: pyarrow 26 wants numpy 2.
ADDED = ("av", "pyarrow<26")
HEAD = """\
# Every package of an environment in which LAVIS 1.0.2 works, with Python 3.11:
#
#   pip install -c lavis.txt torch torchvision      the build you want: --index-url for a CPU or a CUDA one
#   pip install --no-deps -r lavis.txt
#   pip install -c lavis.txt '.[video]'             assetmgr, in its clone
#
# Made by tests/lavis/freeze.py from LAVIS's own requirements, lavis-overrides.txt, and what load_dataset needs.
"""
OVERRIDES_HEAD = """\
# Where the requirements of LAVIS 1.0.2 are departed from, for `uv pip install salesforce-lavis==1.0.2 --overrides`.
"""


def main() -> None:
    """Write both files."""
    OVERRIDES.write_text(OVERRIDES_HEAD + "".join(override_lines()))
    with tempfile.TemporaryDirectory(prefix="assetmgr-lavis-") as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = f"{folder}/bin/python"
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input", "-q"]
        held = Path(folder, "held.txt")
        held.write_text("".join(f"{name}{version}\n" for name, (version, _) in HELD.items()))
        subprocess.run([*pip, "install", "-c", held, "torch"], check=True)
        subprocess.run([*pip, "install", "-c", held, "--no-deps", "torchvision", LAVIS], check=True)
        said = "import importlib.metadata as m, json; print(json.dumps(m.requires('salesforce-lavis')))"
        wanted = json.loads(subprocess.run([python, "-c", said], check=True, capture_output=True).stdout)
        wanted = [text for text in wanted if text.split()[0] not in {*LEFT_OUT, "torchvision"}]
        subprocess.run([*pip, "install", "-c", held, "--upgrade", *wanted, *ADDED, "setuptools"], check=True)
        listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], check=True, capture_output=True).stdout
    # A build's own mark, such as +cpu, is not part of what is wanted.
    rows = [f"{row['name'].lower()}=={row['version'].partition('+')[0]}" for row in json.loads(listed)]
    FROZEN.write_text(HEAD + "".join(f"{row}\n" for row in sorted(rows) if not row.startswith("pip==")))


def override_lines() -> list[str]:
    """The lines of the overrides after the head."""
    held = [f"{name}{version}  # {why}\n" for name, (version, why) in HELD.items()]
    return held + [f"{name}; python_version < '3'  # not needed\n" for name in LEFT_OUT]


if __name__ == "__main__":
    main()
