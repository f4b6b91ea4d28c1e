"""Is a pickle nothing but tensors? Answered by reading its opcodes; nothing of it is executed.

A pickle is a program: it names Python functions and has them called. This module runs that program on shadows: numbers
and texts stand for themselves, all else for nothing. What is not on the lists below is a finding: every function and
class by name, every way of calling, every opcode. The lists are what `torch.save` writes of tensors, and lie within
what ``torch.load(weights_only=True)`` admits, which stays the second barrier behind this one.

The opcodes and what they do to the stack: Python's `pickletools`.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

# What `torch.save` has called to make tensors and their containers again.
_CALLABLE = frozenset(
    {f"torch._utils _rebuild_{name}" for name in ("tensor", "tensor_v2", "tensor_v3", "parameter")}
    | {"collections OrderedDict", "torch Size", "torch device", "builtins set", "__builtin__ set"}
)
_STORAGES = frozenset(
    {
        f"torch {kind}Storage"
        for kind in ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
    }
    | {"torch ComplexFloatStorage", "torch ComplexDoubleStorage", "torch.storage UntypedStorage"}
)
_DTYPES = frozenset(
    f"torch {name}"
    for name in (
        *("float64", "float32", "float16", "bfloat16", "complex64", "complex128", "bool"),
        *("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64"),
        *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"),
    )
)
_NAMED = _CALLABLE | _STORAGES | _DTYPES

# All that `weights_only` has, less what tensors have no need of.
# fmt: off
_OPCODES = frozenset({
    "PROTO", "STOP", "GLOBAL", "REDUCE", "NEWOBJ", "BUILD", "BINPERSID", "MARK", "TUPLE", "EMPTY_TUPLE", "TUPLE1",
    "TUPLE2", "TUPLE3", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET", "NONE",
    "NEWFALSE", "NEWTRUE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING",
    "BINGET", "LONG_BINGET", "BINPUT", "LONG_BINPUT",
})
# fmt: on
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_TEXTS = 400
_OPCODE = "the opcode "


class PickleLimits(NamedTuple):
    """What a pickle may ask of this machine.

    Attributes
    ----------
    size
        Its length in bytes, without the tensors' own. A tensor takes about 150.
    opcodes
        How many there may be.
    unfolded, depth
        The parts of a tuple, each counted as often as it is met, and how deep it goes: as a key of a dict it is walked
        through, and a few hundred bytes can unfold to billions of parts.
    findings
        How many are told.
    """

    size: int = 32 << 20
    opcodes: int = 8_000_000
    unfolded: int = 100_000
    depth: int = 50
    findings: int = 6


_LIMITS = PickleLimits()


class Scan(NamedTuple):
    """What was found in a pickle.

    Attributes
    ----------
    findings
        What is not on the lists, in the order of the pickle; empty when it is nothing but tensors.
    value
        Its outermost value where that is a number or a text.
    """

    findings: tuple[str, ...]
    value: int | str | None = None


class DamagedPickleError(Exception):
    """It is no whole pickle. ``findings`` were met before that."""

    def __init__(self, what: str, findings: tuple[str, ...] = ()) -> None:
        super().__init__(what)
        self.findings = findings


def is_opcode(finding: str) -> bool:
    """Whether a finding says how something is written, and not what it is."""
    return finding.startswith(_OPCODE)


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def readline(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _Named:
    """A global, as ``module name``."""

    name: str


@dataclass(frozen=True, slots=True)
class _Tuple:
    items: tuple[object, ...]
    unfolded: int
    depth: int


_OTHER, _MARK = object(), object()


def scan(stream: Readable, storage_bytes: int, limits: PickleLimits = _LIMITS) -> Scan:
    """Read one pickle of a stream, up to its end.

    Parameters
    ----------
    storage_bytes
        How many bytes there are for tensors: none can have more elements.

    Raises
    ------
    DamagedPickleError
        When it is no whole pickle, or larger than the limits.
    """
    machine = _Machine(storage_bytes, limits)
    bounded: Any = _Bounded(stream, limits.size)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(bounded)):
            if count >= limits.opcodes:
                raise ValueError(f"it has more than {limits.opcodes} opcodes")
            machine.step(opcode, argument)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise DamagedPickleError(str(error)[:_TEXTS], machine.told()) from None
    value = machine.result
    return Scan(machine.told(), value if isinstance(value, int | str) else None)


class _Bounded:
    """A stream that ends where the limit is, so that no length in the pickle is taken for its word."""

    def __init__(self, stream: Readable, limit: int) -> None:
        self._stream, self._limit = stream, limit

    def read(self, size: int) -> bytes:
        if size > self._limit:
            raise ValueError("it is cut off, or too large")
        return self._took(self._stream.read(size))

    def readline(self) -> bytes:
        return self._took(self._stream.readline(self._limit))

    def _took(self, data: bytes) -> bytes:
        self._limit -= len(data)
        return data


@dataclass
class _Machine:
    """The unpickler's stack and memo, of shadows."""

    storage_bytes: int
    limits: PickleLimits
    stack: list[object] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)
    found: dict[str, None] = field(default_factory=dict)
    foreign: str = ""
    result: object = None

    def told(self) -> tuple[str, ...]:
        """The findings. What a pickle names says more than the opcode that names it, which is told only by itself."""
        if self.foreign and not self.found:
            return (f"{_OPCODE}{self.foreign}, which torch.save never writes",)
        return tuple(self.found)

    def step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        name = opcode.name
        if name == "GLOBAL":
            self._global(argument)
        elif name in _GETS:
            self.stack.append(self.memo[argument])
        elif name in _PUTS:
            self.memo[len(self.memo) if name == "MEMOIZE" else argument] = self.stack[-1]
        elif name in ("REDUCE", "NEWOBJ"):
            _, function = self.stack.pop(), self.stack.pop()
            self._call(function)
        elif name in ("TUPLE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
            self._tuple(self._taken(opcode))
        elif name == "BINPERSID":
            self._storage(self.stack.pop())
        elif name in ("INST", "STACK_GLOBAL"):
            taken = self._taken(opcode)
            parts = taken if name == "STACK_GLOBAL" else [argument]
            self._global(" ".join(part if isinstance(part, str) else "(computed)" for part in parts))
        elif name == "STOP":
            self.result = self.stack.pop()
        elif name in ("EXT1", "EXT2", "EXT4"):
            self._find(f"extension {argument} of copyreg")
            self.stack.append(_OTHER)
        else:
            self._plain(opcode, argument)
        if name not in _OPCODES:
            self.foreign = self.foreign or name

    def _plain(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        """What the opcode's own description says of the stack; numbers and texts are kept."""
        self._taken(opcode)
        kept = isinstance(argument, int | str) and len(opcode.stack_after) == 1
        for kind in opcode.stack_after:
            self.stack.append(_MARK if kind is pickletools.markobject else argument if kept else _OTHER)

    def _taken(self, opcode: pickletools.OpcodeInfo) -> list[object]:
        """Take from the stack what the opcode takes; of a slice, its items."""
        before = opcode.stack_before
        taken: list[object] = []
        fixed = len(before)
        if pickletools.markobject in before:
            while (item := self.stack.pop()) is not _MARK:
                taken.append(item)
            fixed = before.index(pickletools.markobject)
        for _ in range(fixed):
            taken.append(self.stack.pop())
        return taken[::-1]

    def _global(self, name: str) -> None:
        if name not in _NAMED:
            self._find(name.replace(" ", "."))
        self.stack.append(_Named(name))

    def _call(self, function: object) -> None:
        if isinstance(function, _Named):
            if function.name in _NAMED - _CALLABLE:
                self._find(f"a call of {function.name.replace(' ', '.')}")
        else:
            self._find("a call of what the pickle itself made")
        self.stack.append(_OTHER)

    def _tuple(self, items: list[object]) -> None:
        inner = [item for item in items if isinstance(item, _Tuple)]
        unfolded = len(items) + sum(item.unfolded for item in inner)
        depth = 1 + max((item.depth for item in inner), default=0)
        if unfolded > self.limits.unfolded or depth > self.limits.depth:
            raise ValueError("it has a tuple of tuples that unfolds beyond all bounds")
        self.stack.append(_Tuple(tuple(items), unfolded, depth))

    def _storage(self, said: object) -> None:
        """A tensor's bytes, which stand beside the pickle: ("storage", type, key, device, elements, ...)."""
        items = said.items if isinstance(said, _Tuple) else ()
        match items:
            case ("storage", _Named(kind), str(), str(), int(count), *_) if kind in _STORAGES:
                if not 0 <= count <= self.storage_bytes:
                    self._find(f"a tensor of {count:,} elements, more than the file has bytes")
            case _:
                self._find("a reference to something that is no tensor's storage")
        self.stack.append(_OTHER)

    def _find(self, what: str) -> None:
        shown = what if what.isprintable() else repr(what)
        if len(self.found) < self.limits.findings:
            self.found[shown[:_TEXTS]] = None
