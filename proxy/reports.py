"""What the JSON endpoints for operators say: one shape for server, dashboard and commands.

Moments are in UTC, as RFC 3339 writes them. Sizes are bytes, durations seconds.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta, Struct, field


class Span(StrEnum):
    """How far back a history goes."""

    HOUR = "hour"  # by the minute
    DAY = "day"  # by the quarter of an hour
    WEEK = "week"  # by the hour
    MONTH = "month"  # thirty days, by six hours


class Health(Struct, frozen=True, kw_only=True):
    """`/healthz`."""

    status: Literal["ok"] = "ok"


class Readiness(Struct, frozen=True, kw_only=True):
    """`/readyz`: what works of that which answers rest on."""

    status: Literal["ok", "degraded", "unavailable"]
    checks: dict[str, str]
    """`ok` or what is wrong: with `blobs`, `pages`, `objects` and each index."""


class Purged(Struct, frozen=True, kw_only=True):
    """What was forgotten."""

    purged: int
    """Pages."""


class Stats(Struct, frozen=True, kw_only=True):
    """`/stats`: all workers of this machine, since its server was started."""

    version: str
    started_at: datetime
    workers: int
    """How many have counted something of this."""
    requests: int
    hits: int
    """Pages and files answered from the cache: fresh, revalidated (a 304) or stale."""
    misses: int
    revalidated: int
    stale: int
    denied: int
    errors: int
    bytes_served: int
    """Of bodies sent to clients."""
    bytes_saved: int
    """Of these, sent from the cache."""
    bytes_from_upstream: int
    upstream_requests: int
    pages: int | None
    """Kept; None where the page store cannot be reached."""
    blobs: int
    """Files on this machine's disk."""
    blob_bytes: int
    max_bytes: int
    """The bound of `blob_bytes`: `cache.max_size`."""


class Sums(Struct, frozen=True, kw_only=True):
    """What happened in some stretch of time, on all machines that share the page store."""

    requests: int = 0
    """For pages, files, metadata and documents: what a cache is asked for."""
    hits: int = 0
    misses: int = 0
    stale: int = 0
    """Of the hits: those out of date, since the index failed."""
    denied: int = 0
    errors: int = 0
    bytes_served: int = 0
    bytes_from_upstream: int = 0
    bytes_saved: int = 0
    """Sent to clients and not asked of an index."""
    upstream_requests: int = 0
    upstream_errors: int = 0
    seconds_saved: float = 0.0
    """By how much longer clients would have waited for the indexes: an estimate."""


class Point(Sums, frozen=True, kw_only=True):
    """One step of a history, which begins `at`."""

    at: datetime


class History(Struct, frozen=True, kw_only=True):
    """`/stats/history?span=day`."""

    span: Span
    step_seconds: int
    points: list[Point]
    """In the order of time, without gaps; the last one goes on."""
    total: Sums
    """Of all points."""


class LastError(Struct, frozen=True, kw_only=True):
    """Something that went wrong; alike ones in a row are one, counted."""

    at: datetime
    """The last time."""
    what: str
    """The words of the log: `fill failed`, `upstream failed`, `store unavailable`."""
    problem: str
    index: str | None = None
    project: str | None = None
    count: int = 1


class IndexReport(Struct, frozen=True, kw_only=True):
    """One index, in the order of priority."""

    name: str
    url: str
    health: str
    """`ok`, `failing` (not asked every time, see `retry_in_seconds`), `offline` or `unknown`."""
    projects: list[str]
    """The patterns of what it may answer for."""
    requests: int
    """In the last hour, as all that follows."""
    errors: int
    latency_seconds: float | None
    """The mean until an answer's head; None: it was not asked."""
    latencies: list[float | None]
    """The mean of each of the last 60 minutes, oldest first."""
    bytes_received: int
    retry_in_seconds: float | None = None
    problem: str | None = None
    """The last one, where it is failing."""


class AskedProject(Struct, frozen=True, kw_only=True):
    """A project that was asked for."""

    project: str
    requests: int
    bytes_served: int


class HeldProject(Struct, frozen=True, kw_only=True):
    """A project of which policy hides files, as it was when it was last asked for."""

    project: str
    files: int
    rules: dict[str, int]
    """How many files each rule hides, by the rule's name."""
    until: datetime | None
    """When the next file will be free; None: no file becomes free by waiting."""


class Overview(Struct, frozen=True, kw_only=True):
    """`/stats/overview`: all that the dashboard shows beside the history."""

    stats: Stats
    indexes: list[IndexReport]
    most_asked: list[AskedProject]
    """In the last week; the first is the one asked most."""
    held: list[HeldProject]
    last_errors: list[LastError]
    """The last one first."""


class FoundProjects(Struct, frozen=True, kw_only=True):
    """`/search?q=…`: cached projects whose name contains that.

    The one that is called so comes first, then those that begin so, each in the order of names.
    """

    projects: list[str]
    is_whole: bool
    """Whether these are all."""


class ProjectFile(Struct, frozen=True, kw_only=True):
    """One file of a project."""

    filename: str
    version: str | None
    index: str
    size: int | None
    uploaded_at: datetime | None
    is_here: bool
    """Whether its bytes are on this machine's disk."""
    yanked: bool
    rule: str | None
    """The rule that hides it; None: it is shown."""
    reason: str | None
    until: datetime | None


class ProjectReport(Struct, frozen=True, kw_only=True):
    """`/project/{project}` as JSON. Newest version first."""

    project: str
    index: str
    fetched_at: datetime | None
    latest_version: str | None
    status: str | None
    """PEP 792: `archived`, `quarantined`, …"""
    files: list[ProjectFile]
    here_bytes: int
    """Of its files on this machine's disk."""
    may_purge: bool
    """Whether whoever asks may purge it."""


Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""In UTC, to the second."""


class WhyStatus(Struct, frozen=True, kw_only=True):
    """What an index says of a project (PEP 792)."""

    status: str | None
    reason: str | None


class WhyFile(Struct, frozen=True, kw_only=True):
    """What policy makes of one file now."""

    filename: str
    sha256: str | None
    index: str
    upload_time: str | None = field(name="upload-time")
    """As the index says it."""
    shown: bool
    rule: str | None
    """The rule that hides it."""
    reason: str | None
    until: Moment | None
    """When it will be shown; None: waiting does not help."""


class Why(Struct, frozen=True, kw_only=True):
    """`/why/{project}`."""

    project: str
    index: str
    """The one that answers for it."""
    reserved_for: list[str]
    """The indexes that have the name by a pattern that says more than `*`."""
    status: WhyStatus | None
    checked_at: Moment
    files: list[WhyFile]
