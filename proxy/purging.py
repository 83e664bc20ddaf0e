"""Forgetting pages, and files where that is wanted: by a running server, or on the cache itself.

A cache may be purged beside a running server as well: it sees that its pages have changed
(`storage/changes.py`), at once in the embedded store and within a moment in Redis.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from proxy.server_client import ServerAddress, ServerClient
from proxy.settings import Cache
from proxy.simple.model import ProjectName
from proxy.storage.blobs import DiskBlobs
from proxy.storage.opening import opened_pages
from proxy.storage.pages import PageStore, forget


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgedProject:
    """What was forgotten of a project; `project` None: of all of them.

    `pages` counts one for each index that had the project, also one that said it had none.
    `files` and `file_bytes` are None where files were to stay.
    """

    project: ProjectName | None
    pages: int
    files: int | None = None
    file_bytes: int | None = None


async def purge_by_server(
    address: ServerAddress, projects: Sequence[ProjectName] | None
) -> list[PurgedProject]:
    """Have a running server forget these projects; None: all.

    Raises `NoServer`, `ServerRefused`.
    """
    async with ServerClient.open(address) as client:
        return [
            PurgedProject(project=project, pages=await client.purge(project))
            for project in (projects if projects is not None else [None])
        ]


async def purge_cache(cache: Cache, projects: Sequence[ProjectName] | None) -> list[PurgedProject]:
    """Forget these projects in the page store of these settings; None: all.

    Raises `ConfigError`, `StoreUnavailable`.
    """
    now = datetime.now(UTC)
    async with opened_pages(cache) as store:
        if projects is None:
            return [PurgedProject(project=None, pages=await forget(store, None, (), now))]
        indexes = await _indexes_with(store, projects)
        return [
            PurgedProject(
                project=project, pages=await forget(store, project, sorted(indexes[project]), now)
            )
            for project in projects
        ]


async def _indexes_with(
    store: PageStore, projects: Sequence[ProjectName]
) -> dict[ProjectName, set[str]]:
    """Which indexes have pages of them, also such as the settings do not name (any more)."""
    found: dict[ProjectName, set[str]] = {project: set() for project in projects}
    async for index, name, _ in store.pages():
        project = ProjectName(name.partition("/")[0])  # documents are kept below its name
        if project in found:
            found[project].add(index)
    return found


async def with_files_dropped(cache: Cache, purged: Sequence[PurgedProject]) -> list[PurgedProject]:
    """The same, when the files of these projects are gone from the disk.

    Raises `ConfigError`, `StoreUnavailable`.
    """
    store = DiskBlobs(cache.dir, cache.max_size)
    return await asyncio.to_thread(partial(_drop_files, store, purged))


def _drop_files(store: DiskBlobs, purged: Sequence[PurgedProject]) -> list[PurgedProject]:
    store.prepare()
    try:
        return [_without_files(store, one) for one in purged]
    finally:
        store.close()


def _without_files(store: DiskBlobs, purged: PurgedProject) -> PurgedProject:
    files = size_bytes = 0
    found = store.all() if purged.project is None else store.of_project(purged.project)
    for key, path in found:
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            continue  # evicted just now
        store.drop(key)
        files += 1
        size_bytes += size
    return replace(purged, files=files, file_bytes=size_bytes)
