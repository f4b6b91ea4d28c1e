"""Driver, GPU, CUDA's libraries and bitsandbytes' against what torch was built for."""

from __future__ import annotations

import pytest

from assetmgr.doctor.driver import driver_version, runs_on
from tests.doctor.broken import Broken, in_words

_SMI = "echo '{driver}, {capability}, NVIDIA T4'"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n", "535.104.05"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.14  Release Build\n", "550.54.14"),
        ("GCC version: 12.3.0\n", ""),
        ("", ""),
        ("\x00\xff" * 1000, ""),
    ],
)
def test_the_loaded_driver_says_its_version(text: str, version: str) -> None:
    assert driver_version(text) == version


@pytest.mark.parametrize(
    ("capability", "architectures", "fits"),
    [
        ((8, 6), ["sm_80"], True),
        ((8, 0), ["sm_86"], False),
        ((9, 0), ["sm_80", "sm_86"], False),
        ((9, 0), ["compute_80"], True),
        ((9, 0), ["sm_90a"], True),
        ((9, 1), ["sm_90a"], False),
        ((10, 0), ["sm_90", "sm_100"], True),
        ((12, 0), ["sm_100f"], False),
        ((6, 1), ["sm_70", "gfx90a", "nonsense"], False),
        ((8, 6), [], False),
    ],
)
def test_a_gpu_runs_what_was_compiled_for_it(capability: tuple[int, int], architectures: list[str], fits: bool) -> None:
    assert runs_on(capability, architectures) is fits


def _with_cuda(broken: Broken, cuda: str = "12.6", driver: str = "560.35.03", **torch: object) -> None:
    broken.torch(f"2.6.0+cu{cuda.replace('.', '')}", cuda, **{"available": True, **torch})  # type: ignore[arg-type]
    broken.driver(driver)
    broken.program("nvidia-smi", _SMI.format(driver=driver, capability="8.6"))
    broken.file(f"/usr/local/cuda/lib64/libcudart.so.{cuda.partition('.')[0]}")


def test_a_gpu_that_works_is_told_and_nothing_is_wrong(broken: Broken) -> None:
    _with_cuda(broken)
    broken.bitsandbytes(libraries=("cpu", "cuda126"))
    findings = broken.findings()
    assert not [finding for finding in findings if finding.is_wrong], in_words(findings)
    words = in_words(findings)
    assert "NVIDIA driver 560.35.03, which torch's CUDA 12.6 can use" in words
    assert "GPU 0 (NVIDIA T4), compute capability 8.6" in words
    assert "libcudart.so.12" in words
    assert "libbitsandbytes_cuda126.so" in words


def test_a_driver_that_is_too_old_for_torch_is_found(broken: Broken) -> None:
    _with_cuda(broken, "13.0", "560.35.03", available=False)
    words = in_words(broken.wrong())
    assert "NVIDIA driver 560.35.03 is too old for torch's CUDA 13.0, which needs 580" in words
    assert "https://download.pytorch.org/whl/cu126" in words
    assert "torch cannot use the GPU: The NVIDIA driver on your system is too old" in words


def test_a_gpu_without_kernels_is_found(broken: Broken) -> None:
    _with_cuda(broken, capability=(6, 1))
    broken.bitsandbytes(libraries=("cuda126",))
    finding = broken.only("gpu")
    assert "compute capability 6.1: torch is built for sm_80, sm_90" in finding.message


def test_a_gpu_that_is_too_old_for_int8_is_found(broken: Broken) -> None:
    _with_cuda(broken, capability=(7, 0), architectures=("sm_70",))
    broken.bitsandbytes(libraries=("cuda126",))
    finding = broken.only("gpu")
    assert "int8 needs 7.5" in finding.message
    assert "nf4" in finding.mend


@pytest.mark.parametrize(
    ("smi", "said", "mend"),
    [
        ("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18", "version mismatch", "reboot"),
        ('echo "couldn\'t communicate with the NVIDIA driver" >&2; exit 9', "ends with code 9", "driver"),
        ("exec sleep 3600", "gives no answer within", "driver"),
        ("kill -SEGV $$", "SIGSEGV", "driver"),
    ],
)
def test_an_nvidia_smi_that_fails_is_told(broken: Broken, smi: str, said: str, mend: str) -> None:
    broken.seconds = 1.0
    broken.driver("535.104.05")
    broken.program("nvidia-smi", smi if smi.startswith("echo") else f"PATH=/usr/bin:/bin; {smi}")
    finding = broken.only("driver")
    assert said in finding.message
    assert mend in finding.mend


def test_other_faults_of_a_driver_are_found(broken: Broken) -> None:
    broken.file("/proc/driver/nvidia/version", "\x00garbage")
    assert "says no version" in broken.only("driver").message
    broken.file("/proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  x\n")
    words = in_words(broken.wrong())
    assert "no GPU is to be seen in /dev" in words
    assert "docker run --gpus all" in words
    assert "libcuda.so.1 is in none of the system's folders" in words


