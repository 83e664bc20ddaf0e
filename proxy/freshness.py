"""Stamp and now into a verdict: whether a kept page is fresh, and if not, may still be served.

Pure. Follows RFC 9111 §4.2 (freshness), §5 (its headers) and RFC 5861 §4 (stale-if-error), as a
shared cache. A verdict only says what holds; asking upstream is the catalog's work.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from urllib.request import parse_http_list

DEFAULT_LIFETIME = timedelta(minutes=10)
"""How long a page is fresh from when it came, when upstream does not say.

However old it was then (RFC 9111 §4.2.2 leaves that to us): a server that says only Age, as one
with nothing but files behind a CDN does, would be asked each time.
"""

LONGEST_LIFETIME = timedelta(days=365)

ABSENCE_LIFETIME = timedelta(seconds=60)
"""How long "there is no such project" is remembered: a new project must not wait long."""

CLOCK_TOLERANCE = timedelta(seconds=5)
"""By how much a clock may be set back without a word."""
_MOST_DIGITS = 12
"""Of seconds: there are no more in all time."""
_NEVER_FRESH = frozenset({"no-cache", "no-store", "private"})
# RFC 9110 §5.6.7: the three forms that a recipient takes. §4.2 of RFC 9111: in any case, GMT alone.
_DATE_FORMS = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y")


class Verdict(Enum):
    """What a kept page is good for at a moment."""

    FRESH = "fresh"  # serve it, ask nobody
    STALE = "stale"  # ask upstream; serve it if upstream fails
    TOO_OLD = "too old"  # ask upstream; its failure is the answer
    MISSING = "missing"  # there is nothing


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a page was last known to be right, and until when that is taken for granted."""

    fetched_at: datetime
    fresh_until: datetime
    age_when_fetched: timedelta = timedelta(0)
    """How long it had been in caches between the index and here."""

    @property
    def left_when_fetched(self) -> timedelta:
        """How long the page is fresh from `fetched_at` on."""
        return self.fresh_until - self.fetched_at

    @property
    def lifetime(self) -> timedelta:
        """How long the page is fresh from its making on (RFC 9111 §4.2.1).

        None at all where it came stale, however old it was: not all who are told look at its age.
        """
        left = self.left_when_fetched
        return self.age_when_fetched + left if left else left

    def age(self, now: datetime) -> timedelta:
        """RFC 9111 §4.2.3; never negative, whatever the clock did."""
        return self.age_when_fetched + max(timedelta(0), now - self.fetched_at)


def judge(stamp: Stamp | None, now: datetime, stale_if_error: timedelta) -> Verdict:
    """What the page with this stamp is good for at `now`."""
    if stamp is None:
        return Verdict.MISSING
    if stamp.fetched_at > now + CLOCK_TOLERANCE:
        # The clock was set back. Its word on freshness is worth nothing, the page still is.
        return Verdict.STALE
    if now < stamp.fresh_until:
        return Verdict.FRESH
    return Verdict.STALE if now < stamp.fresh_until + stale_if_error else Verdict.TOO_OLD


def stamp_of(
    headers: Mapping[str, str],
    page_ttl: timedelta | None,
    now: datetime,
    passed: Iterable[Mapping[str, str]] = (),
) -> Stamp:
    """The stamp of a page that comes with these headers now.

    Lines of one name are one line in them (RFC 9110 §5.3). `page_ttl`, the setting, beats what
    upstream says. `passed` are the headers of the redirects on the way: none of them may be
    followed for longer than it says itself.
    """
    if page_ttl is not None:
        return Stamp(fetched_at=now, fresh_until=now + page_ttl)
    own = _left(headers, now)
    age, left = (timedelta(0), DEFAULT_LIFETIME) if own is None else (_age(headers), own)
    on_the_way = (_left(redirect, now) for redirect in passed)
    left = min([left, *(one for one in on_the_way if one is not None)])
    fresh_until = now + max(timedelta(0), left)
    return Stamp(fetched_at=now, fresh_until=fresh_until, age_when_fetched=age)


def _left(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """How long it is fresh from now on; None where upstream does not say."""
    lifetime = _lifetime(headers, now)
    return None if lifetime is None else lifetime - _age(headers)


def _lifetime(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """RFC 9111 §4.2.1; None where upstream does not say."""
    directives = cache_control(headers.get("Cache-Control", ""))
    never = _NEVER_FRESH & directives.keys()
    # §5.2.2.3: whoever knows what the status means may store it.
    if "must-understand" in directives:
        never -= {"no-store"}
    # §4.1: nobody can tell whom else it would suit.
    if never or "*" in map(str.strip, headers.get("Vary", "").split(",")):
        return timedelta(0)
    # §5.2.2.10: for a shared cache s-maxage counts before max-age.
    for name in ("s-maxage", "max-age"):
        if name in directives:
            return min(LONGEST_LIFETIME, timedelta(seconds=_seconds(directives[name]) or 0))
    if (expires := headers.get("Expires")) is None:
        return None
    # §5.3: what is no date is in the past, "0" above all.
    end, begin = _date(expires), _date(headers.get("Date", "")) or now
    return timedelta(0) if end is None else max(timedelta(0), min(LONGEST_LIFETIME, end - begin))


def _age(headers: Mapping[str, str]) -> timedelta:
    """What Age says: the first of several counts, and one that is none does not (§5.1).

    Date alone makes nothing older. That would take our clock and upstream's to agree (§4.2.3), and
    one that is ahead by an hour would turn the cache off.
    """
    seconds = _seconds(headers.get("Age", "").partition(",")[0])
    return min(LONGEST_LIFETIME, timedelta(seconds=seconds or 0))


def cache_control(header: str) -> dict[str, str]:
    """The directives of a Cache-Control header, lower-case names, arguments unquoted.

    The first of several alike counts (RFC 9111 §4.2.1). A comma in quotes parts nothing.
    """
    directives: dict[str, str] = {}
    for part in parse_http_list(header):
        name, _, argument = part.partition("=")
        if name := name.strip().lower():
            directives.setdefault(name, argument.strip().strip('"'))
    return directives


def _seconds(text: str) -> int | None:
    """RFC 9111 §1.2.2: digits, and nothing else."""
    text = text.strip()
    if not (text.isascii() and text.isdecimal()):
        return None
    return int(text.lstrip("0")[:_MOST_DIGITS] or 0)


def _date(text: str) -> datetime | None:
    for form in _DATE_FORMS:
        with suppress(ValueError):
            return datetime.strptime(text.strip(), form).replace(tzinfo=UTC)
    return None
