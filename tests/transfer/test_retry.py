"""What is tried again, and when: patient with a busy server, bounded whatever it asks."""

from __future__ import annotations

import email.utils
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr.transfer.limits import Limits
from assetmgr.transfer.retry import PASSING, delay, retry_after, window_end

NOW = 1_800_000_000.0


def date(offset: float) -> str:
    return email.utils.formatdate(NOW + offset, usegmt=True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("7", 7.0),
        (" 120 ", 120.0),
        ("007", 7.0),
        (date(30), 30.0),
        (date(0), 0.0),
        (date(-500), 0.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("-5", None),
        ("1.5", None),
        ("+5", None),
        ("5s", None),
        ("1e3", None),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("\u0665", None),
        ("\u00b2", None),
        ("Mon, 99 Foo 2026 99:99:99 GMT", None),
        ("\0", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_garbage_is_nothing(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


@given(st.text(max_size=40) | st.integers().map(str) | st.integers(-(10**9), 10**9).map(date))
def test_whatever_a_server_asks_is_a_finite_wait_or_nothing(value: str) -> None:
    seconds = retry_after(value, NOW)
    assert seconds is None or (seconds >= 0 and not math.isnan(seconds))


@given(st.integers(0, 10**400).map(str))
def test_a_huge_number_is_no_crash(value: str) -> None:
    assert delay(1, value, Limits(), now=NOW) in (None, *map(float, range(301)))


def test_the_attempts_are_counted() -> None:
    limits = Limits(attempts=3)
    assert [delay(attempt, None, limits) is None for attempt in (1, 2, 3, 4)] == [False, False, True, True]
    assert delay(3, "0", limits) is None
    assert delay(1, "0", Limits(attempts=1)) is None


@pytest.mark.parametrize(
    ("asked", "wait"),
    [("0", 0.0), ("1", 1.0), ("120", 120.0), ("121", None), ("3600", None), (date(60), 60.0), (date(3600), None)],
)
def test_a_server_is_obeyed_up_to_the_limit_and_not_asked_again_beyond(asked: str, wait: float | None) -> None:
    assert delay(1, asked, Limits(retry_after_most=120), now=NOW) == wait


@given(st.integers(1, 200), st.floats(0, 10), st.floats(0, 100))
def test_without_an_order_the_wait_doubles_with_jitter_up_to_the_most(attempt: int, first: float, most: float) -> None:
    limits = Limits(attempts=1000, backoff=first, backoff_most=most)
    wait = delay(attempt, None, limits, now=NOW)
    assert wait is not None
    full = min(first * 2 ** (attempt - 1), most)
    assert full / 2 <= wait <= full


def test_garbage_in_retry_after_falls_back_to_the_usual_wait() -> None:
    wait = delay(1, "soon", Limits(backoff=2.0), now=NOW)
    assert wait is not None
    assert 1.0 <= wait <= 2.0


@pytest.mark.parametrize("status", [200, 301, 304, 400, 401, 403, 404, 410, 416, 451, 501, 505])
def test_an_answer_is_an_answer(status: int) -> None:
    assert status not in PASSING


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(status: int) -> None:
    assert status in PASSING


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ('"api";r=0;t=55', "55"),
        ('"resolvers"; r=0; t=300', "300"),
        ('"api";r=12;t=55', ""),
        ('"api";r=0', ""),
        ('"api";t=55', ""),
        ('"api";r=0;t=soon', ""),
        ('"api";r=01;t=55', ""),
        ('"api"; r=0; t=2, "pages";r=9;t=900', "2"),
        ('"pages";r=9;t=900, "api";r=0;t=2', "2"),
        ('"api";r=0;t=9,"pages";t=10;r=0', "10"),
        ('"api";r=0, "pages";r=9;t=900', ""),
        ('"a, b;r=0;t=5";r=1;t=9', ""),
        ("", ""),
    ],
)
def test_a_server_that_counts_requests_says_when_it_counts_anew(said: str, seconds: str) -> None:
    assert window_end({"RateLimit": said}) == seconds
