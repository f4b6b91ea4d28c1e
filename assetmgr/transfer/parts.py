"""Answers to range requests: whether they are the part that was asked for, and what follows if not."""

from __future__ import annotations

from assetmgr.transfer.connection import Answer
from assetmgr.transfer.evidence import Span, content_range, validator


def part_fault(answer: Answer, start: int, end: int, size: int, valid: str) -> str | None:
    """What is wrong with an answer to a range request, or None: exactly those bytes, of that version."""
    if answer.status != 206:
        return f"HTTP {answer.status} to a range request"
    span = content_range(answer.headers)
    if span is None or span != Span(start, end, size):
        said = answer.headers.get("Content-Range", "")[:80]
        return f"Content-Range {said!r} to a request for bytes {start}-{end - 1}/{size}"
    if answer.length is not None and answer.length != end - start:
        return f"{answer.length} bytes for a range of {end - start}"
    found = validator(answer.headers)
    if valid and found and found != valid:
        return f"etag {found} where it was {valid}"
    return None


def is_whole_again(answer: Answer, size: int, valid: str) -> bool:
    """Whether an answer is the same whole file, where its first byte was missing and so no range was asked for."""
    return answer.status == 200 and answer.length in (None, size) and valid in ("", validator(answer.headers))


def has_changed(answer: Answer, size: int, valid: str) -> bool:
    """Whether an answer that is not the part says that the file is another now; else its server is bad at ranges."""
    found = validator(answer.headers)
    if answer.status == 200:
        return bool(valid) and found != valid
    if answer.status != 206:
        return True
    span = content_range(answer.headers)
    return (span is not None and span.size != size) or bool(valid and found and found != valid)


def gives_parts(answer: Answer) -> bool:
    """Whether a server can be asked for ranges of what it gave."""
    return answer.status == 206 or answer.headers.get("Accept-Ranges", "").strip().lower() == "bytes"
