"""How long a page of an index is fresh (RFC 9111 §4.2, §5)."""

import pytest
from aiohttp.test_utils import TestClient

from tests.conformance.asking import all_fresh_for, fresh_for, get
from tests.conformance.index import ScriptedIndex, date, said
from tests.fakes import Clock

HOUR = 3600
YEAR = 365 * 86_400
BY_ITSELF = 600


async def test_the_seconds_that_cache_control_gives(
    proxy: TestClient, index: ScriptedIndex
) -> None:
    """s-maxage before max-age, names in any case, also in quotes; no page lives for ever."""
    seconds = {
        ("Cache-Control: max-age=60",): 60,
        ("Cache-Control: MaX-aGe=60",): 60,
        ('Cache-Control: max-age="60"',): 60,
        ("Cache-Control: max-age=0060",): 60,
        ("Cache-Control:max-age=60",): 60,
        ("Cache-Control: ,, max-age=60 ,",): 60,
        ("Cache-Control: max-age = 60",): 60,
        ("Cache-Control: max-age=0",): 0,
        ("Cache-Control: max-age=7200, s-maxage=60",): 60,
        ("Cache-Control: s-maxage=7200, max-age=60",): 7200,
        ("Cache-Control: max-age=60", "Cache-Control: s-maxage=90"): 90,
        ("Cache-Control: max-age=2147483648",): YEAR,
        ("Cache-Control: max-age=99999999999999999999999",): YEAR,
        ("Cache-Control: max-age=1" + 30 * "0",): YEAR,
    }

    assert await all_fresh_for(proxy, index, seconds) == seconds


@pytest.mark.parametrize("name", ["max-age", "s-maxage"])
async def test_seconds_that_are_none(proxy: TestClient, index: ScriptedIndex, name: str) -> None:
    """Whatever is no row of digits makes a page that is stale at once."""
    wrong = (
        "-1",
        "-100",
        "+60",
        "6e1",
        "60.0",
        "0x3c",
        "a60",
        "60a",
        "6 0",
        "60;",
        "'60'",
        "",
        '""',
    )
    seconds = {(f"Cache-Control: {name}={argument}",): 0 for argument in wrong}

    assert await all_fresh_for(proxy, index, seconds) == seconds
    for nothing in ("", "=", "=6 0"):
        assert await fresh_for(proxy, index, f"Cache-Control: {name}{nothing}") == 0


async def test_the_first_of_two_counts(proxy: TestClient, index: ScriptedIndex) -> None:
    """On one line or on two."""
    seconds = {
        ("Cache-Control: max-age=60, max-age=7200",): 60,
        ("Cache-Control: max-age=7200, max-age=60",): 7200,
        ("Cache-Control: max-age=60", "Cache-Control: max-age=7200"): 60,
        ("Cache-Control: s-maxage=60, s-maxage=7200",): 60,
    }

    assert await all_fresh_for(proxy, index, seconds) == seconds


async def test_what_stands_in_quotes_is_no_directive(
    proxy: TestClient, index: ScriptedIndex
) -> None:
    """Also with a comma, and with a quote that is escaped."""
    seconds = {
        ('Cache-Control: note="max-age=7200", max-age=60',): 60,
        ('Cache-Control: max-age=60, note="max-age=7200"',): 60,
        ('Cache-Control: note="x, no-store, max-age=7200", max-age=60',): 60,
        (r'Cache-Control: note="say \", no-store, \"", max-age=60',): 60,
        ('Cache-Control: note="x, max-age=7200"',): BY_ITSELF,
    }

    assert await all_fresh_for(proxy, index, seconds) == seconds


async def test_expires_counts_where_there_is_no_max_age(
    proxy: TestClient, index: ScriptedIndex, clock: Clock
) -> None:
    """From Date on: the two clocks need not agree. Without one, from when it came."""
    expires, now = f"Expires: {date(clock, HOUR)}", f"Date: {date(clock)}"
    seconds = {
        (expires, now): HOUR,
        (expires,): HOUR,
        (expires, "Date: yesterday"): HOUR,
        (expires, f"Date: {date(clock, 600)}"): HOUR - 600,
        (f"Expires: {date(clock, 300)}", f"Date: {date(clock, 400)}"): 0,
        (f"Expires: {date(clock, -HOUR)}", now): 0,
        (f"Expires: {date(clock, -HOUR)}", f"Date: {date(clock, -2 * HOUR)}"): HOUR,
        (f"Expires: {date(clock)}", now): 0,
        (f"Expires: {date(clock, 3 * YEAR)}", now): YEAR,
        (expires, now, "Cache-Control: public"): HOUR,
        (expires, now, "Cache-Control: max-age=60"): 60,
        (expires, now, "Cache-Control: s-maxage=60"): 60,
        (expires, now, "Cache-Control: max-age=0"): 0,
        (expires, now, "Cache-Control: no-cache"): 0,
        (f"Expires: {date(clock, -HOUR)}", now, "Cache-Control: max-age=60"): 60,
        ("Expires: 0", now, "Cache-Control: max-age=60"): 60,
    }

    assert await all_fresh_for(proxy, index, seconds) == seconds


