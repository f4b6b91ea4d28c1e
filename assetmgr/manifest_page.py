"""A manifest's text as lines and places: where an entry would be put in or taken out, and what comes along.

An entry's own comments are those right above it, in its column, and those below it that stand deeper. The style is the
manifest's own: its indent, its ends of lines, block or flow, blank lines between entries.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

from assetmgr.errors import UsageError
from assetmgr.manifest import Manifest, parse_manifest
from assetmgr.manifest_outline import Part, outline
from assetmgr.manifest_schema import VERSION
from assetmgr.references import field_lines, scalar

_LINE_END = re.compile(r"\r\n|\r|\n")
_COMMENT = re.compile(r"[ \t]*(#|\Z)")


class Cut(NamedTuple):
    """Characters that leave the text, and what comes in their place."""

    start: int
    end: int
    text: str = ""


@dataclass(frozen=True)
class Page:
    """A manifest's text, what it says, and its outline."""

    path: Path
    text: str
    mark: str  # a byte order mark, or nothing
    newline: str
    manifest: Manifest
    root: Part
    end: int

    @classmethod
    def read(cls, data: bytes, path: Path) -> Page:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = ""
            parse_manifest(data, path)  # says where it is not UTF-8
        mark, text = ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)
        first = _LINE_END.search(text)
        newline = first[0] if first else "\n"
        if is_blank(text):
            text += (newline if text and not text.endswith(newline) else "") + f"version: {VERSION}{newline}"
        manifest = parse_manifest(text, path)
        root, end = outline(text)
        assert root is not None
        return cls(path, text, mark, newline, manifest, root, end)

    def refuse(self, line: int, why: str, mend: str = "edit it by hand") -> NoReturn:
        raise UsageError(f"{self.path}:{line}: {why}", mend=mend)

    # --- where things stand ------------------------------------------------------------------------------------------

    def section(self, name: str) -> tuple[Part, Part] | None:
        return next(((key, value) for key, value in self.root.pairs() if key.text == name), None)

    def line_start(self, at: int) -> int:
        return max(self.text.rfind("\n", 0, at), self.text.rfind("\r", 0, at)) + 1

    def line_end(self, at: int) -> int:
        """Where the line that holds an offset ends, before its line end."""
        found = _LINE_END.search(self.text, at)
        return found.start() if found else len(self.text)

    def next_line(self, at: int) -> int:
        """Where the line after the one that holds an offset begins."""
        found = _LINE_END.search(self.text, at)
        return found.end() if found else len(self.text)

    def previous_line(self, start: int) -> int | None:
        """Where the line before one begins; None before the first."""
        if start == 0:
            return None
        before = start - (2 if self.text[start - 2 : start] == "\r\n" else 1)
        return self.line_start(before)

    def line(self, start: int) -> str:
        return self.text[start : self.line_end(start)]

    def past_own_comments(self, at: int, column: int) -> int:
        """The end of the line that holds ``at`` and of the comments below it that stand deeper than a column."""
        end = self.line_end(at)
        while (following := self.next_line(end)) > end:
            line = self.line(following)
            indent = len(line) - len(line.lstrip(" "))
            if not line.lstrip(" ").startswith("#") or indent <= column:
                break
            end = self.line_end(following)
        return end

    def closes(self, start: int, column: int) -> bool:
        """Whether a block whose keys stand at a column is over at the line at ``start``, or shut off by a blank."""
        line = self.line(start)
        return start >= len(self.text) or not line.strip() or len(line) - len(line.lstrip(" ")) < column

    # --- adding ------------------------------------------------------------------------------------------------------

    def insertion(self, section: str, name: str, declaration: Mapping[str, object] | None) -> Cut:
        """What adds an entry (with a declaration) or an item (without) to a section, which may not be there yet."""
        found = self.section(section)
        if found is None:
            return self._new_section(section, name, declaration)
        _key, value = found
        if value.kind == "alias":
            self.refuse(
                value.line, f"{section!r} is the alias *{value.text}: what is added there is added elsewhere too"
            )
        if value.kind == "scalar":  # requires: one-name
            return Cut(
                value.start, value.end, f"[{self.text[value.start : value.end]}, {self._flow(name, declaration)}]"
            )
        if value.flow:
            return self._into_flow(value, self._flow(name, declaration))
        column = value.children[0].column if declaration is not None else self._dash(value.children[0])
        step = self._step(value, column - self.root.children[0].column)
        at = self.past_own_comments(value.children[-1].end, column)
        lines = _block(name, declaration, " " * column, " " * step)
        if declaration is not None and self._is_spaced(value, column) and self.closes(self.next_line(at), column):
            lines = ["", *lines]
        found_end = _LINE_END.match(self.text, at)
        newline = found_end[0] if found_end else self.newline  # of this very place, where they are mixed
        return Cut(at, at, newline + newline.join(lines))

    def _new_section(self, section: str, name: str, declaration: Mapping[str, object] | None) -> Cut:
        if self.root.kind != "mapping" or not self.root.children:
            self.refuse(self.root.line, "its keys come from elsewhere")
        if self.root.flow:
            inner = f"[{self._flow(name, None)}]" if declaration is None else f"{{{self._flow(name, declaration)}}}"
            return self._into_flow(self.root, f"{self._quoted(section)}: {inner}")
        column = self.root.children[0].column
        indent, step = " " * column, " " * self._step(self.root, 2)
        lines = [f"{indent}{section}:", *_block(name, declaration, indent + step, step)]
        at = self.end
        if at and self.text[at - 1] not in "\r\n":
            return Cut(at, at, self.newline + self.newline.join(lines))
        return Cut(at, at, self.newline.join([*lines, ""]))

    def _into_flow(self, value: Part, text: str) -> Cut:
        if value.children:
            return Cut(value.children[-1].end, value.children[-1].end, f", {text}")
        at = self.text.index("{" if value.kind == "mapping" else "[", value.start) + 1
        return Cut(at, at, text)

    def _flow(self, name: str, declaration: Mapping[str, object] | None) -> str:
        if declaration is None:
            return self._quoted(name)
        return f"{self._quoted(name)}: {self._flow_value(declaration)}"

    def _quoted(self, text: str) -> str:
        """A text as it stands between brackets: as JSON where the manifest is JSON."""
        is_json = self.root.flow and self.text[self.root.children[0].start] == '"'
        return json.dumps(text, ensure_ascii=False) if is_json else scalar(text)

    def _flow_value(self, value: object) -> str:
        if isinstance(value, Mapping):
            return "{" + ", ".join(f"{self._quoted(str(k))}: {self._flow_value(v)}" for k, v in value.items()) + "}"
        if isinstance(value, list | tuple):
            return "[" + ", ".join(map(self._flow_value, value)) + "]"
        return self._quoted(value) if isinstance(value, str) else scalar(value)

    def _step(self, value: Part, default: int) -> int:
        """By how much this manifest indents what stands under a key."""
        for key, inner in value.pairs() if value.kind == "mapping" else ():
            if inner.kind == "mapping" and not inner.flow and inner.children:
                return max(inner.children[0].column - key.column, 1)
        return max(default, 1)

    def _is_spaced(self, value: Part, column: int) -> bool:
        """Whether a blank line stands between the last entries."""
        if len(value.children) < 4:
            return False
        above = self.previous_line(self._leading_comments(value.children[-2], column))
        return above is not None and not self.line(above).strip()

    def _dash(self, item: Part) -> int:
        start = self.line_start(item.start)
        found = re.match(r" *(?=-[ ]+\Z)", self.text[start : item.start])
        if found is None:
            self.refuse(item.line, "this list is written in a way that cannot be edited safely")
        return len(found[0])

    # --- removing ----------------------------------------------------------------------------------------------------

    def removal(self, section: str, name: str) -> list[Cut]:
        """What takes an entry or an item out, with the comments that are its own."""
        found = self.section(section)
        if found is None:
            self.refuse(self.root.line, f"{section!r} comes from a merge ('<<')")
        key, value = found
        if value.kind == "alias":
            self.refuse(value.line, f"{section!r} is the alias *{value.text}")
        if value.kind == "scalar":
            self._unused_elsewhere([value], name)
            return self._without_lines(key, value, self.root.children[0].column)
        parts = value.pairs() if value.kind == "mapping" else [(item, item) for item in value.children]
        index = next((index for index, (part, _) in enumerate(parts) if self._says(part) == name), None)
        if index is None:
            self.refuse(value.line, f"{name!r} comes into {section!r} by a merge ('<<')")
        first, last = parts[index]
        self._unused_elsewhere([first, last], name)
        if value.flow:
            return self._out_of_flow(value, parts, index)
        column = value.children[0].column if value.kind == "mapping" else self._dash(first)
        if len(parts) > 1:
            return self._without_lines(first, last, column)
        self._unused_elsewhere([Part("scalar", 0, 0, value.line, 0, anchor=value.anchor)], name)
        header = self.line_start(key.start)
        rest = self.text[key.end : self.line_end(key.end)]
        entry = self._without_lines(first, last, column, tidy=False)
        if rest.strip() == ":" and not self.text[header : key.start].strip():
            cut = Cut(header, self.next_line(header))
            if cut.end >= entry[0].start:  # they touch
                return [self._to_the_end(Cut(cut.start, max(entry[0].end, cut.end)))]
            return [cut, *entry]
        comment = re.search(r"\s+#", rest)
        at = key.end + (comment.start() if comment else len(rest.rstrip()))
        return [Cut(at, at, " {}" if value.kind == "mapping" else " []"), *entry]

    def _says(self, part: Part) -> str:
        if part.kind != "alias":
            return part.text
        return next((each.text for each in self.root.walk() if each.anchor == part.text), "")

    def _unused_elsewhere(self, parts: list[Part], name: str) -> None:
        inside = [each for part in parts for each in part.walk()]
        anchors = {each.anchor: each.line for each in inside if each.anchor}
        mine = {id(each) for each in inside}
        for each in self.root.walk():
            if each.kind == "alias" and each.text in anchors and id(each) not in mine:
                self.refuse(
                    anchors[each.text],
                    f"{name!r} sets the anchor &{each.text}, which line {each.line} uses",
                    f"write out *{each.text} on line {each.line} first",
                )

    def _leading_comments(self, key: Part, column: int) -> int:
        """Where the comments begin that stand right above a key, in its column; the key's line where there are none."""
        start = self.line_start(key.start)
        while (above := self.previous_line(start)) is not None:
            line = self.line(above)
            if not line.startswith(" " * column + "#"):
                break
            start = above
        return start

    def _without_lines(self, first: Part, last: Part, column: int, *, tidy: bool = True) -> list[Cut]:
        before = self.text[self.line_start(first.start) : first.start]
        if before.strip(" -"):
            self.refuse(first.line, "this entry does not begin its line")
        start = self._leading_comments(first, column)
        end = self.next_line(self.past_own_comments(last.end, column))
        above = self.previous_line(start)
        if tidy and above is not None and not self.line(above).strip() and self.closes(end, column):
            start = above
        return [self._to_the_end(Cut(start, end))]

    def _to_the_end(self, cut: Cut) -> Cut:
        """Where the last line has no line end, the line before it must lose its own."""
        if cut.end < len(self.text) or self.text[-1:] in ("\r", "\n") or cut.start == 0:
            return cut
        return cut._replace(start=self.line_end(self.previous_line(cut.start) or 0))

    def _out_of_flow(self, value: Part, parts: list[tuple[Part, Part]], index: int) -> list[Cut]:
        first, last = parts[index]
        if index:
            start = parts[index - 1][1].end
            if "#" not in self.text[start : first.start]:
                return [Cut(start, last.end)]
        after = parts[index + 1][0].start if index + 1 < len(parts) else value.end - 1
        gap = self.text[last.end : after]
        if "#" not in gap and index + 1 < len(parts):
            return [Cut(first.start, after)]
        comma = re.match(r"\s*,", gap)
        return [Cut(first.start, last.end + (comma.end() if comma else 0))]


def is_blank(text: str) -> bool:
    """Whether there is nothing yet, or only comments."""
    return all(_COMMENT.match(line) for line in _LINE_END.split(text))


def _block(name: str, declaration: Mapping[str, object] | None, indent: str, step: str) -> list[str]:
    if declaration is None:
        return [f"{indent}- {scalar(name)}"]
    return field_lines(name, declaration, indent, step)