def test_a_torch_for_the_cpu_beside_a_gpu_is_found(broken: Broken) -> None:
    _with_cuda(broken)
    for path in broken.site.rglob("*"):
        if path.name == "version.py":
            path.write_text("__version__ = '2.6.0+cpu'\ncuda = None\n")
    finding = broken.only("driver")
    assert "built for the CPU" in finding.message
    assert "whl/cu126" in finding.mend


def test_hidden_gpus_are_told(broken: Broken) -> None:
    _with_cuda(broken)
    assert "hides every GPU" in broken.only("gpu", CUDA_VISIBLE_DEVICES="-1").message


def test_a_stub_of_the_driver_and_another_runtime_are_found(broken: Broken) -> None:
    _with_cuda(broken)
    stubs = broken.file("/usr/local/cuda/lib64/stubs/libcuda.so.1").parent
    old = broken.file("/opt/cuda-11/libcudart.so.11.0").parent
    words = in_words(broken.wrong(LD_LIBRARY_PATH=f"{stubs}:{old}"))
    assert f"take {stubs} out of LD_LIBRARY_PATH" in words
    assert "libcudart.so.11.0 (LD_LIBRARY_PATH) is of CUDA 11.0, and torch is built for 12.6" in words
    assert f"take {old} out of LD_LIBRARY_PATH" in words


def test_conda_s_old_runtime_and_absent_folders_are_found(broken: Broken) -> None:
    _with_cuda(broken)
    conda = broken.file("/conda/lib/libcudart.so.10.2.89").parent.parent
    found = broken.findings(CONDA_PREFIX=str(conda), CUDA_HOME="/nowhere/cuda", LD_LIBRARY_PATH="/no/such:/nor/this")
    words = in_words(found)
    assert "is of CUDA 10.2.89" in words
    assert "warning search paths: CUDA_HOME names /nowhere/cuda, which is not there; mend: correct CUDA_HOME" in words
    assert "note search paths: LD_LIBRARY_PATH names /no/such, /nor/this, which are not there" in words


def test_without_a_runtime_torch_for_cuda_is_an_error(broken: Broken) -> None:
    broken.torch("2.6.0", "12.6")
    assert "no libcudart.so.12 is found" in broken.only("libcudart").message
    broken.file("/etc/ld.so.conf.d/cuda.conf", "/opt/cuda/lib # ours\n")
    runtime = broken.file("/opt/cuda/lib/libcudart.so.12.6.77")
    assert f"{runtime} (ldconfig)" in in_words(broken.findings())


# --- bitsandbytes ----------------------------------------------------------------------------------------------------


def test_a_native_library_that_is_missing_is_named(broken: Broken) -> None:
    _with_cuda(broken, "12.2")
    broken.bitsandbytes("0.45.0", ("cpu", "cuda118", "cuda121"))
    finding = broken.only("bitsandbytes")
    assert finding.level == "error"
    assert "has no libbitsandbytes_cuda122 for torch's CUDA 12.2" in finding.message
    assert "`CUDA Setup failed despite GPU being available`" in finding.message
    assert "pip install --upgrade bitsandbytes; or: export BNB_CUDA_VERSION=121" in finding.mend
    assert "unset BNB_CUDA_VERSION" in broken.only("bitsandbytes", BNB_CUDA_VERSION="117").mend


def test_the_stale_bitsandbytes_of_eggs_and_conda_is_found(broken: Broken) -> None:
    _with_cuda(broken)
    broken.bitsandbytes("0.50.2", ("cuda126",))
    egg = broken.site / "bitsandbytes-0.40.2-py3.9.egg"
    (egg / "EGG-INFO").mkdir(parents=True)
    (egg / "EGG-INFO" / "PKG-INFO").write_text("Name: bitsandbytes\nVersion: 0.40.2\n")
    (broken.site / "easy-install.pth").write_text("./bitsandbytes-0.40.2-py3.9.egg\n")
    words = in_words(broken.wrong())
    assert f"rm -r {egg}" in words
    assert "easy-install.pth puts an old bitsandbytes before the installed one" in words
    assert "it is installed 2 times: " in words


def test_an_old_bitsandbytes_is_told_in_its_own_words(broken: Broken) -> None:
    broken.torch()
    broken.package(
        "bitsandbytes", "0.40.2", "raise RuntimeError('\\n  CUDA Setup failed despite GPU being available. Please')"
    )
    words = in_words(broken.wrong())
    assert "older than 0.43.1" in words
    assert "RuntimeError: CUDA Setup failed despite GPU being available" in words
    assert "pip install --upgrade bitsandbytes" in words


def test_metadata_without_modules_and_modules_without_metadata_are_found(broken: Broken) -> None:
    broken.torch()
    broken.package("bitsandbytes", "0.50.2", None)
    assert "its modules are not" in broken.only("bitsandbytes").message
    (broken.site / "bitsandbytes-0.50.2.dist-info" / "METADATA").unlink()
    (broken.site / "bitsandbytes-0.50.2.dist-info").rmdir()
    (broken.site / "bitsandbytes").mkdir()
    (broken.site / "bitsandbytes" / "__init__.py").touch()
    (broken.site / "bitsandbytes" / "cextension.py").touch()
    assert "belongs to no installed package" in broken.only("bitsandbytes").message
