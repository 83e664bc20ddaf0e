"""How it ended, for each file: what `wheelkeep warm --json` writes."""

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from proxy.lockfiles import LockFile, PassedOver, Target


class FileOutcome(StrEnum):
    """What became of a file."""

    THERE = "there"  # it was kept already
    FETCHED = "fetched"  # it is kept now
    REFUSED = "refused"  # a policy says that clients are not to have it
    MISSING = "missing"  # no index has it
    FAILED = "failed"  # it could not be had this time
    LEFT = "left"  # it was not asked for: interrupted, or only a list was wanted


FINE = (FileOutcome.THERE, FileOutcome.FETCHED, FileOutcome.LEFT)


class FileResult(Struct, frozen=True, kw_only=True):
    """One file, or something that is named and of which no file was found."""

    project: str
    name: str
    """The file, or what was looked for where there is none: `six==1.0`."""
    outcome: FileOutcome
    origin: str
    """The lock file that names it, perhaps with a line."""
    sha256: str | None = None
    size: int | None = None
    """In bytes, where that is known."""
    bytes_fetched: int = 0
    """Now, with its core metadata."""
    reason: str | None = None
    """Of what is refused, missing or failed."""
    rule: str | None = None
    """Of what is refused: the rule of the policy."""
    until: str | None = None
    """Of what is refused: when it will be free by itself, in UTC (RFC 3339)."""


class Passed(Struct, frozen=True, kw_only=True):
    """Something that is named and was not looked for."""

    name: str
    reason: str
    """One of `proxy.lockfiles.Reason`: `not of an index`, `for other targets`, and so on."""
    detail: str
    origin: str

    @classmethod
    def of(cls, passed_over: PassedOver) -> "Passed":
        """What a lock file says of it."""
        return cls(
            name=passed_over.name,
            reason=str(passed_over.reason),
            detail=passed_over.detail,
            origin=passed_over.origin,
        )


class Totals(Struct, frozen=True, kw_only=True):
    """How many of each."""

    there: int = 0
    fetched: int = 0
    refused: int = 0
    missing: int = 0
    failed: int = 0
    left: int = 0
    passed_over: int = 0
    bytes_there: int = 0
    bytes_fetched: int = 0

    @classmethod
    def of(cls, results: Iterable[FileResult], passed_over: int) -> "Totals":
        """The sums of these results."""
        counts: Counter[str] = Counter()
        bytes_there = bytes_fetched = 0
        for one in results:
            counts[one.outcome] += 1
            bytes_fetched += one.bytes_fetched
            if one.outcome is FileOutcome.THERE:
                bytes_there += one.size or 0
        return cls(
            **{str(outcome): counts[outcome] for outcome in FileOutcome},
            passed_over=passed_over,
            bytes_there=bytes_there,
            bytes_fetched=bytes_fetched,
        )


class WarmReport(Struct, frozen=True, kw_only=True):
    """All of it."""

    server: str | None
    """None: the cache itself was filled."""
    sources: list[str]
    """The lock files."""
    targets: list[str]
    totals: Totals
    files: list[FileResult]
    """In the order of projects and names."""
    passed_over: list[Passed]
    notes: list[str]
    interrupted: bool
    seconds: float

    @property
    def is_fine(self) -> bool:
        """Whether all that was looked for is there."""
        return all(one.outcome in FINE for one in self.files)


def report_of(
    *,
    server: str | None,
    locks: Iterable[LockFile],
    targets: Iterable[Target],
    results: Iterable[FileResult],
    passed_over: Iterable[Passed],
    notes: Iterable[str],
    interrupted: bool,
    seconds: float,
) -> WarmReport:
    """The report, in a stable order and each thing once."""
    locks = list(locks)
    ordered = sorted(results, key=lambda one: (one.project, one.name, one.origin))
    # What one lock file passes over, another may want.
    wanted = {one.name for one in ordered}
    every = [*(Passed.of(one) for lock in locks for one in lock.passed_over), *passed_over]
    passed = [one for one in dict.fromkeys(every) if one.name not in wanted]
    told = list(dict.fromkeys([*(note for lock in locks for note in lock.notes), *notes]))
    return WarmReport(
        server=server,
        sources=[lock.name for lock in locks],
        targets=[str(target) for target in targets],
        totals=Totals.of(ordered, len(passed)),
        files=ordered,
        passed_over=passed,
        notes=told,
        interrupted=interrupted,
        seconds=round(seconds, 3),
    )
