"""Writes a bundle: what was planned, each file verified before its first byte is written."""

import hashlib
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from glob import escape
from io import BufferedIOBase
from pathlib import Path
from typing import BinaryIO

import msgspec

from proxy.bundle.archive import LARGEST_MANIFEST_BYTES, ArchiveWriter, Sink
from proxy.bundle.errors import TooLargeToImport
from proxy.bundle.manifest import (
    END,
    MAC,
    MANIFEST,
    BundledFile,
    End,
    blob_key,
    digest_of,
    encode,
    file_member,
    mac_of,
    page_member,
)
from proxy.bundle.planning import Plan
from proxy.errors import StoreUnavailable
from proxy.storage.blobs import BlobKey
from proxy.storage.locks import lock, sweep
from proxy.storage.opening import Stores

_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A bundle that was written. `sha256` is that of its manifest, by which it is known."""

    sha256: str
    bundle_bytes: int
    left_out: tuple[str, ...]
    """Members that were planned and could not be had: evicted meanwhile, or damaged."""


async def write(
    plan: Plan, stores: Stores, out: Sink, key: bytes | None, progress: Callable[[int], None]
) -> Exported:
    """Write the bundle. `progress` is told of bytes.

    Raises `OSError`, `StoreUnavailable`; `TooLargeToImport` before anything is written.
    """
    manifest = encode(plan.manifest)
    if len(manifest) > LARGEST_MANIFEST_BYTES:
        raise TooLargeToImport(sum(len(one.files) for one in plan.manifest.projects))
    archive = ArchiveWriter(out)
    archive.add(MANIFEST, len(manifest), [manifest])
    if key is not None:
        mac = mac_of(manifest, key)
        archive.add(MAC, len(mac), [mac])
    left_out: list[str] = []
    for one in plan.manifest.projects:
        for file in one.files:
            member = file_member(one.project, file)
            with ExitStack() as files:
                source = await _verified(stores, blob_key(one.project, file), file, files)
                if source is None:
                    left_out.append(member.name)
                else:
                    archive.add(member.name, file.size, _pieces(source, progress))
        for page in one.pages:
            if (body := page_member(page)) is not None:
                archive.add(body.name, body.size_bytes, [plan.bodies.get(page)])
                progress(body.size_bytes)
    end = msgspec.json.encode(End(left_out=tuple(left_out)))
    archive.add(END, len(end), [end])
    archive.close()
    return Exported(
        sha256=digest_of(manifest),
        bundle_bytes=archive.written_bytes,
        left_out=tuple(left_out),
    )


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when it is whole; until then it has another, hidden one.

    What a crash left of an earlier attempt goes. Raises `OSError`.
    """
    sweep(path.parent, f".{escape(path.name)}.*.part")
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            lock(file.fileno(), exclusive=True)
            yield file
            file.flush()
            os.fsync(file.fileno())
            part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


async def _verified(
    stores: Stores, key: BlobKey, file: BundledFile, files: ExitStack
) -> BufferedIOBase | None:
    """The file, open and verified: from the disk, or where that does not have it from the others.

    None: nobody has it, or not as its name says. It is not evicted while it is open, which it is
    as long as `files`. Raises `StoreUnavailable`.
    """
    try:
        source: BufferedIOBase = files.enter_context(stores.blobs.path(key).open("rb"))
    except FileNotFoundError:
        if stores.shared is None:
            return None
        fetched = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - so it is
        async with stores.shared.fetch(key)() as stream:
            async for chunk in stream.chunks:
                fetched.write(chunk)
        fetched.seek(0)
        source = fetched
    with _as_ours():
        lock(source.fileno(), exclusive=False)
        digest = hashlib.file_digest(source, "sha256").hexdigest()
        is_right = digest == file.sha256 and source.tell() == file.size
        source.seek(0)
    return source if is_right else None


def _pieces(source: BufferedIOBase, progress: Callable[[int], None]) -> Iterator[bytes]:
    while True:
        with _as_ours():
            data = source.read(_READ_BYTES)
        if not data:
            return
        progress(len(data))
        yield data


@contextmanager
def _as_ours() -> Iterator[None]:
    """Tell a disk that cannot be read from one that cannot be written to."""
    try:
        yield
    except OSError as problem:
        raise StoreUnavailable("blob store", str(problem)) from problem
