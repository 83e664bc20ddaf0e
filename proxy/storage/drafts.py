"""A file on its way into the blob store, written by one process and followed by the others.

    parts/{name}.part   its bytes so far
    parts/{name}.fill   locked by the process that writes it; what that process says of it

Whoever has locked the second file writes the first. What it says are lines of JSON: the size
once that is known, then how it ended: kept, or failed and why. A process that finds the file
locked reads both as they grow. If the lock is free and nothing was said of an end, the writer
has died, and a reader may take its place and go on where it stopped.

All methods are blocking.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.errors import DigestMismatch, StoreUnavailable
from proxy.storage.locks import FileLock, is_at, lock, unlock

_READ_BYTES = 1 << 20


class Draft:
    """A file being written: hashed as it grows, then committed under a name or dropped."""

    def __init__(self, held: FileLock, file_descriptor: int, path: Path) -> None:
        self._held = held
        self.path = path
        self._sha256 = hashlib.sha256()
        self._others: dict[str, hashlib._Hash] = {}
        self.fileno = file_descriptor
        self.size_bytes = 0

    def __repr__(self) -> str:
        return f"<Draft {self.path.name}: {self.size_bytes} bytes>"

    @classmethod
    def begin(cls, held: FileLock, path: Path, digests: Mapping[str, str]) -> "Draft":
        """Begin to write, or go on where a process that died has stopped.

        `digests` are those that will be compared; without any, nobody could tell whether
        what is there and what is to come belong together. Raises `StoreUnavailable`.
        """
        try:
            if not digests:
                path.unlink(missing_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as problem:
            raise StoreUnavailable("blob store", str(problem)) from problem
        draft = cls(held, descriptor, path)
        draft._others = {name: hashlib.new(name) for name in digests if name != "sha256"}
        lock(descriptor, exclusive=False)  # whoever evicts leaves it alone
        if os.fstat(held.fileno).st_size:
            # The writer that died may have left half a line.
            with suppress(OSError):
                os.write(held.fileno, b"\n")
        while data := os.pread(descriptor, _READ_BYTES, draft.size_bytes):
            draft._count(data)
        return draft

    def write(self, data: bytes) -> None:
        """Append. Raises `StoreUnavailable` on a full or broken disk."""
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self.fileno, view) :]
        except OSError as problem:
            raise StoreUnavailable("blob store", str(problem)) from problem
        self._count(data)

    def _count(self, data: bytes) -> None:
        self._sha256.update(data)
        for running in self._others.values():
            running.update(data)
        self.size_bytes += len(data)

    def verify(self, filename: str, digests: Mapping[str, str], url: str) -> str:
        """The sha256 of what was written. Raises `DigestMismatch` where any digest differs."""
        sha256 = self._sha256.hexdigest()
        for algorithm, expected in digests.items():
            running = self._others.get(algorithm)
            actual = running.hexdigest() if running else sha256
            if actual != expected:
                raise DigestMismatch(filename, algorithm, expected, actual, url)
        return sha256

    def is_whole(self, digests: Mapping[str, str]) -> bool:
        """Whether what was written is all there is to come: its digests say so."""
        try:
            self.verify("", digests, "")
        except DigestMismatch:
            return False
        return bool(digests)

    def say(self, **words: Any) -> None:
        """Tell the processes that follow; unheard, they look for themselves how it ended."""
        with suppress(OSError):
            os.write(self._held.fileno, json.dumps(words).encode() + b"\n")

    def close(self) -> None:
        """Let go of the file; one that was not committed is gone."""
        if is_at(self.fileno, self.path):
            self.path.unlink(missing_ok=True)
        self._held.release()
        os.close(self.fileno)

    def leave(self) -> None:
        """Let go of the file in the middle: a process that follows may go on with it."""
        if lock(self.fileno, exclusive=True):
            self.close()  # nobody follows
            return
        os.close(self._held.fileno)
        os.close(self.fileno)


@dataclass(slots=True)
class Followed:
    """A draft that another process writes. `fileno` reads its bytes."""

    fileno: int
    words_fileno: int
    _read_bytes: int = 0

    @classmethod
    def open(cls, part: Path, words: Path) -> "Followed | None":
        """The draft, or None where it is not there yet or no more. Raises `StoreUnavailable`."""
        opened: list[int] = []
        try:
            opened.append(os.open(words, os.O_RDONLY | os.O_CLOEXEC))
            opened.append(os.open(part, os.O_RDONLY | os.O_CLOEXEC))
        except FileNotFoundError:
            for descriptor in opened:
                os.close(descriptor)
            return None
        except OSError as problem:
            raise StoreUnavailable("blob store", str(problem)) from problem
        words_fileno, fileno = opened
        lock(fileno, exclusive=False)
        return cls(fileno, words_fileno)

    def written_bytes(self) -> int:
        """How much is there by now."""
        return os.fstat(self.fileno).st_size

    def heard(self) -> list[dict[str, Any]]:
        """What the writer has said since the last look."""
        data = os.pread(self.words_fileno, _READ_BYTES, self._read_bytes)
        whole = data[: data.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        return [words for line in whole.splitlines() if (words := _words(line))]

    def is_abandoned(self) -> bool:
        """Whether nobody writes it any more. What was said may still tell how it ended."""
        free = lock(self.words_fileno, exclusive=False)
        if free:
            unlock(self.words_fileno)
        return free

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fileno)
        os.close(self.words_fileno)


def _words(line: bytes) -> dict[str, Any]:
    try:
        words = json.loads(line)
    except ValueError:
        return {}
    return words if isinstance(words, dict) else {}
