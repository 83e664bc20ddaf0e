"""What happened in a process lately: which projects were asked for, what failed, what is held back.

Additions to plain dictionaries, since each request counts. `take` hands them over, and until they
are said to be `written`, the errors among them are told of here.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from msgspec import Struct, field
from msgspec.structs import replace

from proxy.reports import HeldProject, LastError

_MOST_ERRORS = 100
_MOST_PROJECTS = 50_000
_LONGEST_PROBLEM = 500


class Lately(Struct, kw_only=True):
    """What happened since it was taken last."""

    requests: dict[str, int] = field(default_factory=dict)
    """By project."""
    bytes_served: dict[str, int] = field(default_factory=dict)
    errors: dict[tuple[str, str, str | None, str | None], LastError] = field(default_factory=dict)
    held: dict[str, HeldProject | None] = field(default_factory=dict)
    """What policy hides of a project, as it was judged last; None: nothing."""

    def __bool__(self) -> bool:
        return bool(self.requests or self.errors or self.held)


class Happenings:
    """Notes them."""

    def __init__(self) -> None:
        self._lately = Lately()
        self._taken = Lately()

    def __repr__(self) -> str:
        return f"<Happenings of {len(self._lately.requests)} projects>"

    def asked(self, project: str, requests: int, bytes_served: int) -> None:
        """A project was asked for so many times."""
        lately = self._lately
        if project in lately.requests:
            lately.requests[project] += requests
            lately.bytes_served[project] += bytes_served
        elif len(lately.requests) < _MOST_PROJECTS:
            lately.requests[project] = requests
            lately.bytes_served[project] = bytes_served

    def failed(
        self, what: str, problem: str, *, index: str | None = None, project: str | None = None
    ) -> None:
        """Something went wrong, in the words of the log."""
        shown = problem[:_LONGEST_PROBLEM]
        key = (what, shown, index, project)
        errors = self._lately.errors
        known = errors.pop(key, None)
        if known is None and len(errors) >= _MOST_ERRORS:
            del errors[next(iter(errors))]
        errors[key] = LastError(
            at=datetime.now(UTC),
            what=what,
            problem=shown,
            index=index,
            project=project,
            count=1 + (known.count if known else 0),
        )

    def judged(self, project: str, held: HeldProject | None) -> None:
        """What policy hides of a project now."""
        if project in self._lately.held or len(self._lately.held) < _MOST_PROJECTS:
            self._lately.held[project] = held

    def errors(self) -> Iterable[LastError]:
        """Those that are not written down yet."""
        errors = dict(self._taken.errors)
        for key, error in self._lately.errors.items():
            before = errors.pop(key, None)
            errors[key] = replace(error, count=error.count + (before.count if before else 0))
        return list(errors.values())

    def take(self) -> Lately:
        """What is to be written down now; what was taken before is written."""
        self._taken, self._lately = self._lately, Lately()
        return self._taken

    def written(self) -> None:
        """What was taken is in the history."""
        self._taken = Lately()
