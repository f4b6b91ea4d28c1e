"""Runs in a child: imports libraries one after the other, and tells after each what it says of itself.

The child may die at any import; what was told before is kept by the parent. Its standard output carries the answers, a
JSON line each; whatever the libraries print goes to standard error.
"""

import importlib
import json
import os
import sys
import threading
from typing import Any


def main() -> None:
    job = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    answers = os.dup(1)
    os.dup2(2, 1)
    sys.path[:] = job["paths"]
    # With it bitsandbytes and transformers would fetch compiled code from the hub and run it.
    sys.modules["kernels"] = None  # type: ignore[assignment]
    for name in job["names"]:
        _tell(answers, {"name": name})
        try:
            found = _FACTS.get(name, _version)(importlib.import_module(name))
        except BaseException as error:  # noqa: BLE001 - whatever an import ends with is its answer
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            found = {"error": ": ".join([type(error).__name__, *lines[:1]])[:500]}
        _tell(answers, {"name": name, "facts": found})
    os._exit(0)  # without what libraries do at exit


def _end_with_parent() -> None:
    while os.read(0, 1 << 16):
        pass
    os._exit(1)


def _tell(to: int, answer: dict[str, Any]) -> None:
    data = json.dumps(answer).encode() + b"\n"
    while data:
        data = data[os.write(to, data) :]


def _version(module: Any) -> dict[str, Any]:
    return {"version": str(getattr(module, "__version__", ""))}


def _torch(torch: Any) -> dict[str, Any]:
    facts = _version(torch)
    facts["cuda"] = getattr(getattr(torch, "version", None), "cuda", None)
    try:
        facts["available"] = bool(torch.cuda.is_available())
        if facts["available"]:
            count = torch.cuda.device_count()
            facts["capabilities"] = [list(torch.cuda.get_device_capability(number)) for number in range(count)]
            facts["architectures"] = [str(name) for name in torch.cuda.get_arch_list()]
        elif facts["cuda"]:
            torch.cuda.init()
    except Exception as error:  # noqa: BLE001 - the driver's complaint, in torch's words
        facts["trouble"] = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    return facts


def _bitsandbytes(module: Any) -> dict[str, Any]:
    facts = _version(module)
    # A native library that cannot be loaded is an object there that fails when it is used. The CPU needs none.
    native = getattr(importlib.import_module("bitsandbytes.cextension"), "lib", None)
    if "Mock" in type(native).__name__ and importlib.import_module("torch").cuda.is_available():
        said = str(getattr(native, "formatted_error", "") or "").splitlines()
        facts["error"] = next((line.strip() for line in said if line.strip()), "its native library cannot be loaded")
    return facts


_FACTS = {"torch": _torch, "bitsandbytes": _bitsandbytes}

if __name__ == "__main__":
    main()
