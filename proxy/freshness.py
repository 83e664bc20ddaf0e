"""Stamp and now into a verdict: whether a kept page is fresh, and if not, may still be served.

Pure. Follows RFC 9111 §4.2 (freshness) and RFC 5861 §4 (stale-if-error), as a shared cache.
A verdict only says what holds; asking upstream is the catalog's work.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

DEFAULT_LIFETIME = timedelta(minutes=10)
"""How long a page is fresh when upstream does not say."""

LONGEST_LIFETIME = timedelta(days=365)

ABSENCE_LIFETIME = timedelta(seconds=60)
"""How long "there is no such project" is remembered: a new project must not wait long."""

_CLOCK_TOLERANCE = timedelta(seconds=5)


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

    @property
    def lifetime(self) -> timedelta:
        """How long the page is fresh from `fetched_at` on."""
        return self.fresh_until - self.fetched_at

    def age(self, now: datetime) -> timedelta:
        """RFC 9111 §4.2.3; never negative, whatever the clock did."""
        return max(timedelta(0), now - self.fetched_at)


def judge(stamp: Stamp | None, now: datetime, stale_if_error: timedelta) -> Verdict:
    """What the page with this stamp is good for at `now`."""
    if stamp is None:
        return Verdict.MISSING
    if stamp.fetched_at > now + _CLOCK_TOLERANCE:
        # The clock was set back. Its word on freshness is worth nothing, the page still is.
        return Verdict.STALE
    if now < stamp.fresh_until:
        return Verdict.FRESH
    return Verdict.STALE if now < stamp.fresh_until + stale_if_error else Verdict.TOO_OLD


def lifetime_of(headers: Mapping[str, str], page_ttl: timedelta | None) -> timedelta:
    """How long the page that came with these headers is fresh from now on.

    `page_ttl`, the setting, beats what upstream says.
    """
    if page_ttl is not None:
        return page_ttl
    directives = cache_control(headers.get("Cache-Control", ""))
    if directives.keys() & {"no-store", "no-cache", "private"}:
        return timedelta(0)
    # RFC 9111 §5.2.2.10: for a shared cache s-maxage counts before max-age.
    for name in ("s-maxage", "max-age"):
        if name in directives:
            seconds = _seconds(directives[name]) - _seconds(headers.get("Age", "0"))
            return min(LONGEST_LIFETIME, timedelta(seconds=max(0, seconds)))
    return DEFAULT_LIFETIME


def cache_control(header: str) -> dict[str, str]:
    """The directives of a Cache-Control header, lower-case names, arguments unquoted."""
    directives = {}
    for part in header.split(","):
        name, _, argument = part.strip().partition("=")
        if name:
            directives[name.strip().lower()] = argument.strip().strip('"')
    return directives


def _seconds(text: str) -> int:
    """RFC 9111 §1.2.2: digits; anything else counts as 0, the careful reading."""
    text = text.strip()
    return int(text[:10]) if text.isascii() and text.isdecimal() else 0
