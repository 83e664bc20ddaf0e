"""What a distribution's own file says of it, and the entry of a page that is made of it. Pure.

Read first: PEP 691 (files), PEP 700 (size, upload-time), PEP 714 (core-metadata).
"""

import errno
import hashlib
import io
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from proxy.simple.sdist import UnreadableSdist, read_pkg_info, requires_python_of
from proxy.simple.wheel import UnreadableWheel, read_metadata

_NO_FAULT_OF_THE_DISK = (None, errno.EINVAL)  # it was asked for what stands before the beginning
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a file says. `metadata_sha256` is that of a wheel's core metadata."""

    sha256: str
    requires_python: str | None
    metadata_sha256: str | None = None


def contents_of(file: io.BufferedReader, filename: str) -> Contents:
    """What the wheel or source distribution says.

    Raises `UnreadableWheel`, also of one that is not whole yet, and `OSError`. A source
    distribution may be anything.
    """
    metadata = None
    if filename.endswith(".whl"):
        # First, since the end of a wheel that is being copied is not there yet: no use in hashing
        # what comes before it.
        metadata = wheel_metadata(file, filename)
        requires_python = requires_python_of(metadata)
    else:
        try:
            requires_python = requires_python_of(read_pkg_info(file, filename))
        except UnreadableSdist:
            requires_python = None
    file.seek(0)
    return Contents(
        sha256=hashlib.file_digest(file, "sha256").hexdigest(),
        requires_python=requires_python,
        metadata_sha256=None if metadata is None else hashlib.sha256(metadata).hexdigest(),
    )


def wheel_metadata(file: io.BufferedReader, filename: str) -> bytes:
    """The core metadata of a wheel on disk. Raises `UnreadableWheel`, `OSError`."""
    try:
        return read_metadata(file, filename)
    except UnreadableWheel as problem:
        cause = problem.__cause__
        # A disk that fails says nothing of the wheel.
        if isinstance(cause, OSError) and cause.errno not in _NO_FAULT_OF_THE_DISK:
            raise cause from problem
        raise


def entry_of(
    *, filename: str, url: str, size_bytes: int, mtime_ns: int, contents: Contents
) -> dict[str, Any]:
    """The JSON object of a file that was last changed `mtime_ns` nanoseconds after 1970."""
    entry: dict[str, Any] = {
        "filename": filename,
        "url": url,
        "hashes": {"sha256": contents.sha256},
        "size": size_bytes,
    }
    with suppress(OverflowError):  # no date has a name so far away
        moment = _EPOCH + timedelta(microseconds=mtime_ns // 1000)
        entry["upload-time"] = moment.isoformat().replace("+00:00", "Z")
    if contents.requires_python is not None:
        entry["requires-python"] = contents.requires_python
    if contents.metadata_sha256 is not None:
        entry["core-metadata"] = {"sha256": contents.metadata_sha256}
    return entry
