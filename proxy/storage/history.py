"""Where the history rests: in a file of this machine, or in the Redis that machines share.

`history_sqlite.py` and `history_redis.py` pass one contract suite. To lose it costs the past of
the dashboard, and nothing else.
"""

from collections.abc import Mapping
from typing import Protocol, TypeVar

import msgspec
from msgspec import Struct, field

from proxy.happenings import Lately
from proxy.reports import AskedProject, HeldProject, LastError

Shape = TypeVar("Shape")

MOST_ERRORS = 50
"""How many are remembered."""
MOST_HELD = 2000
MOST_ASKED = 20_000
"""How many projects of a day are kept: those that were asked for most."""


class Entry(Struct, kw_only=True):
    """What one process adds."""

    minute: int
    """When it happened: the beginning of that minute, in seconds of the epoch."""
    counts: Mapping[str, float] = field(default_factory=dict)
    lately: Lately = field(default_factory=Lately)
    writer: str = ""
    """Names the process, where it counts its entries."""
    number: int = 0
    """Of this entry among those of its writer: the next one is greater."""


def decoded(told: bytes, shape: type[Shape]) -> Shape | None:
    """What was noted; None where another version wrote it, or nobody did."""
    try:
        return msgspec.json.decode(told, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


class HistoryStore(Protocol):
    """Keeps it. Every method raises `StoreUnavailable` where the store cannot be reached."""

    async def add(self, entry: Entry) -> None:
        """Add to what is there, all of it or nothing, and once.

        An entry that is added again, since nobody heard whether it was the first time, counts once
        where it has a writer, and nothing of that writer was added in between.
        """

    async def buckets(self, step: int, since: int) -> dict[int, dict[str, float]]:
        """The counts of each bucket of that step, from that moment (of the epoch) on."""

    async def most_asked(self, since: int, count: int) -> list[AskedProject]:
        """Those projects that were asked for most, since the day of that moment."""

    async def held(self) -> list[HeldProject]:
        """Those projects of which policy hides files, as it was noted last."""

    async def errors(self) -> list[LastError]:
        """What went wrong, the last one first."""

    async def prune(self, now: int) -> None:
        """Drop what is of no use any more."""

    async def close(self) -> None:
        """Let go of it."""
