"""What of a bundle is here now and not shown yet, since `policy.min_age` holds it back.

Whoever has carried files over wants to know why an installer does not find them.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from proxy.bundle.manifest import BundledProject, Manifest
from proxy.errors import StoreUnavailable
from proxy.policy import Policy, Reason
from proxy.settings import Index
from proxy.sightings import Sightings
from proxy.simple.content import DamagedContent, read_canonical, unpack
from proxy.simple.model import ProjectName
from proxy.storage.pages import PageStore, is_document


@dataclass(slots=True)
class HeldBack:
    """Files that are too young, of so many projects."""

    files: int = 0
    projects: int = 0
    until: datetime | None = None
    """When the last of them is shown."""


async def held_back(
    manifest: Manifest,
    indexes: Mapping[str, Index],
    pages: PageStore,
    sightings: Sightings,
    policy: Policy,
    now: datetime,
) -> HeldBack:
    """What of the bundle is held back at `now`. `indexes`: what each of its indexes is here.

    What cannot be read is passed over: a server tells of it.
    """
    found = HeldBack()
    if not policy.has_min_age:
        return found
    for one in manifest.projects:
        files: dict[tuple[str, str | None], datetime] = {}
        for index in {indexes[page.index].name for page in one.pages if not is_document(page.name)}:
            with suppress(StoreUnavailable, DamagedContent):
                files |= await _too_young(one, index, pages, sightings, policy, now)
        if files:
            found.files += len(files)
            found.projects += 1
            found.until = max(filter(None, (found.until, *files.values())))
    return found


async def _too_young(
    one: BundledProject,
    index: str,
    pages: PageStore,
    sightings: Sightings,
    policy: Policy,
    now: datetime,
) -> dict[tuple[str, str | None], datetime]:
    """The project's files in the bundle that the page of the index has not shown by now."""
    project = ProjectName(one.project)
    record = await pages.record(index, project)
    body = await pages.body(record.etag) if record and record.etag else None
    if record is None or record.etag is None or body is None:
        return {}
    content = read_canonical(unpack(body, record.etag))
    seen = await sightings.note(index, project, content.files)
    selection = policy.select(project, index, content, now, seen)
    brought = {(file.filename, file.sha256) for file in one.files}
    names = {at: (content.files[at].filename, content.files[at].sha256) for at in selection.hidden}
    return {
        names[at]: hidden.until
        for at, hidden in selection.hidden.items()
        if hidden.reason is Reason.MIN_AGE and hidden.until and names[at] in brought
    }
