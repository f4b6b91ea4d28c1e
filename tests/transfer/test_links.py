"""The Link header: every legal form is understood, and what is none is never taken for the last page."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr.transfer.links import next_link

BASE = "http://hub.example/api/tree?x=1"
THERE = "http://hub.example/t?cursor=a,b;c=1"


@pytest.mark.parametrize(
    "header",
    [
        f'<{THERE}>; rel="next"',
        f"<{THERE}>;rel=next",
        f"<{THERE}>; rel='next'",
        f"<{THERE}> ; REL = NEXT ;",
        f'< {THERE} >; rel="next"',
        f'<{THERE}>; rel="prefetch next"',
        f'<{THERE}>; title="a, <b>; rel=x \\" "; rel="next"',
        f'<{THERE}>; crossorigin; rel="next"; rel="last"',
        f'<http://hub.example/>; rel="first", <{THERE}>; rel="next"',
        f'<http://hub.example/>; rel="nextest",, <{THERE}>; rel="next",',
        f'<{THERE}>; rel="next", <{THERE}>; rel=next',
        '</t?cursor=a,b;c=1>; rel="next"',
        '<../t?cursor=a,b;c=1>; rel="next"',
    ],
)
def test_the_next_page_is_found_in_every_form_of_the_header(header: str) -> None:
    assert next_link(header, BASE) == THERE


@pytest.mark.parametrize(
    "header",
    ["", "  ", ",", f"<{THERE}>", f'<{THERE}>; rel="last next-to-last"', f'<{THERE}>; title="rel=next"; rel=prev'],
)
def test_a_header_without_a_next_page_names_none(header: str) -> None:
    assert next_link(header, BASE) is None


@pytest.mark.parametrize(
    "header",
    [
        THERE,
        f"<{THERE}",
        f'<{THERE}>; rel="next',
        f"<{THERE}> rel=next",
        f"<{THERE}>; rel=next more",
        'rel="next"',
        "<http://[::1>; rel=next",
        "</a>; rel=next, </b>; rel=next",
    ],
)
def test_what_cannot_be_read_is_never_the_last_page(header: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        next_link(header, BASE)


@given(st.text("<>;,=\"'\\ relnxt/", max_size=60))
def test_no_header_is_a_crash(header: str) -> None:
    with contextlib.suppress(ValueError):
        next_link(header, BASE)
