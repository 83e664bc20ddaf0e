"""A folder of distributions on disk: which there are, and their bytes.

Blocking: whoever calls is expected to do so in a thread. Files lie directly in the folder or
below it at any depth, and count by their names alone. What begins with a dot is being copied
or belongs to another tool. Links are not followed, neither those to folders nor those to
files: so nothing but what lies in the folder can be had, and no way leads round in a circle.
"""

import errno
import io
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from packaging.version import Version

from proxy.simple.model import ProjectName, is_plain_filename, normalize
from proxy.simple.versions import distribution_of
from proxy.watched import Identity, identity_of

_OF_THE_FILE_SYSTEM = "lost+found"  # whoever looks for wheels there may not even read it
_NOT_THERE = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.EMLINK,  # what FreeBSD says of a link
    errno.ENAMETOOLONG,
    errno.ENXIO,  # a socket
)
_SCANS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A distribution in the folder. `path` is relative to it."""

    path: str
    filename: str
    project: ProjectName
    version: Version
    identity: Identity

    @property
    def size_bytes(self) -> int:
        """The size of the file."""
        return self.identity[0]

    @property
    def mtime_ns(self) -> int:
        """When its bytes were changed last, in nanoseconds since 1970."""
        return self.identity[1]


Scan = Mapping[ProjectName, Sequence[Found]]


class NotInFolder(LookupError):
    """There is no such distribution in the folder."""


class Folder:
    """A folder. `scan` remembers the last one, and is called by one thread at a time.

    One that had distributions and has none any more fails, for as long as this object lives: what
    is left where a disk was mounted looks like that, also on the same device, and so does a folder
    whose content somebody moved away. One that never had any is empty.
    """

    def __init__(self, path: Path) -> None:
        # Links on pages are made of it, and dots in links are resolved by whoever reads them.
        self.path = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() follows links
        self.url = self.path.as_uri().rstrip("/") + "/"
        self._files: dict[str, Found] = {}
        self._scan: Scan = {}

    def __repr__(self) -> str:
        return f"<Folder {self.path}: {len(self._files)} files>"

    def scan(self) -> Scan:
        """What there is now; the very same object where nothing has changed. Raises `OSError`."""
        files = self._look()
        if self._files and not files:
            raise OSError(errno.ENODEV, "it had files and has none now; if that is meant, restart")
        if files != self._files:
            by_project: dict[ProjectName, list[Found]] = {}
            for found in files.values():
                by_project.setdefault(found.project, []).append(found)
            self._files, self._scan = files, by_project
        return self._scan

    def url_of(self, path: str) -> str:
        """The URL of a file."""
        return self.url + quote(os.fsencode(path))

    def open(self, url: str) -> io.BufferedReader:
        """The distribution at a URL. Raises `NotInFolder`, `OSError`."""
        *folders, name = self._steps(url)
        if _distribution(name) is None:
            raise NotInFolder(url)
        directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        # Step by step, each without following a link: no check beforehand could hold.
        try:
            for folder in folders:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
                below = os.open(folder, flags, dir_fd=directory)
                os.close(directory)
                directory = below
            # O_NONBLOCK: a pipe would wait for its other end.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(name, flags, dir_fd=directory)
        except OSError as problem:
            if problem.errno in _NOT_THERE:
                raise NotInFolder(url) from problem
            raise
        finally:
            os.close(directory)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise NotInFolder(url)
        return os.fdopen(descriptor, "rb")

    def _steps(self, url: str) -> list[str]:
        """The folders on the way to a file, and its name. Raises `NotInFolder`."""
        if not url.startswith(self.url):
            raise NotInFolder(url)
        steps = url.removeprefix(self.url).split("/")
        names = [os.fsdecode(unquote_to_bytes(step)) for step in steps]
        if not all(_is_seen(name) and "/" not in name and "\0" not in name for name in names):
            raise NotInFolder(url)
        return names

    def _look(self) -> dict[str, Found]:
        """All files, by path. Raises `OSError`."""
        for attempt in range(_SCANS):
            try:
                return {found.path: found for found in self._walk()}
            except FileNotFoundError:
                # A folder below went while we were on our way: whether this one is still there
                # shows when we begin anew.
                if attempt == _SCANS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _walk(self) -> Iterator[Found]:
        waiting = [""]
        while waiting:
            below = waiting.pop()
            with os.scandir(self.path / below) as entries:
                for entry in entries:
                    path = below + entry.name
                    if not _is_seen(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(f"{path}/")
                    elif entry.is_file(follow_symlinks=False):
                        found = self._found(path, entry)
                        if found is not None:
                            yield found

    def _found(self, path: str, entry: os.DirEntry[str]) -> Found | None:
        named = _distribution(entry.name)
        if named is None:
            return None
        try:
            identity = identity_of(entry.stat(follow_symlinks=False))
        except FileNotFoundError:
            return None
        known = self._files.get(path)
        if known is not None and known.identity == identity:
            return known
        project, version = named
        return Found(
            path=path, filename=entry.name, project=project, version=version, identity=identity
        )


def _is_seen(name: str) -> bool:
    return bool(name) and not name.startswith(".") and name != _OF_THE_FILE_SYSTEM


@lru_cache(maxsize=1 << 16)
def _distribution(filename: str) -> tuple[ProjectName, Version] | None:
    """Project and version of a file that a page could list."""
    found = distribution_of(filename) if is_plain_filename(filename) else None
    project = normalize(found[0]) if found else None
    return (project, found[1]) if found and project else None
