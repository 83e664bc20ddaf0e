"""What a person reads of a run. Pure."""

from collections import Counter
from collections.abc import Iterator

from proxy.lockfiles import Reason
from proxy.warm.results import FileOutcome, FileResult, WarmReport
from proxy.words import counted, seconds_in_words, size_in_words

_HEADINGS = {
    FileOutcome.REFUSED: "Refused by policy",
    FileOutcome.MISSING: "Missing",
    FileOutcome.FAILED: "Failed",
}

_MOST_NOTES = 20


def lines_of(report: WarmReport, *, is_quiet: bool = False, is_dry: bool = False) -> Iterator[str]:
    """The summary, line by line; quiet, what went wrong alone."""
    if is_dry and not is_quiet:
        yield from (_listed(one) for one in report.files if one.outcome is FileOutcome.LEFT)
    for outcome, heading in _HEADINGS.items():
        found = [one for one in report.files if one.outcome is outcome]
        if found:
            yield f"{heading}: {len(found)}"
            yield from (f"  {_with_reason(one)}" for one in found)
    if is_quiet:
        return
    yield from _passed_over(report)
    yield from (f"Note: {note}" for note in report.notes[:_MOST_NOTES])
    if len(report.notes) > _MOST_NOTES:
        yield f"Note: and {len(report.notes) - _MOST_NOTES} more, which --json tells"
    totals = report.totals
    if is_dry:
        yield f"Would ask for {counted(totals.left, 'file')}"
        return
    there = size_in_words(totals.bytes_there)
    yield f"There already: {counted(totals.there, 'file')}, {there}"
    rate = totals.bytes_fetched / report.seconds if report.seconds else 0.0
    yield (
        f"Fetched: {counted(totals.fetched, 'file')}, {size_in_words(totals.bytes_fetched)} "
        f"in {seconds_in_words(report.seconds)} ({size_in_words(rate)}/s)"
    )
    if totals.left:
        yield f"Left: {totals.left}; the same command goes on from here"


def _passed_over(report: WarmReport) -> Iterator[str]:
    counts = Counter(one.reason for one in report.passed_over if one.reason != Reason.ITSELF)
    if not counts:
        return
    shown = ", ".join(f"{count} {reason}" for reason, count in counts.items())
    yield f"Passed over: {shown}"
    # Who runs it expects the rest; that these are not in any index they may not know.
    for one in report.passed_over:
        if one.reason == Reason.NOT_OF_AN_INDEX:
            yield f"  {one.name} ({one.origin}): {one.detail}"


def _listed(result: FileResult) -> str:
    size = "" if result.size is None else f", {size_in_words(result.size)}"
    return f"{result.name} ({result.project}{size})"


def _with_reason(result: FileResult) -> str:
    by = "" if result.rule is None else f"[{result.rule}] "
    until = "" if result.until is None else f", until {result.until}"
    return f"{result.name} ({result.origin}): {by}{result.reason}{until}"
