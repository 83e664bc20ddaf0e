"""The tables of `wheelkeep stats`."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from proxy.commands.output import table
from proxy.inventory import Inventory
from proxy.reports import History, IndexReport, Overview, Span, Stats, Sums
from proxy.words import moment_in_words, seconds_in_words, size_in_words

if TYPE_CHECKING:  # loaded when something is drawn
    from rich.console import Group, RenderableType
    from rich.table import Table

_BARS = " ▁▂▃▄▅▆▇█"
_LONGEST_LINE = 50
_SHOWN_PROJECTS = 10
_SHOWN_ERRORS = 5
_SPANS = {
    Span.HOUR: "the last hour",
    Span.DAY: "the last day",
    Span.WEEK: "the last week",
    Span.MONTH: "the last 30 days",
}
_STYLES = {"ok": "green", "failing": "red", "offline": "yellow", "unknown": "dim"}


@dataclass(frozen=True, slots=True)
class ServerStats:
    """What a server said of itself; `url` is where it was asked."""

    url: str
    overview: Overview
    history: History


@dataclass(frozen=True, slots=True)
class CacheStats:
    """A cache whose server was not asked, or does not answer (`problem`)."""

    inventory: Inventory
    problem: str | None


def drawn(report: ServerStats) -> "Group":
    """All tables of a server."""
    from rich.console import Group  # noqa: PLC0415

    return Group(*_parts(report))


def drawn_inventory(found: Inventory) -> "Table":
    """The table of a cache without a server."""
    made = table("", "")
    made.add_row("Cache", found.dir)
    made.add_row("Files", _room(found.files, found.file_bytes, found.max_bytes))
    where = " in Redis" if found.pages_in == "redis" else ""
    pages = "cannot be reached" if found.pages is None else f"{found.pages:,}"
    made.add_row("Pages", f"{pages}{where}")
    return made


def _parts(report: ServerStats) -> "Iterator[RenderableType]":
    overview, stats = report.overview, report.overview.stats
    up = (datetime.now(UTC) - stats.started_at).total_seconds()
    workers = f", {stats.workers} workers" if stats.workers > 1 else ""
    yield _text(f"wheelkeep {stats.version} at {report.url}, up {seconds_in_words(up)}{workers}")
    yield ""
    yield _sums(stats, report.history)
    if line := _line([point.requests for point in report.history.points]):
        yield _text(f"Requests of {_SPANS[report.history.span]}  {line}")
    yield ""
    yield _kept(stats)
    yield ""
    yield _indexes(overview.indexes)
    if overview.most_asked:
        yield ""
        yield _most_asked(overview)
    if overview.held:
        yield ""
        yield _held(overview)
    if overview.last_errors:
        yield ""
        yield _last_errors(overview)


def _sums(stats: Stats, history: History) -> "Table":
    total = history.total
    now, then = "since the start", f"in {_SPANS[history.span]}"
    made = table("", now, then, right=(now, then))
    made.add_row("Requests", f"{stats.requests:,}", f"{total.requests:,}")
    made.add_row("Hit rate", _rate(stats.hits, stats.misses), _rate(total.hits, total.misses))
    made.add_row("Stale", f"{stats.stale:,}", f"{total.stale:,}")
    made.add_row("Denied", f"{stats.denied:,}", f"{total.denied:,}")
    made.add_row("Errors", f"{stats.errors:,}", f"{total.errors:,}")
    served, received = stats.bytes_served, stats.bytes_from_upstream
    made.add_row("Sent", size_in_words(served), size_in_words(total.bytes_served))
    made.add_row("Received", size_in_words(received), size_in_words(total.bytes_from_upstream))
    saved = size_in_words(stats.bytes_saved), size_in_words(total.bytes_saved)
    made.add_row("Saved", *saved, style="bold")
    made.add_row("  requests to indexes", _spared(stats), _spared(total))
    made.add_row("  waiting of clients", "", seconds_in_words(total.seconds_saved))
    return made


def _spared(counted: Stats | Sums) -> str:
    """How many more were answered than an index was asked."""
    return f"{max(0, counted.hits + counted.misses - counted.upstream_requests):,}"


def _rate(hits: int, misses: int) -> str:
    return f"{100 * hits / (hits + misses):.1f} %" if hits + misses else "-"


def _kept(stats: Stats) -> "Table":
    made = table("", "")
    made.add_row("Files", _room(stats.blobs, stats.blob_bytes, stats.max_bytes))
    made.add_row("Pages", "cannot be reached" if stats.pages is None else f"{stats.pages:,}")
    return made


def _room(files: int, size_bytes: int, max_bytes: int) -> str:
    share = f" ({100 * size_bytes / max_bytes:.0f} %)" if max_bytes else ""
    return f"{files:,}, {size_in_words(size_bytes)} of {size_in_words(max_bytes)}{share}"


def _indexes(indexes: Sequence[IndexReport]) -> "Table":
    numbers = ("latency", "requests/h", "errors/h", "received/h")
    made = table("index", "health", *numbers, "url", right=numbers)
    for one in indexes:
        latency = "-" if one.latency_seconds is None else seconds_in_words(one.latency_seconds)
        asked = f"{one.requests:,}", f"{one.errors:,}", size_in_words(one.bytes_received)
        style = _STYLES.get(one.health, "")
        made.add_row(one.name, _text(one.health, style), latency, *asked, one.url)
        if one.problem:
            again = one.retry_in_seconds
            when = f"; asked again in {seconds_in_words(again)}" if again else ""
            made.add_row("", "", "", "", "", "", _text(f"{one.problem}{when}", style))
    return made


def _most_asked(overview: Overview) -> "Table":
    made = table("most asked this week", "requests", "sent", right=("requests", "sent"))
    for one in overview.most_asked[:_SHOWN_PROJECTS]:
        made.add_row(one.project, f"{one.requests:,}", size_in_words(one.bytes_served))
    return made


def _held(overview: Overview) -> "Table":
    made = table("held back by policy", "files", "rules", "next is free", right=("files",))
    for one in overview.held[:_SHOWN_PROJECTS]:
        rules = ", ".join(f"{rule} {count}" for rule, count in one.rules.items())
        until = "never" if one.until is None else moment_in_words(one.until)
        made.add_row(one.project, str(one.files), rules, until)
    return made


def _last_errors(overview: Overview) -> "Table":
    made = table("last errors (UTC)", "what", "of", "problem")
    for one in overview.last_errors[:_SHOWN_ERRORS]:
        times = f" ({one.count} times)" if one.count > 1 else ""
        of = " ".join(name for name in (one.index, one.project) if name)
        made.add_row(f"{one.at:%m-%d %H:%M}", one.what, of, f"{one.problem}{times}")
    return made


def _line(values: Sequence[int]) -> str:
    """Numbers as a row of bars; empty where there are none, or no such letters."""
    together = -(-len(values) // _LONGEST_LINE) or 1
    values = [sum(values[at : at + together]) for at in range(0, len(values), together)]
    highest = max(values, default=0)
    if not highest or not _can_write(_BARS):
        return ""
    top = len(_BARS) - 1
    return "".join(_BARS[-(-value * top // highest)] for value in values)


def _can_write(text: str) -> bool:
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _text(words: str, style: str = "") -> "RenderableType":
    from rich.text import Text  # noqa: PLC0415

    return Text(words, style=style)
