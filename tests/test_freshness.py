"""Freshness as tables: (stamp, now) into a verdict, headers into a lifetime."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.freshness import (
    DEFAULT_LIFETIME,
    LONGEST_LIFETIME,
    Stamp,
    Verdict,
    cache_control,
    judge,
    stamp_of,
)

FETCHED = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
STAMP = Stamp(fetched_at=FETCHED, fresh_until=FETCHED + timedelta(seconds=600))
STALE_IF_ERROR = timedelta(days=30)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, Verdict.FRESH),
        (599.9, Verdict.FRESH),
        (600, Verdict.STALE),
        (600 + 30 * 86_400 - 1, Verdict.STALE),
        (600 + 30 * 86_400, Verdict.TOO_OLD),
        (-4, Verdict.FRESH),
        (-60, Verdict.STALE),
        (-10 * 365 * 86_400, Verdict.STALE),
    ],
)
def test_verdict(seconds: float, expected: Verdict) -> None:
    """Fresh, stale, too old; a clock that was set back makes no page live for ever."""
    now = FETCHED + timedelta(seconds=seconds)

    assert judge(STAMP, now, STALE_IF_ERROR) is expected


def test_nothing_is_missing() -> None:
    """No stamp, no page."""
    assert judge(None, FETCHED, STALE_IF_ERROR) is Verdict.MISSING


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Cache-Control": "max-age=600, public"}, 600),
        ({"Cache-Control": "max-age=600", "Age": "100"}, 500),
        ({"Cache-Control": "max-age=600", "Age": "1000"}, 0),
        ({"Cache-Control": "max-age=600, s-maxage=60"}, 60),
        ({"Cache-Control": 'Max-Age="90"'}, 90),
        ({"Cache-Control": "no-cache, max-age=600"}, 0),
        ({"Cache-Control": "no-store"}, 0),
        ({"Cache-Control": "private, max-age=600"}, 0),
        ({"Cache-Control": "max-age=-1"}, 0),
        ({"Cache-Control": "max-age=nonsense"}, 0),
        ({"Cache-Control": "max-age=" + "9" * 40}, 365 * 86_400),
        ({"Cache-Control": "public"}, DEFAULT_LIFETIME.total_seconds()),
        ({}, DEFAULT_LIFETIME.total_seconds()),
    ],
)
def test_lifetime(headers: dict[str, str], seconds: float) -> None:
    """What upstream says counts, as a shared cache reads it."""
    assert stamp_of(headers, None, FETCHED).left_when_fetched == timedelta(seconds=seconds)


def test_the_setting_beats_upstream() -> None:
    """`page_ttl` is what the operator wants, whatever upstream says."""
    headers = {"Cache-Control": "no-store", "Age": "60"}

    assert stamp_of(headers, timedelta(hours=1), FETCHED).lifetime == timedelta(hours=1)


def test_age_is_never_negative() -> None:
    """Whatever the clock did."""
    assert STAMP.age(FETCHED - timedelta(days=1)) == timedelta(0)
    assert STAMP.age(FETCHED + timedelta(seconds=5)) == timedelta(seconds=5)


def test_age_goes_on_from_what_upstream_said() -> None:
    """Also past the end of the page's lifetime, and of a year."""
    stamp = stamp_of({"Cache-Control": "max-age=600", "Age": "100"}, None, FETCHED)

    assert stamp.age(FETCHED + timedelta(seconds=5)) == timedelta(seconds=105)
    assert stamp.lifetime == timedelta(seconds=600)


_NAMES = ("Cache-Control", "Expires", "Date", "Age", "Vary")
_PIECES = (
    "max-age",
    "s-maxage",
    "no-cache",
    "=",
    ",",
    " ",
    '"',
    "\\",
    "9",
    "60",
    "-",
    "*",
    "\xe9",
    "\xb2",
)
_VALUES = st.lists(st.sampled_from(_PIECES)).map("".join) | st.sampled_from(
    (
        "Tue, 24 Nov 2026 13:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Mon, 01 Jan 0001 00:00:00 GMT",
    )
)


@given(st.dictionaries(st.sampled_from(_NAMES), _VALUES), st.booleans())
def test_whatever_upstream_says_makes_a_stamp(headers: dict[str, str], is_redirect: bool) -> None:
    """Fresh from now on, for a year at most."""
    stamp = stamp_of({} if is_redirect else headers, None, FETCHED, [headers])

    assert stamp.fetched_at == FETCHED
    assert FETCHED <= stamp.fresh_until <= FETCHED + LONGEST_LIFETIME
    assert timedelta(0) <= stamp.age(FETCHED) <= LONGEST_LIFETIME


def test_directives() -> None:
    """Names in lower case, arguments without their quotes, empty parts passed over."""
    assert cache_control(' Public,, Max-Age = "5" ,x') == {"public": "", "max-age": "5", "x": ""}
