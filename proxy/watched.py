"""A small file that may change while wheelkeep runs: tokens, a password that is rotated."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from proxy.errors import ConfigError
from proxy.telemetry import Telemetry

_LOOK_SECONDS = 1.0

Value = TypeVar("Value")
Identity = tuple[int, int, int, int]
"""Size in bytes, mtime and ctime in nanoseconds, inode: other bytes have another one."""


def identity_of(status: os.stat_result) -> Identity:
    """What tells a file from the one that was there before."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


class WatchedFile(Generic[Value]):
    """What stands in a file by now.

    `read` reads it and raises `ValueError` that says what is wrong with it, and nothing of what
    stands there: it may be a secret. `setting` is the key that names the file, and whose it is. The
    file must be there and right to begin with, or `ConfigError` is raised; what goes wrong with it
    later is logged, and the last good value stays.
    """

    def __init__(
        self, path: Path, read: Callable[[Path], Value], setting: str, telemetry: Telemetry
    ) -> None:
        self._path = path
        self._read = read
        self._setting = setting
        self._telemetry = telemetry
        self._looked_at = time.monotonic()
        try:
            self._identity: Identity | None = identity_of(self._path.stat())
            self._value = self._read(self._path)
        except (OSError, ValueError) as problem:
            raise ConfigError(self._told(problem)) from None

    def __repr__(self) -> str:
        return f"<WatchedFile {self._path}>"

    def value(self) -> Value:
        """What stands in the file; looked at once a second at the most."""
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self._refresh()
        return self._value

    def _refresh(self) -> None:
        try:
            found = identity_of(self._path.stat())
        except OSError as problem:
            self._complain(None, problem)
            return
        if found == self._identity:
            return
        try:
            self._value = self._read(self._path)
        except (OSError, ValueError) as problem:
            self._complain(found, problem)
            return
        self._identity = found
        self._telemetry.log.info("read anew", setting=self._setting, file=str(self._path))

    def _complain(self, found: Identity | None, problem: Exception) -> None:
        """Once for each state of the file."""
        if found != self._identity:
            self._telemetry.log.warning("the last good content stays", problem=self._told(problem))
        self._identity = found

    def _told(self, problem: Exception) -> str:
        # What cannot be decoded would be quoted.
        is_binary = isinstance(problem, UnicodeDecodeError)
        reason = "is no text" if is_binary else getattr(problem, "strerror", None) or problem
        return f"{self._setting}: {self._path}: {reason}"
