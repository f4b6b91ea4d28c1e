"""Where each part of a manifest's text begins and ends, comments and blanks left out: what an edit is guided by.

`manifest_yaml` composes what a manifest says; this keeps how it is written. Only a text that was read as a manifest
before is outlined: that bounds its size and depth, and its anchors are each set once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(eq=False, slots=True)
class Part:
    """A key, a value or an item. ``start`` and ``end`` are offsets into the text; ``line`` counts from 1.

    An alias is a part of its own, not what it stands for; ``text`` is a scalar's value, or the name in an alias.
    ``children`` of a mapping are keys and values in turn.
    """

    kind: Literal["scalar", "mapping", "sequence", "alias"]
    start: int
    end: int
    line: int
    column: int
    flow: bool = False
    text: str = ""
    anchor: str | None = None
    children: list[Part] = field(default_factory=list)

    def pairs(self) -> list[tuple[Part, Part]]:
        return list(zip(self.children[::2], self.children[1::2], strict=True))

    def walk(self) -> Iterator[Part]:
        """This part and all parts in it."""
        pending = [self]
        while pending:
            part = pending.pop()
            yield part
            pending += reversed(part.children)


def outline(text: str) -> tuple[Part | None, int]:
    """The outline of a text's one document (None where there is none), and the offset at which the document ends."""
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    root: Part | None = None
    end = len(text)
    opened: list[Part] = []
    events: Iterator[Any] = yaml.parse(text, Loader=loader)
    for event in events:
        begins, ends = _at(event.start_mark), _at(event.end_mark)
        if isinstance(event, yaml.DocumentEndEvent) and event.explicit:
            end = begins
        if isinstance(event, yaml.CollectionEndEvent):
            part = opened.pop()
            if part.flow:
                part.end = ends
            elif part.children:
                part.end = part.children[-1].end
        elif isinstance(event, yaml.NodeEvent):
            part = _part(event, text)
            if isinstance(event, yaml.CollectionStartEvent):
                opened.append(part)
        else:
            continue
        if opened and opened[-1] is part:
            continue  # it has only begun
        if opened:
            opened[-1].children.append(part)
        else:
            root = part
    return root, end


def _at(mark: Any) -> int:
    return int(mark.index)


def _part(event: Any, text: str) -> Part:
    import yaml

    mark = event.start_mark
    where = (mark.index, event.end_mark.index, mark.line + 1, mark.column)
    if isinstance(event, yaml.AliasEvent):
        return Part("alias", *where, text=str(event.anchor))
    if isinstance(event, yaml.ScalarEvent):
        part = Part("scalar", *where, text=event.value, anchor=event.anchor)
        if event.style in ("|", ">"):  # its end is that of the blank lines after it
            part.end = part.start + len(text[part.start : part.end].rstrip())
        return part
    kind: Literal["mapping", "sequence"] = "mapping" if isinstance(event, yaml.MappingStartEvent) else "sequence"
    part = Part(kind, *where, flow=bool(event.flow_style), anchor=event.anchor)
    if not part.flow:
        part.end = part.start
    return part
