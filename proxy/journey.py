"""How an answer came to be: what `Cache-Status`, the access log and the metrics tell.

Pure. Read first: RFC 9211 (the Cache-Status header).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

CACHE_NAME = "wheelkeep"


class Outcome(StrEnum):
    """What the cache did; the one word for it, everywhere."""

    HIT = "hit"  # kept and fresh
    REVALIDATED = "revalidated"  # kept, and upstream said that it still holds
    MISS = "miss"  # fetched from upstream
    STALE = "stale"  # kept and out of date, served because upstream failed
    DENIED = "denied"  # a policy, or a missing token, says no
    ERROR = "error"  # no answer could be had
    NONE = "none"  # nothing that is cached


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """The facts of one answer."""

    outcome: Outcome = Outcome.NONE
    ttl: timedelta | None = None
    """How long the answer stays fresh; negative for a stale one."""
    forward_status: int | None = None
    """What upstream answered, where it was asked."""
    stored: bool = False
    collapsed: bool = False
    """Whether the question to upstream was another request's already."""
    index: str | None = None

    @classmethod
    def hit(cls, fresh_until: datetime, index: str | None, now: datetime) -> Self:
        """That of who finds the answer kept, and fresh until then."""
        return cls(outcome=Outcome.HIT, ttl=fresh_until - now, index=index)

    @property
    def cache_status(self) -> str:
        """The value of the Cache-Status header."""
        parts = [CACHE_NAME]
        match self.outcome:
            case Outcome.HIT | Outcome.STALE:
                parts.append("hit")
            case Outcome.REVALIDATED:
                parts.append("fwd=stale")
            case Outcome.MISS | Outcome.ERROR:
                parts.append("fwd=miss")
            case Outcome.DENIED | Outcome.NONE:
                pass
        if self.outcome is not Outcome.STALE and self.forward_status is not None:
            parts.append(f"fwd-status={self.forward_status}")
        if self.ttl is not None:
            parts.append(f"ttl={round(self.ttl.total_seconds())}")
        if self.stored:
            parts.append("stored")
        if self.collapsed:
            parts.append("collapsed")
        return "; ".join(parts)


def read_cache_status(values: Iterable[str]) -> frozenset[str] | None:
    """What a wheelkeep says in the Cache-Status headers of an answer: `hit`, `fwd=miss`, `ttl=598`.

    None where only other caches say something, or nobody does (RFC 9211 §2). Ours has no parameter
    whose value holds a comma or a semicolon.
    """
    for member in ",".join(values).split(","):
        name, *parameters = (part.strip() for part in member.split(";"))
        if name == CACHE_NAME:
            return frozenset(parameters)
    return None