async def test_the_three_forms_of_a_date(
    proxy: TestClient, index: ScriptedIndex, clock: Clock
) -> None:
    """In any case."""
    now = f"Date: {date(clock)}"  # Tue, 24 Nov 2026 12:00:00 GMT
    seconds = {
        ("Expires: Tue, 24 Nov 2026 13:00:00 GMT", now): HOUR,
        ("Expires: tue, 24 NOV 2026 13:00:00 gmt", now): HOUR,
        ("Expires: Tuesday, 24-Nov-26 13:00:00 GMT", now): HOUR,
        ("Expires: Tue Nov 24 13:00:00 2026", now): HOUR,
        ("Expires: Sunday, 06-Nov-94 08:49:37 GMT", now): 0,
        ("Expires: Wed Dec  2 12:00:00 2026", now): 8 * 86_400,
    }

    assert await all_fresh_for(proxy, index, seconds) == seconds


async def test_an_expires_that_is_no_date_is_over(
    proxy: TestClient, index: ScriptedIndex, clock: Clock
) -> None:
    """0 above all; and a zone other than GMT."""
    wrong = (
        "0",
        "-1",
        "",
        "never",
        "2026-11-24T13:00:00Z",
        "Tue, 24 Nov 2026 13:00:00",
        "Tue, 24 Nov 2026 13:00:00 UTC",
        "Tue, 24 Nov 2026 13:00:00 +0000",
        "Tue, 24 Nov 2026 13:00:00 GMT+1",
        "Tue, 24 Foo 2026 13:00:00 GMT",
        "Tue, 34 Nov 2026 13:00:00 GMT",
        "Tue, 24 Nov 2026 25:00:00 GMT",
        "Tue, 24 Nov 99999 13:00:00 GMT",
        f"{date(clock, HOUR)}, {date(clock, HOUR)}",
    )
    seconds = {(f"Expires: {text}", f"Date: {date(clock)}"): 0 for text in wrong}

    assert await all_fresh_for(proxy, index, seconds) == seconds
    two_lines = (f"Expires: {date(clock, HOUR)}", f"Expires: {date(clock, 2 * HOUR)}")
    assert await fresh_for(proxy, index, *two_lines) == 0


async def test_the_age_of_a_page_is_taken_off(
    proxy: TestClient, index: ScriptedIndex, clock: Clock
) -> None:
    """The first number counts; what is none is as if it were not there."""
    for_an_hour = "Cache-Control: max-age=3600"
    seconds = {
        (for_an_hour, "Age: 0"): HOUR,
        (for_an_hour, "Age: 600"): HOUR - 600,
        (for_an_hour, "Age: 3600"): 0,
        (for_an_hour, "Age: 7200"): 0,
        (for_an_hour, "Age: 99999999999999999999999"): 0,
        (for_an_hour, "Age: 600, 0"): HOUR - 600,
        (for_an_hour, "Age: 600", "Age: 0"): HOUR - 600,
        (for_an_hour, "Age: 0", "Age: 7200"): HOUR,
        (for_an_hour, "Age: old"): HOUR,
        (for_an_hour, "Age: -7200"): HOUR,
        (for_an_hour, "Age: 7200.0"): HOUR,
        (for_an_hour, "Age:"): HOUR,
        (f"Expires: {date(clock, HOUR)}", f"Date: {date(clock)}", "Age: 600"): HOUR - 600,
    }

    assert await all_fresh_for(proxy, index, seconds) == seconds


async def test_the_clock_of_the_index_makes_nothing_older(
    proxy: TestClient, index: ScriptedIndex, clock: Clock
) -> None:
    """One that is behind ours, or ours that is ahead, does not turn the cache off."""
    for seconds in (-10 * YEAR, -HOUR, 0, HOUR, 10 * YEAR):
        lines = (f"Date: {date(clock, seconds)}", "Cache-Control: max-age=60")
        assert await fresh_for(proxy, index, *lines) == 60
    assert await fresh_for(proxy, index, "Date: 0", "Cache-Control: max-age=60") == 60


async def test_a_page_of_which_nothing_is_said(proxy: TestClient, index: ScriptedIndex) -> None:
    """Ten minutes from when it came, however old it was then: a CDN's Age is often all there is."""
    seconds = {
        (): BY_ITSELF,
        ("Age: 100",): BY_ITSELF,
        ("Age: 86400",): BY_ITSELF,
        ("Cache-Control:",): BY_ITSELF,
        ("Cache-Control: public",): BY_ITSELF,
        ("Last-Modified: Tue, 01 Jan 2019 00:00:00 GMT",): BY_ITSELF,
        ("Last-Modified: Tue, 24 Nov 2026 11:59:59 GMT",): BY_ITSELF,
    }

    assert await all_fresh_for(proxy, index, seconds) == seconds


async def test_the_index_is_asked_when_the_time_is_over_and_not_before(
    proxy: TestClient, index: ScriptedIndex, clock: Clock
) -> None:
    """To the second, and from the age on that the page had when it came."""
    index.says(said("Cache-Control: max-age=60", "Age: 20"))
    await get(proxy)
    clock.advance(seconds=39)

    assert (await get(proxy)).headers["Cache-Status"] == "wheelkeep; hit; ttl=1"
    assert len(index.questions()) == 1
    clock.advance(seconds=1)
    assert (await get(proxy)).headers["Cache-Status"].startswith("wheelkeep; fwd=miss")
    assert len(index.questions()) == 2
