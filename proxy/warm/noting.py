"""What is noted of each thing that is wanted. Pure."""

from collections.abc import Iterator

from proxy.simple.model import ProjectName
from proxy.warm.choosing import LockedProject, RefusedFile, Unlisted, Wanted
from proxy.warm.results import FileOutcome, FileResult

Key = tuple[str, ...]
"""Project, and what tells one thing that is wanted of it from the others."""


def named_by(
    asked: LockedProject, outcome: FileOutcome, reason: str | None = None
) -> Iterator[tuple[Key, FileResult]]:
    """What the lock files name, before it is known which files that are."""
    for file in asked.files:
        of = f"{asked.project}=={file.version}" if file.version else str(asked.project)
        name = file.filename or of
        yield (
            (asked.project, name, file.origin, *sorted(file.sha256s)),
            FileResult(
                project=asked.project,
                name=name,
                outcome=outcome,
                origin=file.origin,
                sha256=next(iter(file.sha256s)) if len(file.sha256s) == 1 else None,
                reason=reason,
            ),
        )
    for required in asked.requirements:
        yield (
            (asked.project, str(required), required.origin),
            FileResult(
                project=asked.project,
                name=str(required),
                outcome=outcome,
                origin=required.origin,
                reason=reason,
            ),
        )


def key_of(project: ProjectName, wanted: Wanted) -> Key:
    """By which a file is known."""
    return (project, wanted.filename, str(wanted.sha256))


def result_of(
    project: ProjectName,
    wanted: Wanted,
    outcome: FileOutcome,
    *,
    reason: str | None = None,
    sha256: str | None = None,
    size: int | None = None,
    bytes_fetched: int = 0,
) -> FileResult:
    """What became of a file."""
    return FileResult(
        project=project,
        name=wanted.filename,
        outcome=outcome,
        origin=wanted.origin,
        sha256=sha256 or wanted.sha256,
        size=size_of(wanted) if size is None else size,
        bytes_fetched=bytes_fetched,
        reason=reason,
    )


def refused_by(project: ProjectName, refused: RefusedFile) -> FileResult:
    """A file that is hidden, with the rule that hides it."""
    hidden = refused.hidden
    return FileResult(
        project=project,
        name=hidden.file.filename,
        outcome=FileOutcome.REFUSED,
        origin=refused.origin,
        sha256=hidden.file.sha256,
        reason=hidden.reason,
        rule=hidden.rule,
        until=hidden.until,
    )


def missing_of(project: ProjectName, unlisted: Unlisted) -> FileResult:
    """What the page does not have."""
    return FileResult(
        project=project,
        name=unlisted.name,
        outcome=FileOutcome.MISSING,
        origin=unlisted.origin,
        sha256=unlisted.sha256,
        reason=unlisted.reason,
    )


def size_of(wanted: Wanted) -> int | None:
    """In bytes, as the index says; None: it does not."""
    return wanted.file.size_bytes if wanted.file else None
