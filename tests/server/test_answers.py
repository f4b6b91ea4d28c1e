"""Which part of a file is given, and how an answer begins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr.server.answers import Answer, Part, head_of, part_of, refusal
from assetmgr.server.requests import RefusedError, Request

ETAG = '"abc"'
WHOLE = Part(200, 0, 100)


@pytest.mark.parametrize(
    ("headers", "part"),
    [
        ({}, WHOLE),
        ({"range": "bytes=0-0"}, Part(206, 0, 1)),
        ({"range": "bytes=10-"}, Part(206, 10, 100)),
        ({"range": "bytes=-10"}, Part(206, 90, 100)),
        ({"range": "bytes=-1000"}, Part(206, 0, 100)),
        ({"range": "bytes=90-1000"}, Part(206, 90, 100)),
        ({"range": "bytes=00-09"}, Part(206, 0, 10)),
        ({"range": f"bytes=5-{'9' * 5000}"}, Part(206, 5, 100)),
        ({"range": "bytes=100-"}, Part(416, 0, 0)),
        ({"range": "bytes=-0"}, Part(416, 0, 0)),
        ({"range": f"bytes={'9' * 5000}-"}, Part(416, 0, 0)),
        # What is no range, or several, is answered by the whole.
        ({"range": "bytes=9-1"}, WHOLE),
        ({"range": "bytes=0-1,5-6"}, WHOLE),
        ({"range": "bytes=" + ",".join(["0-"] * 500)}, WHOLE),
        ({"range": "bytes=-"}, WHOLE),
        ({"range": "bytes=a-b"}, WHOLE),
        ({"range": "bytes=\u0661-\u0662"}, WHOLE),
        ({"range": "rows=0-1"}, WHOLE),
        # A part is only given of what the client has the rest of.
        ({"range": "bytes=5-", "if-range": ETAG}, Part(206, 5, 100)),
        ({"range": "bytes=5-", "if-range": '"other"'}, WHOLE),
        ({"range": "bytes=5-", "if-range": f"W/{ETAG}"}, WHOLE),
        ({"range": "bytes=5-", "if-range": "Tue, 24 Nov 2026 04:38:08 GMT"}, WHOLE),
        ({"if-none-match": ETAG}, Part(304, 0, 0)),
        ({"if-none-match": f'"x", W/{ETAG}'}, Part(304, 0, 0)),
        ({"if-none-match": "*", "range": "bytes=0-1"}, Part(304, 0, 0)),
        ({"if-none-match": '"x"'}, WHOLE),
        ({"if-match": '"x"'}, Part(412, 0, 0)),
        ({"if-match": f'"x", {ETAG}'}, WHOLE),
    ],
)
def test_a_condition_and_a_range_decide_what_is_given(headers: dict[str, str], part: Part) -> None:
    assert part_of("GET", headers, 100, ETAG) == part
    if part.status in (206, 416):
        assert part_of("HEAD", headers, 100, ETAG) == WHOLE


@given(st.text(max_size=40), st.text(max_size=20), st.integers(0, 10**12))
def test_no_range_leads_out_of_the_file(asked: str, condition: str, size: int) -> None:
    for text in (asked, f"bytes={asked}"):
        part = part_of("GET", {"range": text, "if-none-match": condition}, size, ETAG)
        assert 0 <= part.start <= part.end <= size


def test_an_answer_s_words_can_add_no_header() -> None:
    answer = refusal(RefusedError(404, "no 'a\r\nX: 1' \u2028 here \u00e9", "EntryNotFound"))
    head = head_of(Request("GET", "/", {}), answer, Part(404, 0, answer.size), keeps=False).decode("ascii")
    assert head.count("\r\n") == len([line for line in head.split("\r\n") if ": " in line or "HTTP/" in line]) + 1
    assert "\r\nX: 1" not in head
    assert "Connection: close" in head


def test_an_empty_file_is_given_whole() -> None:
    assert part_of("GET", {"range": "bytes=0-"}, 0, ETAG).status == 416
    assert part_of("GET", {}, 0, ETAG) == Part(200, 0, 0)
    assert Answer(200, body=b"abc").size == 3
