"""Asks for all files at once, and notes what becomes of each.

Knows nothing of terminals: whoever shows progress is told after each change.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from proxy.lockfiles import LockedFile, LockedRequirement, LockFile
from proxy.simple.model import ProjectName
from proxy.warm.asking import NotHad, Wheelkeep
from proxy.warm.choosing import LockedProject, Plan, RefusedFile, Wanted, plan
from proxy.warm.noting import Key, key_of, missing_of, named_by, refused_by, result_of, size_of
from proxy.warm.results import FileOutcome, FileResult, Passed

_METADATA = ".metadata"
_REFUSED, _UNKNOWN = 403, 404
_KEPT = (FileOutcome.THERE, FileOutcome.FETCHED)


@dataclass(slots=True)
class Progress:
    """How far it is. Sizes that no index tells count as nothing."""

    projects: int = 0
    """Whose pages are still to come: there may be more files than are known by now."""
    files: int = 0
    files_done: int = 0
    bytes: int = 0
    bytes_done: int = 0
    bytes_fetched: int = 0


def asked_of(locks: Iterable[LockFile]) -> list[LockedProject]:
    """What all lock files say, by project, in the order of names."""
    files: dict[ProjectName, list[LockedFile]] = {}
    requirements: dict[ProjectName, list[LockedRequirement]] = {}
    for lock in locks:
        for file in lock.files:
            files.setdefault(file.project, []).append(file)
        for requirement in lock.requirements:
            requirements.setdefault(requirement.project, []).append(requirement)
    return [
        LockedProject(
            project=project,
            files=tuple(files.get(project, ())),
            requirements=tuple(requirements.get(project, ())),
        )
        for project in sorted({*files, *requirements})
    ]


class Warming:
    """One run. What is known by now stands in `results` and `passed_over`, also in the middle."""

    def __init__(
        self,
        wheelkeep: Wheelkeep,
        jobs: int,
        *,
        is_dry: bool = False,
        on_change: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._wheelkeep = wheelkeep
        self._turns = asyncio.Semaphore(jobs)
        self._is_dry = is_dry
        self._on_change = on_change
        self._results: dict[Key, FileResult] = {}
        self._room_bytes: int | None = None
        self.progress = Progress()
        self.passed_over: list[Passed] = []

    @property
    def results(self) -> list[FileResult]:
        """One for each thing that is known to be wanted."""
        return list(self._results.values())

    @property
    def notes(self) -> list[str]:
        """What people should know."""
        kept = (one.size or 0 for one in self.results if one.outcome in _KEPT)
        if self._room_bytes is None or (size := sum(kept)) <= self._room_bytes:
            return []
        room = f"cache.max_size is {self._room_bytes}"
        return [f"the files take {size} bytes, and {room}: those asked for first are evicted"]

    async def run(self, asked: Iterable[LockedProject], room_bytes: int | None = None) -> None:
        """Ask for all of it. `room_bytes`: how much is kept at most, where that is known.

        Raises `ServerRefused`; cancelled, it leaves what it has.
        """
        self._room_bytes = room_bytes
        projects = list(asked)
        self.progress.projects = len(projects)
        for one in projects:
            for key, result in named_by(one, FileOutcome.LEFT):
                self._results[key] = result
        try:
            async with asyncio.TaskGroup() as group:
                for one in projects:
                    group.create_task(self._project(one))
        except ExceptionGroup as problems:
            raise _first(problems) from None

    # --- one project ----------------------------------------------------------------------

    async def _project(self, asked: LockedProject) -> None:
        async with self._turns:
            try:
                found = await self._plan(asked)
            except NotHad as problem:
                found = None
                for key, result in named_by(asked, _outcome_of(problem), str(problem)):
                    self._results[key] = result
        self.progress.projects -= 1
        if found is None:
            self._on_change(self.progress)
            return
        # From now on, files stand for what named them.
        for key, _ in named_by(asked, FileOutcome.LEFT):
            self._results.pop(key, None)
        self._note(asked.project, found)
        self._on_change(self.progress)
        if self._is_dry:
            return
        async with asyncio.TaskGroup() as group:
            for one in found.wanted.values():
                group.create_task(self._file(asked.project, one))

    async def _plan(self, asked: LockedProject) -> Plan:
        """Raises `NotHad`, `ServerRefused`."""
        shown = await self._wheelkeep.page(asked.project)
        found = plan(asked, shown)
        if found.unlisted and (hidden := await self._wheelkeep.hidden_files(asked.project)):
            found = plan(asked, shown, hidden)
        found.want_unlisted()
        return found

    def _note(self, project: ProjectName, found: Plan) -> None:
        self.passed_over += found.passed_over
        for refused in found.refused.values():
            file = refused.hidden.file
            self._results[project, file.filename, str(file.sha256)] = refused_by(project, refused)
        for unlisted in found.unlisted:
            self._results[project, unlisted.name, unlisted.origin] = missing_of(project, unlisted)
        for wanted in found.wanted.values():
            self._results[key_of(project, wanted)] = result_of(project, wanted, FileOutcome.LEFT)
            self.progress.files += 1
            self.progress.bytes += size_of(wanted) or 0

    # --- one file -------------------------------------------------------------------------

    async def _file(self, project: ProjectName, wanted: Wanted) -> None:
        async with self._turns:
            result = await self._asked(project, wanted)
        self._results[key_of(project, wanted)] = result
        self.progress.files_done += 1
        self.progress.bytes_done += size_of(wanted) or 0
        self.progress.bytes_fetched += result.bytes_fetched
        self._on_change(self.progress)

    async def _asked(self, project: ProjectName, wanted: Wanted) -> FileResult:
        sha256 = wanted.sha256
        listed = wanted.file
        try:
            url = listed.url if listed else self._wheelkeep.url_of(project, wanted.filename, sha256)
            kept = await self._wheelkeep.keep(url, sha256)
        except NotHad as problem:
            return await self._no(project, wanted, problem)
        if wanted.sha256s and kept.sha256 is not None and kept.sha256 not in wanted.sha256s:
            reason = f"the file of the index has the sha256 {kept.sha256}"
            return result_of(project, wanted, FileOutcome.MISSING, reason=reason)
        size = kept.size_bytes or 0
        if self._room_bytes is not None and size > self._room_bytes:
            reason = f"its {size} bytes are more than cache.max_size, and were not kept"
            return result_of(project, wanted, FileOutcome.FAILED, reason=reason)
        fetched = 0 if kept.was_there else size
        was_there = kept.was_there
        claimed = listed.core_metadata if listed else None
        if claimed is not None:
            try:
                beside = await self._wheelkeep.keep(_beside(url), claimed.get("sha256"))
            except NotHad as problem:
                return result_of(
                    project, wanted, FileOutcome.FAILED, reason=f"its core metadata: {problem}"
                )
            was_there = was_there and beside.was_there
            fetched += 0 if beside.was_there else beside.size_bytes or 0
        return result_of(
            project,
            wanted,
            FileOutcome.THERE if was_there else FileOutcome.FETCHED,
            sha256=kept.sha256,
            size=kept.size_bytes,
            bytes_fetched=fetched,
        )

    async def _no(self, project: ProjectName, wanted: Wanted, problem: NotHad) -> FileResult:
        outcome = _outcome_of(problem)
        if outcome is FileOutcome.REFUSED:
            # It was shown a moment ago, or is kept and no longer listed.
            for one in await self._wheelkeep.hidden_files(project):
                if one.file.filename == wanted.filename:
                    return refused_by(project, RefusedFile(hidden=one, origin=wanted.origin))
        return result_of(project, wanted, outcome, reason=str(problem))


def _outcome_of(problem: NotHad) -> FileOutcome:
    return {_REFUSED: FileOutcome.REFUSED, _UNKNOWN: FileOutcome.MISSING}.get(
        problem.status, FileOutcome.FAILED
    )


def _beside(url: str) -> str:
    """PEP 658: the path with `.metadata` behind it; a query stays where it is."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path + _METADATA))


def _first(problems: BaseExceptionGroup[Exception]) -> Exception:
    """Why the others were cancelled."""
    first = problems.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
