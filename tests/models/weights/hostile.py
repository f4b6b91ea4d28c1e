"""Pickles that would do harm: each, if anything executed it, leaves the canary file behind."""

from __future__ import annotations

import functools
import importlib
import io
import os
import pickle
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAGIC = 0x1950A86A20F9469CFC6C


class Calls:
    """Unpickled, it calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.called = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.called


class Later(Calls):
    """The same, by what is done to the object that was made: its state, its items."""

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (), None, None, iter([(Calls(*self.called[:1], *self.called[1]), 1)])


def zipped(pickled: bytes, root: str = "archive", extra: dict[str, bytes] | None = None) -> bytes:
    """A pickle as `torch.save` lays it out."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{root}/data.pkl", pickled)
        archive.writestr(f"{root}/version", b"3\n")
        for name, content in (extra or {}).items():
            archive.writestr(f"{root}/{name}", content)
    return stream.getvalue()


def in_a_row(pickled: bytes) -> bytes:
    """A pickle as torch before 1.6 lays it out."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    return b"".join(
        [
            *(pickle.dumps(value, 2) for value in (MAGIC, 1001, system)),
            pickled,
            pickle.dumps([], 2),
        ]
    )


def tarred(pickled: bytes, format: int = tarfile.PAX_FORMAT) -> bytes:
    """A pickle as torch before 0.2 lays it out."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:", format=format) as archive:
        for name, content in (("sys_info", pickle.dumps({}, 2)), ("storages", b""), ("tensors", b"")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        info = tarfile.TarInfo("pickle")
        info.size = len(pickled)
        archive.addfile(info, io.BytesIO(pickled))
    return stream.getvalue()


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def pickles(canary: Path) -> dict[str, tuple[bytes, str]]:
    """Pickles by what they try, each with what must be told of it."""
    touch = f"touch {canary}"
    source = f"open({str(canary)!r}, 'w')"
    system = os.system.__module__
    made = {
        "os.system": (pickle.dumps({"x": Calls(os.system, touch)}, 2), f"{system}.system"),
        "os.system by name": (b"cos\nsystem\n(" + text(touch) + b"tR.", "os.system"),
        "eval": (pickle.dumps(Calls(eval, source), 2), "eval"),
        "exec": (pickle.dumps([Calls(exec, source)], 3), "builtins.exec"),
        "getattr chain": (
            pickle.dumps(Calls(getattr, Calls(importlib.import_module, "os"), "system"), 2),
            "getattr, importlib.import_module",
        ),
        "functools.partial": (pickle.dumps(functools.partial(os.system, touch), 2), "functools.partial"),
        "map": (pickle.dumps(Calls(map, eval, [source]), 2), "map"),
        "pathlib": (pickle.dumps(Calls(Path.touch, canary), 2), "pathlib"),
        "shutil": (pickle.dumps(Calls(shutil.copy, "/etc/hostname", str(canary)), 4), "shutil.copy"),
        "items of a dict": (pickle.dumps(Later(os.system, touch), 2), f"{system}.system"),
        "INST": (b"(" + text(touch) + b"ios\nsystem\n.", "os.system"),
        "OBJ": (b"(cos\nsystem\n" + text(touch) + b"o.", "os.system"),
        "NEWOBJ_EX": (b"\x80\x04cos\nsystem\n" + text(touch) + b"\x85}\x92.", "os.system"),
        "STACK_GLOBAL": (b"\x80\x04\x8c\x02os\x8c\x06system\x93" + text(touch) + b"\x85R.", "os.system"),
        "STACK_GLOBAL through the memo": (
            b"\x80\x04\x8c\x06system\x940\x8c\x02os\x94h\x00\x93" + text(touch) + b"\x85R.",
            "os.system",
        ),
        "STACK_GLOBAL of a computed name": (
            b"\x80\x04\x8c\x02os" + b"cbuiltins\nstr\n" + b"\x8c\x06system\x85R\x93" + text(touch) + b"\x85R.",
            "builtins.str, os.(computed)",
        ),
        "extension code": (b"\x80\x02\x82\x01" + text(touch) + b"\x85R.", "extension 1 of copyreg"),
        "a dotted name": (b"\x80\x02ctorch\nos.system\n" + text(touch) + b"\x85R.", "torch.os.system"),
        "a name with a blank": (b"\x80\x02ccollections \nOrderedDict\n)R.", "collections..OrderedDict"),
        "torch's own loader": (
            b"\x80\x02ctorch.storage\n_load_from_bytes\n" + text("x") + b"\x85R.",
            "torch.storage._load_from_bytes",
        ),
        "torch.load": (b"\x80\x02ctorch\nload\n" + text("x") + b"\x85R.", "torch.load"),
        "torch rebuilds a type": (
            b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\ncos\nsystem\n" + text(touch) + b"\x85NtR.",
            "torch._tensor._rebuild_from_type_v2, os.system",
        ),
        "torch rebuilds a wrapper": (
            b"\x80\x02ctorch._utils\n_rebuild_wrapper_subclass\n)R.",
            "torch._utils._rebuild_wrapper_subclass",
        ),
        "numpy's runstring": (
            b"\x80\x02cnumpy.testing._private.utils\nrunstring\n" + text(source) + b"}\x86R.",
            "numpy.testing._private.utils.runstring",
        ),
        "numpy's load": (b"\x80\x02cnumpy\nload\n" + text("x") + b"\x85R.", "numpy.load"),
        "numpy objects": (b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R.", "numpy.core.multiarray._reconstruct"),
        "what a call gave is called": (
            b"\x80\x02ccollections\nOrderedDict\n)R" + text(touch) + b"\x85R.",
            "a call of what the pickle itself made",
        ),
        "a storage type is called": (
            b"\x80\x02ctorch.storage\nUntypedStorage\n\x8a\x08" + struct.pack("<q", 1 << 40) + b"\x85R.",
            "a call of torch.storage.UntypedStorage",
        ),
        "a reference to something else": (
            b"\x80\x02" + text("module") + b"cos\nsystem\n\x86Q.",
            "os.system, a reference to something that is no tensor's storage",
        ),
        "a tensor larger than the file": (
            b"\x80\x02("
            + text("storage")
            + b"ctorch\nFloatStorage\n"
            + text("0")
            + text("cpu")
            + b"\x8a\x08"
            + struct.pack("<q", 1 << 50)
            + b"tQ.",
            "a tensor of 1,125,899,906,842,624 elements",
        ),
    }
    for protocol in range(6):
        made[f"os.system by protocol {protocol}"] = pickle.dumps(Calls(os.system, touch), protocol), f"{system}.system"
    return made


def damaged(canary: Path) -> dict[str, bytes]:
    """Pickles that are cut off, or ask for more than they are worth; a harmful call stands behind each."""
    harm = b"cos\nsystem\n" + text(f"touch {canary}") + b"\x85R."
    laughs = b"\x80\x02)q\x00" + b"".join(b"h%ch%c\x86q%c" % (n, n, n + 1) for n in range(60)) + b"0"
    deep = b"\x80\x02)" + b"\x85" * 100_000 + b"0"
    return {
        "nothing": b"",
        "cut off in a name": b"\x80\x02cos\nsys",
        "cut off in a text": b"\x80\x02X\xff\xff\xff\x7fabc" + harm,
        "a text of 8 exabytes": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b"abc" + harm,
        "no end": b"\x80\x02}",
        "an empty stack": b"\x80\x02R" + harm,
        "an empty memo": b"\x80\x02h\x05" + harm,
        "no mark": b"\x80\x02t" + harm,
        "a number of a million digits": b"I" + b"9" * 1_000_000 + b"\n" + harm,
        "a billion laughs": laughs + harm,
        "a tuple 100,000 deep": deep + harm,
        "no opcode": b"\x80\x02\xff" + harm,
    }
