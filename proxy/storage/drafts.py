"""A file on its way into the blob store, written by one process and followed by the others.

    parts/{name}.fill          locked by the process that writes; what it says of its work
    parts/{name}.{token}.part  the bytes so far

Whoever has locked the first file writes the second. What it says are lines of JSON: which part
it writes, the size once that is known, then how it ended: kept, or failed and why. A process
that finds the file locked reads both as they grow. If the lock is free and nothing was said of
an end, the writer has died, and a reader may take its place and go on where it stopped.

What is said holds for the part that was named last before it: a part that begins anew has
another name, so nothing that was said of an earlier one can be taken for its own.

All methods are blocking.
"""

import errno
import json
import os
import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.errors import DiskFailed
from proxy.storage.hashing import Hashing
from proxy.storage.locks import FileLock, closed_on_failure, is_at, lock, unlock

_READ_BYTES = 1 << 20
_KEPT_AT_ONCE_BYTES = 8 << 20


class Draft:
    """A file being written: hashed as it grows, then committed under a name or dropped."""

    def __init__(
        self, held: FileLock, file_descriptor: int, path: Path, algorithms: Iterable[str]
    ) -> None:
        self._held = held
        self.path = path
        self._hashing = Hashing(algorithms)
        self.fileno = file_descriptor
        self.size_bytes = 0
        self._begun_bytes = 0
        """So many are on their way to the disk."""
        self._is_open = True
        # Whoever stops a fill does not stop the thread that is writing for it.
        self._turn = threading.Lock()

    def __repr__(self) -> str:
        return f"<Draft {self.path.name}: {self.size_bytes} bytes>"

    @classmethod
    def begin(cls, held: FileLock, digests: Mapping[str, str]) -> "Draft":
        """Begin to write, or go on where a process that died has stopped.

        `digests` are those that will be compared; without any, nobody could tell whether
        what is there and what is to come belong together. Raises `DiskFailed`.
        """
        folder, name = held.path.parent, held.path.stem
        try:
            words = _all_of(held.fileno)
            part, said = _last_part(_words_in(words))
            has_failed = any("failed" in one for one in said)
            if part is None or has_failed or not digests or not (folder / part).exists():
                # Where nothing was said there is nothing left over, as a rule, and folders with
                # many parts are slow to look through.
                for left_over in folder.glob(f"{name}.*.part") if words else ():
                    left_over.unlink(missing_ok=True)
                part = f"{name}.{secrets.token_hex(8)}.part"
            return cls._opened(held, folder / part, digests)
        except OSError as problem:
            raise DiskFailed(str(problem)) from problem

    @classmethod
    def _opened(cls, held: FileLock, path: Path, digests: Mapping[str, str]) -> "Draft":
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        with closed_on_failure(descriptor):
            draft = cls(held, descriptor, path, digests)
            lock(descriptor, exclusive=False)  # whoever sweeps leaves it alone
            # Named again also where it is gone on with: a crash may have left half a line.
            draft.say(part=path.name)
            while data := os.pread(descriptor, _READ_BYTES, draft.size_bytes):
                draft._count(data)
        return draft

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Nobody else works on it or lets go of it meanwhile. Raises `DiskFailed`."""
        with self._turn:
            if not self._is_open:
                raise DiskFailed("the file was let go of meanwhile")
            try:
                yield
            except OSError as problem:
                is_full = problem.errno in (errno.ENOSPC, errno.EDQUOT)
                raise DiskFailed(str(problem), is_full=is_full) from problem

    def write(self, data: bytes) -> None:
        """Append all or nothing. Raises `DiskFailed`."""
        with self.in_use():
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(self.fileno, view) :]
            except OSError:
                # What was written of it is not counted, and nothing may follow it.
                os.truncate(self.fileno, self.size_bytes)
                raise
            self._count(data)
            self._begin_to_keep()

    def _begin_to_keep(self) -> None:
        """Have the kernel write to disk what has come, so that the end need not wait for it all."""
        begun, there = self._begun_bytes, self.size_bytes
        if there - begun >= _KEPT_AT_ONCE_BYTES and hasattr(os, "posix_fadvise"):
            # "Not needed" makes it begin and waits for nothing; what is not on disk yet stays
            # in memory, too, for those who follow.
            os.posix_fadvise(self.fileno, begun, there - begun, os.POSIX_FADV_DONTNEED)
            self._begun_bytes = there

    def _count(self, data: bytes) -> None:
        self._hashing.update(data)
        self.size_bytes += len(data)

    def verify(self, filename: str, digests: Mapping[str, str], url: str) -> str:
        """The sha256 of what was written. Raises `DigestMismatch` where any digest differs."""
        return self._hashing.verify(filename, digests, url)

    def is_whole(self, digests: Mapping[str, str]) -> bool:
        """Whether what was written is all there is to come: its digests say so."""
        return self._hashing.is_whole(digests)

    def say(self, **words: Any) -> None:
        """Tell the processes that follow; unheard, they look for themselves how it ended."""
        if not self._is_open:
            return
        with suppress(OSError):
            os.write(self._held.fileno, b"\n" + json.dumps(words).encode() + b"\n")

    def close(self) -> None:
        """Let go of the file; one that was not committed is gone."""
        with self._turn:
            self._close()

    def hand_over(self) -> int:
        """Let go of the file, and give a descriptor to read it by, which keeps nobody waiting.

        The blob that it became may be evicted meanwhile.
        """
        with self.in_use():
            # An opening of its own: the lock belongs to that of the readers.
            descriptor = os.open(f"/dev/fd/{self.fileno}", os.O_RDONLY | os.O_CLOEXEC)
            self._close()
        return descriptor

    def leave(self) -> None:
        """Let go of the file in the middle: a process that follows may go on with it."""
        with self._turn:
            if not self._is_open:
                return
            if lock(self.fileno, exclusive=True):
                self._close()  # nobody follows
                return
            self._is_open = False
            os.close(self._held.fileno)
            os.close(self.fileno)

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            if is_at(self.fileno, self.path):
                self.path.unlink(missing_ok=True)
            self._held.release()
            os.close(self.fileno)


@dataclass(slots=True)
class Followed:
    """A draft that another process writes. `fileno` reads its bytes."""

    fileno: int
    _part: str
    _words_fileno: int
    _read_bytes: int = 0
    _is_current: bool = False

    @classmethod
    def open(cls, path: Path) -> "Followed | None":
        """The draft of which is spoken in the file at `path`; None where there is none.

        Raises `DiskFailed`.
        """
        try:
            words_fileno = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise DiskFailed(str(problem)) from problem
        try:
            with closed_on_failure(words_fileno):
                part, _ = _last_part(_words_in(_all_of(words_fileno)))
                if part is not None:
                    fileno = os.open(path.parent / part, os.O_RDONLY | os.O_CLOEXEC)
                    with closed_on_failure(fileno):
                        lock(fileno, exclusive=False)
                    return cls(fileno, part, words_fileno)
        except FileNotFoundError:
            return None  # it has ended, or begins anew
        except OSError as problem:
            raise DiskFailed(str(problem)) from problem
        os.close(words_fileno)
        return None

    def written_bytes(self) -> int:
        """How much is there by now."""
        return os.fstat(self.fileno).st_size

    def heard(self) -> list[dict[str, Any]]:
        """What the writer has said of this part since the last look."""
        data = os.pread(self._words_fileno, _READ_BYTES, self._read_bytes)
        whole = data[: data.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        heard = []
        for words in _words_in(whole):
            if "part" in words:
                self._is_current = words["part"] == self._part
            elif self._is_current:
                heard.append(words)
        return heard

    def is_abandoned(self) -> bool:
        """Whether nobody writes it any more. What was said may still tell how it ended."""
        if self._read_bytes and not self._is_current:
            return True  # a new writer has begun another part
        free = lock(self._words_fileno, exclusive=False)
        if free:
            unlock(self._words_fileno)
        return free

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fileno)
        os.close(self._words_fileno)


def _all_of(file_descriptor: int) -> bytes:
    return os.pread(file_descriptor, _READ_BYTES, 0)


def _last_part(words: list[dict[str, Any]]) -> tuple[str | None, list[dict[str, Any]]]:
    """The part that was named last, and what was said of it."""
    for number in range(len(words), 0, -1):
        part = words[number - 1].get("part")
        if isinstance(part, str):
            return part, words[number:]
    return None, []


def _words_in(data: bytes) -> list[dict[str, Any]]:
    """What was said, line by line; what a crash left of a line is passed over."""
    said = []
    for line in data.splitlines():
        try:
            words = json.loads(line)
        except ValueError:
            continue
        if isinstance(words, dict):
            said.append(words)
    return said
