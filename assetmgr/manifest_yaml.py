"""YAML text into a tree of nodes that know where they stand, bounded in every direction.

PyYAML's composer and constructor recurse, keep the last of two equal keys and expand aliases without end.
This one builds the tree from the parser's events, which come one at a time, and counts while it builds. Depth
and size are those of the tree after every alias is expanded, so that nothing that reads the tree can be made
to recurse or repeat without bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from assetmgr.errors import ManifestError, Problem

_CORE = "tag:yaml.org,2002:"
_SCALAR_KINDS = frozenset({"str", "int", "float", "bool", "null"})
_USERINFO = re.compile(r"//.*@", re.S)
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class ManifestLimits:
    """How much of a manifest is read before it is refused."""

    file_bytes: int = 4 * 1024 * 1024
    depth: int = 32
    nodes: int = 200_000
    aliases: int = 2_000
    expanded_nodes: int = 400_000  # with every alias replaced by what it stands for
    problems: int = 200


@dataclass(eq=False, repr=False, slots=True, match_args=False)
class Node:
    """Anything in a YAML document. Lines and columns count from 1."""

    line: int
    column: int


@dataclass(eq=False, repr=False, slots=True, match_args=False)
class Scalar(Node):
    text: str
    kind: str  # str, int, float, bool, null or timestamp, as YAML 1.1 reads it


@dataclass(eq=False, repr=False, slots=True, match_args=False)
class Sequence(Node):
    items: list[Node] = field(default_factory=list)


@dataclass(eq=False, repr=False, slots=True, match_args=False)
class Mapping(Node):
    pairs: list[tuple[Node, Node]] = field(default_factory=list)


def shown(text: str) -> str:
    """A text from a manifest as a complaint may repeat it: quoted, shortened, without passwords."""
    text = _USERINFO.sub("//***@", text)
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")


class Problems:
    """Collects what is wrong with one manifest, each mistake once."""

    def __init__(self, file: str, limit: int) -> None:
        self.file = file
        self._limit = limit
        self._found: dict[Problem, None] = {}

    def add(self, node: Node, message: str) -> None:
        self._found[Problem(self.file, node.line, node.column, message)] = None
        if len(self._found) >= self._limit:
            more = Problem(self.file, node.line, node.column, f"and more: only {self._limit} mistakes are shown")
            raise ManifestError([*self._sorted(), more])

    def fail(self, line: int, column: int, message: str) -> NoReturn:
        """Stop reading here: raise with this mistake and all those before it."""
        self._found[Problem(self.file, line, column, message)] = None
        raise ManifestError(self._sorted())

    def raise_any(self) -> None:
        if self._found:
            raise ManifestError(self._sorted())

    def _sorted(self) -> list[Problem]:
        return sorted(self._found, key=lambda problem: (problem.line, problem.column))


def decode(data: bytes | str, problems: Problems, limits: ManifestLimits) -> str:
    """Bounded UTF-8 text, without its byte order mark."""
    try:
        raw = data.encode() if isinstance(data, str) else data
        if len(raw) > limits.file_bytes:
            problems.fail(1, 1, f"it is larger than a manifest may be: {limits.file_bytes} bytes")
        text = raw.decode()
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode(errors="replace")) + 1
        problems.fail(before.count(b"\n") + 1, column, f"it is not UTF-8: {error.reason}")
    except UnicodeEncodeError as error:
        problems.fail(1, 1, f"it is not UTF-8: {error.reason}")
    return text.removeprefix("\ufeff")


def compose(text: str, problems: Problems, limits: ManifestLimits, *, loader: Any = None) -> Node | None:
    """Build the tree of the one document in a text; None when there is none.

    Duplicate keys, tags, unknown aliases and wrong merges go to ``problems``, and reading goes on.

    Raises
    ------
    ManifestError
        When the text is not YAML, or beyond a limit.
    """
    import yaml

    loader = loader or getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Composer(problems, limits).compose(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        lines = text.split("\n")
        tab = line < len(lines) and lines[line][column : column + 1] == "\t"
        hint = "; indent with spaces, not tabs" if tab else ""
        if error.context and error.context_mark and error.problem:
            hint += f" ({error.context} from line {error.context_mark.line + 1})"
        problems.fail(line + 1, column + 1, f"it is not valid YAML: {error.problem or error.context}{hint}")
    except yaml.reader.ReaderError as error:
        start = next((index for index, char in enumerate(text) if not _readable(char)), 0)
        line = text.count("\n", 0, start)
        problems.fail(line + 1, start - text.rfind("\n", 0, start), f"it is not valid YAML: {error.reason}")
    except (
        yaml.YAMLError,
        ValueError,
        OverflowError,
    ) as error:  # the Python scanner lets chr() and int() raise
        problems.fail(1, 1, f"it is not valid YAML: {error}")


def _readable(char: str) -> bool:
    return char in "\t\n\r\x85" or " " <= char <= "~" or (char >= "\xa0" and char not in "\ufffe\uffff")


def integer(scalar: Scalar) -> int | None:
    """The number that YAML 1.1 reads (``1_000``, ``0x1f``), or None where a tag promised one in vain."""
    import yaml

    try:
        node = yaml.ScalarNode(f"{_CORE}int", scalar.text)
        return int(yaml.constructor.SafeConstructor().construct_yaml_int(node))
    except (ValueError, IndexError):
        return None


@dataclass(slots=True)
class _Open:
    """A collection that has not ended yet, or a node that an anchor keeps; size and height as expanded."""

    node: Node
    children: list[Node] = field(default_factory=list)
    size: int = 1
    height: int = 1
    anchor: str | None = None
    closed: bool = False


class _Composer:
    def __init__(self, problems: Problems, limits: ManifestLimits) -> None:
        import yaml

        self._resolver: Any = yaml.resolver.Resolver()
        self._scalar_node = yaml.ScalarNode
        self._problems = problems
        self._limits = limits
        self._kinds: dict[str, str] = {}
        self._anchors: dict[str, _Open] = {}
        self._stack: list[_Open] = []
        self._nodes = self._expanded = self._aliases = self._documents = 0
        self._root: Node | None = None

    def compose(self, events: Iterable[Any]) -> Node | None:
        import yaml

        for event in events:
            kind = type(event)
            if kind is yaml.ScalarEvent:
                scalar = self._scalar(event)
                self._count(scalar, 1)
                self._put(scalar, event.anchor)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self._begin(event, mapping=kind is yaml.MappingStartEvent)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self._end()
            elif kind is yaml.AliasEvent:
                self._alias(event)
            elif kind is yaml.DocumentStartEvent:
                self._documents += 1
                if self._documents > 1:
                    self._fail(event, "a manifest is one YAML document, and a second one begins here")
        return self._root

    def _fail(self, event: Any, message: str) -> NoReturn:
        self._problems.fail(event.start_mark.line + 1, event.start_mark.column + 1, message)

    def _count(self, node: Node, expanded: int) -> None:
        self._nodes += 1
        self._expanded += expanded
        limits = self._limits
        if self._nodes > limits.nodes:
            self._problems.fail(node.line, node.column, f"the manifest has more than {limits.nodes} nodes")
        if self._expanded > limits.expanded_nodes:
            what = f"with its aliases expanded, the manifest has more than {limits.expanded_nodes} nodes"
            self._problems.fail(node.line, node.column, what)

    def _scalar(self, event: Any) -> Scalar:
        mark, text = event.start_mark, event.value
        node = Scalar(mark.line + 1, mark.column + 1, text, "str")
        if event.tag is not None:
            node.kind = self._tag(event.tag, node, _SCALAR_KINDS) or "str"
        elif event.implicit[0]:  # plain: its kind follows from how it is written
            kind = self._kinds.get(text)
            if kind is None:
                tag = self._resolver.resolve(self._scalar_node, text, (True, False))
                kind = tag.removeprefix(_CORE)
                self._kinds[text] = kind = "str" if kind == "value" else kind
            node.kind = kind
        return node

    def _tag(self, tag: str, node: Node, allowed: Iterable[str]) -> str | None:
        kind = tag.removeprefix(_CORE)
        if kind != tag and kind in allowed:
            return kind
        self._problems.add(node, f"the tag {shown(tag.replace(_CORE, '!!'))} has no place here; leave it out")
        return None

    def _begin(self, event: Any, *, mapping: bool) -> None:
        mark = event.start_mark
        node: Node = (Mapping if mapping else Sequence)(mark.line + 1, mark.column + 1)
        self._count(node, 1)
        if len(self._stack) >= self._limits.depth:
            self._fail(event, f"it is nested more than {self._limits.depth} deep")
        if event.tag is not None:
            self._tag(event.tag, node, ("map",) if mapping else ("seq",))
        frame = _Open(node, anchor=event.anchor)
        if event.anchor is not None:
            self._anchor(event.anchor, frame)
        self._stack.append(frame)

    def _end(self) -> None:
        frame = self._stack.pop()
        frame.closed = True
        node = frame.node
        if isinstance(node, Mapping):
            node.pairs = self._pairs(frame.children)
        elif isinstance(node, Sequence):
            node.items = frame.children
        self._attach(node, frame.size, frame.height)

    def _put(self, scalar: Scalar, anchor: str | None) -> None:
        if anchor is not None:
            self._anchor(anchor, _Open(scalar, height=0, closed=True))
        self._attach(scalar, 1, 0)

    def _anchor(self, name: str, frame: _Open) -> None:
        first = self._anchors.get(name)
        if first is not None:
            line = first.node.line
            self._problems.add(frame.node, f"the anchor {shown(name)} is set twice, first on line {line}")
        self._anchors[name] = frame

    def _alias(self, event: Any) -> None:
        mark = event.start_mark
        here = Scalar(mark.line + 1, mark.column + 1, "", "null")
        self._aliases += 1
        if self._aliases > self._limits.aliases:
            self._fail(event, f"the manifest uses more than {self._limits.aliases} aliases")
        target = self._anchors.get(event.anchor)
        if target is None:
            self._fail(event, f"the alias {shown(event.anchor)} names no anchor above it")
        if not target.closed:
            self._fail(event, f"the alias {shown(event.anchor)} stands inside what it names")
        self._count(here, target.size)
        if len(self._stack) + target.height > self._limits.depth:
            self._fail(event, f"with its aliases expanded, it is nested more than {self._limits.depth} deep")
        self._attach(target.node, target.size, target.height)

    def _attach(self, node: Node, size: int, height: int) -> None:
        if not self._stack:
            self._root = node
            return
        parent = self._stack[-1]
        parent.children.append(node)
        parent.size += size
        parent.height = max(parent.height, height + 1)

    def _pairs(self, children: list[Node]) -> list[tuple[Node, Node]]:
        """Pair keys with values and merge what '<<' names. A key that comes twice stays, and is reported."""
        pairs: list[tuple[Node, Node]] = []
        merged: list[tuple[Node, Node]] = []
        first: dict[str, Node] = {}
        for key, value in zip(children[::2], children[1::2], strict=True):
            if not isinstance(key, Scalar):
                self._problems.add(key, "a key must be a text, not a list or a mapping")
                continue
            if key.text in first:
                line = first[key.text].line
                self._problems.add(key, f"duplicate key {shown(key.text)}; the first is on line {line}")
            else:
                first[key.text] = key
            if key.kind == "merge":
                merged += self._merged(value)
            else:
                pairs.append((key, value))
        for key, value in merged:  # a mapping's own keys win, then the merge that stands first
            assert isinstance(key, Scalar)
            if key.text not in first:
                first[key.text] = key
                pairs.append((key, value))
        return pairs

    def _merged(self, value: Node) -> Iterable[tuple[Node, Node]]:
        for node in value.items if isinstance(value, Sequence) else [value]:
            if isinstance(node, Mapping):
                yield from node.pairs
            else:
                self._problems.add(node, "'<<' takes a mapping or a list of mappings")
