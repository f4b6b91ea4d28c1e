"""Reads a node tree by a specification: values with their places, and a complaint for what does not fit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from assetmgr.manifest_schema import (
    Choice,
    Either,
    Flag,
    ListOf,
    MapOf,
    Number,
    Plain,
    Record,
    Share,
    Spec,
    Text,
    text_fault,
)
from assetmgr.manifest_yaml import Mapping, Node, Problems, Scalar, Sequence, integer, shown

_FOUND = {"int": "a number", "float": "a number", "bool": "true or false", "timestamp": "a date"}
_BOOLS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}  # YAML 1.1
_LISTED = 24


@dataclass(frozen=True, slots=True)
class Value:
    """What was read at one place. ``at`` is what to point at: the key where there is one, else the value."""

    data: str | int | float | bool | list[Value] | dict[str, Value] | None
    node: Node
    at: Node

    def get(self, key: str) -> Value | None:
        return self.data.get(key) if isinstance(self.data, dict) else None

    def has(self, key: str) -> bool:
        """Whether a mapping has a key, even one whose value did not fit."""
        pairs = self.node.pairs if isinstance(self.node, Mapping) else ()
        return any(isinstance(name, Scalar) and name.text == key for name, _ in pairs)

    def text(self, key: str) -> str | None:
        value = self.get(key)
        return value.data if value and isinstance(value.data, str) else None

    def number(self, key: str) -> int | None:
        value = self.get(key)
        return value.data if value and isinstance(value.data, int) and not isinstance(value.data, bool) else None

    def share(self, key: str) -> float | None:
        value = self.get(key)
        return value.data if value and isinstance(value.data, float) else None

    def flag(self, key: str) -> bool | None:
        value = self.get(key)
        return value.data if value and isinstance(value.data, bool) else None

    def items(self) -> list[Value]:
        return self.data if isinstance(self.data, list) else []

    def entries(self) -> Iterable[tuple[str, Value]]:
        return self.data.items() if isinstance(self.data, dict) else ()

    def plain(self) -> object:
        """The same without places: what JSON can hold."""
        if isinstance(self.data, dict):
            return {key: value.plain() for key, value in self.data.items()}
        if isinstance(self.data, list):
            return [value.plain() for value in self.data]
        return self.data


class Reader:
    """Reads values. What is wrong with them goes to ``problems`` and is left out of the result."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def read(self, spec: Spec, node: Node, label: str, at: Node | None = None) -> Value | None:
        """Read what stands at a node; None, and a complaint, when nothing of it fits.

        Parameters
        ----------
        label
            What to call the place in a complaint: mostly the key.
        at
            The key's node, where there is a key.
        """
        at = at or node
        match spec:
            case Text():
                text = self._text(spec, node, label)
                return None if text is None else Value(text, node, at)
            case Choice():
                text = self._choice(spec, node, label)
                return None if text is None else Value(text, node, at)
            case Number():
                number = self._number(spec, node, label)
                return None if number is None else Value(number, node, at)
            case Share():
                share = self._share(spec, node, label)
                return None if share is None else Value(share, node, at)
            case Flag():
                flag = self._flag(spec, node, label)
                return None if flag is None else Value(flag, node, at)
            case ListOf():
                return self._list(spec, node, label, at)
            case MapOf():
                return self._map(spec, node, label, at)
            case Either():
                option = next((option for option in spec.options if _accepts(option, node)), None)
                if option is None:
                    self._mistyped(spec.what, node, label)
                    return None
                return self.read(option, node, label, at)
            case Plain():
                return _plain(node, at)
            case Record():
                return self._record(spec, node, label, at)

    def _mistyped(self, what: str, node: Node, label: str) -> None:
        self._problems.add(node, f"{label} {_found(node)}; it must be {what}")

    def _text(self, spec: Text, node: Node, label: str) -> str | None:
        if not isinstance(node, Scalar) or node.kind == "null":
            self._mistyped(spec.what, node, label)
            return None
        if node.kind in _FOUND:
            what = f"YAML reads {node.text[:80]} as {_FOUND[node.kind]}: write it in quotes: {shown(node.text)}"
            self._problems.add(node, f"{label}: {what}")
            return None
        fault = text_fault(spec, node.text)
        if fault:
            self._problems.add(node, f"{label} {shown(node.text)}: {fault}")
            return None
        return node.text

    def _choice(self, spec: Choice, node: Node, label: str) -> str | None:
        if not isinstance(node, Scalar) or node.kind == "null":
            self._mistyped(f"one of {', '.join(spec.values)}", node, label)
            return None
        if node.kind == "str" and node.text in spec.values:
            return node.text
        near = nearest(node.text, spec.values)
        self._problems.add(node, f"{label} {shown(node.text)} is not {spec.what}{near}")
        return None

    def _number(self, spec: Number, node: Node, label: str) -> int | None:
        if not isinstance(node, Scalar) or node.kind != "int":
            self._mistyped(spec.what, node, label)
            return None
        number = integer(node)
        if number is None or not spec.minimum <= number <= spec.maximum:
            self._problems.add(node, f"{label} {shown(node.text)} is not {spec.what}")
            return None
        return number

    def _share(self, spec: Share, node: Node, label: str) -> float | None:
        if not isinstance(node, Scalar) or node.kind not in ("int", "float"):
            self._mistyped(spec.what, node, label)
            return None
        with contextlib.suppress(ValueError):  # of numbers that only YAML can write
            share = float(node.text)
            if 0 <= share <= 1:
                return share
        self._problems.add(node, f"{label} {shown(node.text)} is not {spec.what}")
        return None

    def _flag(self, spec: Flag, node: Node, label: str) -> bool | None:
        flag = _BOOLS.get(node.text.lower()) if isinstance(node, Scalar) and node.kind == "bool" else None
        if flag is None or flag not in spec.values:
            self._mistyped(spec.what, node, label)
            return None
        return flag

    def _list(self, spec: ListOf, node: Node, label: str, at: Node) -> Value | None:
        if isinstance(node, Sequence):
            if len(node.items) < spec.least:
                self._problems.add(node, f"{label} is an empty list; it must be {spec.what}")
                return None
            items = [self.read(spec.item, item, label) for item in node.items]
            return Value([item for item in items if item is not None], node, at)
        if spec.alone and isinstance(node, Scalar) and node.kind != "null":
            item = self.read(spec.item, node, label)
            return None if item is None else Value([item], node, at)
        self._mistyped(spec.what, node, label)
        return None

    def _map(self, spec: MapOf, node: Node, label: str, at: Node) -> Value | None:
        if not isinstance(node, Mapping):
            self._mistyped(spec.what, node, label)
            return None
        data: dict[str, Value] = {}
        for key, item in node.pairs:
            name = self._text(spec.key, key, f"name under {label}")
            value = self.read(spec.value, item, name or label, key)
            if name is not None and value is not None:
                data.setdefault(name, value)
        return Value(data, node, at)

    def _record(self, spec: Record, node: Node, label: str, at: Node) -> Value | None:
        if not isinstance(node, Mapping):
            self._mistyped(f"a mapping with the keys of {spec.what}", node, label)
            return None
        data: dict[str, Value] = {}
        keys: dict[str, Node] = {}
        for key, item in node.pairs:
            name = cast(Scalar, key).text  # the composer lets no other key pass
            keys.setdefault(name, key)
            field = spec.fields.get(name)
            if field is None:
                self._unknown(spec, name, key)
                continue
            value = self.read(field.spec, item, name, key)
            if value is not None:
                data.setdefault(name, value)
        self._together(spec, keys, at)
        return Value(data, node, at)

    def _unknown(self, spec: Record, name: str, key: Node) -> None:
        if name in spec.elsewhere:
            self._problems.add(key, f"{shown(name)} belongs in {spec.elsewhere[name]}, not in {spec.what}")
        else:
            self._problems.add(key, f"unknown key {shown(name)} in {spec.what}" + nearest(name, spec.fields))

    def _together(self, spec: Record, keys: dict[str, Node], at: Node) -> None:
        for name, field in spec.fields.items():
            if field.required and name not in keys:
                self._problems.add(at, f"{spec.what} needs the key {name!r}: {field.doc}")
        origins = [name for name in keys if name in spec.one_of]
        if spec.one_of and not origins:
            self._problems.add(at, f"{spec.what} needs one of the keys {' or '.join(map(repr, spec.one_of))}")
        if spec.some_of and not any(name in spec.some_of for name in keys):
            listed = " or ".join(map(repr, spec.some_of))
            self._problems.add(at, f"{spec.what} needs the key {listed}: {spec.fields[spec.some_of[0]].doc}")
        for name in origins[1:]:
            what = f"{name!r} cannot stand beside {origins[0]!r}: {spec.what} has one origin"
            self._problems.add(keys[name], what)
        for name, other in spec.needs.items():
            if name in keys and other not in keys and (origins or not spec.one_of):
                instead = f", and here is {origins[0]!r}" if origins and origins[0] != name else ""
                self._problems.add(keys[name], f"{name!r} goes with {other!r}{instead}")


