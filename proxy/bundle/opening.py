"""The beginning of a bundle: its manifest, and whether that is the one that is meant."""

import hmac
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from proxy.bundle.archive import ArchiveReader
from proxy.bundle.errors import BundleBrokenOff, BundleRefused, NotABundle
from proxy.bundle.manifest import MAC, SHORTEST_KEY_BYTES, Manifest, decode, digest_of, mac_of
from proxy.errors import ConfigError
from proxy.settings import Index

STREAM = "-"
"""What stands for a pipe where a file may be named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle whose manifest has been read. `archive` stands behind it."""

    archive: ArchiveReader
    manifest: Manifest
    sha256: str
    """Of the manifest."""
    has_mac: bool


@contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """The file of that name, or standard input. Raises `ConfigError`."""
    if name == STREAM:
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 - it is closed below
    except OSError as problem:
        raise ConfigError(f"{name}: {problem.strerror}") from None
    with file:
        yield file


def read_key(path: Path) -> bytes:
    """The key in that file: what both sides know, and nobody else. Raises `ConfigError`."""
    try:
        key = path.read_bytes().strip()
    except OSError as problem:
        raise ConfigError(f"{path}: {problem.strerror}") from None
    if len(key) < SHORTEST_KEY_BYTES:
        raise ConfigError(
            f"{path}: a key has {SHORTEST_KEY_BYTES} bytes at least; "
            "`openssl rand -hex 32` makes one"
        )
    return key


def begin(source: BinaryIO, sha256: str | None = None, key: bytes | None = None) -> Bundle:
    """Read the manifest, and hold it against what is known of it.

    Raises `NotABundle`, and `ConfigError` where it is another one than is meant.
    """
    archive = ArchiveReader(source)
    data = archive.manifest()
    digest = digest_of(data)
    if sha256 is not None and sha256.lower() != digest:
        raise ConfigError(
            f"the sha256 of the bundle's manifest is {digest}, and not {sha256}: "
            "this is not the bundle that was meant; nothing of it was taken"
        )
    has_mac = _check_mac(archive, data, key)
    try:
        manifest = decode(data)
    except BundleRefused as problem:
        raise NotABundle(f"{problem.member}: {problem.problem}") from None
    return Bundle(archive=archive, manifest=manifest, sha256=digest, has_mac=has_mac)


def indexes_here(
    manifest: Manifest, configured: Sequence[Index], renamed: Mapping[str, str]
) -> dict[str, Index]:
    """What each index of the bundle is here. Raises `ConfigError`."""
    here = {index.name: index for index in configured}
    known = {index.name: index for index in manifest.indexes}
    for name, other in renamed.items():
        if name not in known:
            raise ConfigError(
                f"--index {name}={other}: the bundle has no index {name}, "
                f"only {', '.join(known) or 'none'}"
            )
    found: dict[str, Index] = {}
    for name, index in known.items():
        other = renamed.get(name, name)
        if other not in here:
            patterns = ", ".join(f'"{pattern}"' for pattern in index.projects)
            raise ConfigError(
                f"the bundle has pages of the index {name}, and no index {other} is configured "
                f'here: add [[index]] with name = "{other}", url = "{index.url}", '
                f"projects = [{patterns}] to the configuration, or say which one stands for it: "
                f"--index {name}={next(iter(here))}"
            )
        if here[other] in found.values():
            raise ConfigError(f"--index: two indexes of the bundle cannot both be {other} here")
        found[name] = here[other]
    return found


def _check_mac(archive: ArchiveReader, manifest: bytes, key: bytes | None) -> bool:
    """Whether there is one. Raises `ConfigError` unless it fits a key that is given."""
    wanted = mac_of(manifest, key or b"")
    try:
        has_mac = archive.is_next(MAC, len(wanted))
        found = b"".join(archive.content(len(wanted))) if has_mac else b""
    except (BundleBrokenOff, BundleRefused):
        raise NotABundle("it ends behind its manifest") from None
    if key is not None and not hmac.compare_digest(found, wanted):
        problem = "it was made with another key" if has_mac else "it was exported without --key"
        raise ConfigError(f"--key: {problem}; nothing of the bundle was taken")
    return has_mac
