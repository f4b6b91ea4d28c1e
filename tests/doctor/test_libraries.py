"""Libraries that cannot be imported, or not beside one another."""

from __future__ import annotations

import time

import pytest

from tests.doctor.broken import Broken, in_words

BITSANDBYTES = "CUDA Setup failed despite GPU being available"


def test_on_a_bare_machine_nothing_is_wrong(broken: Broken) -> None:
    findings = broken.findings()
    assert not [finding for finding in findings if finding.is_wrong], in_words(findings)
    assert "torch, transformers, accelerate, pillow are not installed, needed for load_model" in in_words(findings)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("raise RuntimeError('it is broken\\nin many words')", "RuntimeError: it is broken"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("import os; os.abort()", "is ended by SIGABRT"),
        ("import os; os._exit(0)", "ends without an answer"),
        ("import os; os.kill(os.getpid(), 9)", "is ended by SIGKILL"),
        ('import sys; sys.stdout.write(\'{"name": "torch"}\\n\' * 9); import nothing_of_it', "nothing_of_it"),
    ],
)
def test_an_import_that_fails_is_told_with_its_end(broken: Broken, module: str, said: str) -> None:
    broken.torch(module=module)
    finding = broken.only("torch")
    assert said in finding.message
    assert "pip install" in finding.mend


@pytest.mark.parametrize("module", ["import time; time.sleep(3600)", "while True: print('garbage' * 1000)"])
def test_an_import_that_hangs_or_prints_without_end_is_given_up(broken: Broken, module: str) -> None:
    broken.seconds = 1.0
    broken.torch(module=module)
    begun = time.monotonic()
    finding = broken.only("torch")
    assert (
        "torch 2.6.0 is installed, and cannot be imported: the import" in finding.message or "Error" in finding.message
    )
    assert time.monotonic() - begun < 10


def test_one_that_dies_does_not_hide_the_others(broken: Broken) -> None:
    broken.torch()
    broken.package("torchvision", "0.21.0", "import os; os.abort()")
    broken.package("transformers", "5.1.0")
    broken.package("accelerate", "1.2.0", "raise ImportError('no')")
    found = broken.wrong()
    assert [finding.check for finding in found] == ["torchvision", "accelerate"]
    assert "torch 2.6.0, transformers 5.1.0: can be imported" in in_words(broken.findings())


def test_torchvision_for_cuda_beside_torch_for_the_cpu_is_named(broken: Broken) -> None:
    broken.torch("2.6.0+cpu")
    folder = broken.package("torchvision", "0.21.0", "raise RuntimeError('operator torchvision::nms does not exist')")
    (folder / "_C.so").write_bytes(b"\x7fELF...libcudart.so.12...")
    finding = broken.only("torchvision")
    assert "linked to CUDA, and torch 2.6.0+cpu is built for the CPU" in finding.message
    assert "--index-url https://download.pytorch.org/whl/cpu" in finding.mend


@pytest.mark.parametrize(
    ("packages", "said"),
    [
        (
            {"torchvision": ("0.20.0", ("torch==2.5.0",)), "torch": ("2.6.0", ())},
            "torchvision 0.20.0 requires torch==2.5.0, and 2.6.0 is installed",
        ),
        (
            {"transformers": ("4.40.0", ("huggingface-hub<1.0,>=0.19.3",)), "huggingface_hub": ("1.3.0", ())},
            "transformers 4.40.0 requires huggingface-hub<1.0,>=0.19.3, and 1.3.0 is installed",
        ),
        (
            {
                "transformers": ("5.1.0", ('torch>=2.4; extra == "torch"', 'torch==1; extra == "tests"')),
                "torch": ("2.1", ()),
            },
            "transformers 5.1.0 can use torch>=2.4, and 2.1 is installed",
        ),
        (
            {"transformers": ("5.1.0", ("tokenizers<0.23,>=0.22",))},
            "transformers 5.1.0 requires tokenizers<0.23,>=0.22, which is not installed",
        ),
        ({"salesforce-lavis": ("1.0.2", ()), "transformers": ("4.40.0", ())}, "fails in beam search"),
        ({"salesforce-lavis": ("1.0.2", ()), "transformers": ("5.1.0", ())}, "LAVIS cannot be imported"),
        ({"opencv-python-headless": ("4.5.5.64", ()), "numpy": ("2.4.0", ())}, "built for numpy 1"),
    ],
)
def test_versions_that_cannot_work_together_are_found_by_metadata(
    broken: Broken, packages: dict[str, tuple[str, tuple[str, ...]]], said: str
) -> None:
    for name, (version, requires) in packages.items():
        broken.package(name, version, None, requires=requires)
    finding = broken.only("versions")
    assert said in finding.message


def test_metadata_that_is_no_metadata_is_passed_over(broken: Broken) -> None:
    broken.package("transformers", "5.1.0", None, requires=("((((", "torch @@ x", "tokenizers; nothing == 'a'"))
    broken.package("torch", "not a version", None)
    (broken.site / "bitsandbytes-1.dist-info").mkdir()
    (broken.site / "torchvision-1.dist-info").write_bytes(b"\xff\xfe\x00" * 1000)
    (broken.site / "-.dist-info").mkdir()
    assert "cannot be told" not in in_words(broken.findings())


def test_a_library_in_two_folders_is_told_with_the_one_that_wins(broken: Broken) -> None:
    broken.package("transformers", "4.26.1", None, site="local")
    broken.package("transformers", "5.1.0", None)
    found = [one for one in broken.findings(sites=("local", "site")) if one.is_wrong]
    assert f"transformers 4.26.1 in {broken.folder / 'local'} hides 5.1.0" in in_words(found)