def _plain(node: Node, at: Node) -> Value:
    """Whatever stands there, as YAML reads it; a date is a text."""
    if isinstance(node, Sequence):
        return Value([_plain(item, item) for item in node.items], node, at)
    if isinstance(node, Mapping):
        return Value({cast(Scalar, key).text: _plain(item, key) for key, item in node.pairs}, node, at)
    assert isinstance(node, Scalar)
    if node.kind == "null":
        return Value(None, node, at)
    if node.kind == "bool":
        return Value(_BOOLS[node.text.lower()], node, at)
    if node.kind == "int" and (number := integer(node)) is not None:
        return Value(number, node, at)
    if node.kind == "float":
        with contextlib.suppress(ValueError):  # of numbers that only YAML can write
            return Value(float(node.text.replace("_", "")), node, at)
    return Value(node.text, node, at)


def _accepts(spec: Spec, node: Node) -> bool:
    match spec:
        case Number():
            return isinstance(node, Scalar) and node.kind == "int"
        case Flag():
            return isinstance(node, Scalar) and node.kind == "bool"
        case Text() | Choice():  # a number too, where nothing else takes it: the complaint then says how to quote it
            return isinstance(node, Scalar) and node.kind != "null"
        case MapOf() | Record():
            return isinstance(node, Mapping)
        case _:
            return False


def _found(node: Node) -> str:
    if isinstance(node, Mapping):
        return "is a mapping"
    if isinstance(node, Sequence):
        return "is a list"
    assert isinstance(node, Scalar)
    if node.kind == "null":
        return "is empty"
    kind = _FOUND.get(node.kind)
    return f"is {kind}, {node.text[:80]}" if kind else f"is {shown(node.text)}"


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a complaint about an unknown name: the nearest known one, else all where they are few."""
    import difflib

    names = list(known)
    lowered = {candidate.lower(): candidate for candidate in names}
    close = difflib.get_close_matches(name[:80].lower(), lowered, n=1)
    if close:
        return f"; did you mean {lowered[close[0]]!r}?"
    return f"; it may be {', '.join(names)}" if 0 < len(names) <= _LISTED else ""
