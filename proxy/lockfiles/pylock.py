"""pylock.toml, the lock file of PEP 751. `packaging.pylock` reads and checks it.

All extras and dependency groups of the file are wanted: a cache serves whoever installs any.
"""

from collections.abc import Mapping
from typing import Any

from packaging.pylock import (
    Package,
    PackageSdist,
    PackageWheel,
    Pylock,
    PylockUnsupportedVersionError,
    PylockValidationError,
)
from packaging.version import Version

from proxy.errors import without_secrets
from proxy.lockfiles.model import (
    Format,
    Found,
    LockFile,
    LockFileError,
    Offer,
    Reason,
    filename_of,
    sha256_in,
)
from proxy.lockfiles.targets import Target, might_hold
from proxy.simple.versions import kind_of

_KNOWN_VERSION = Version("1.0")


def parse(document: Mapping[str, Any], name: str, targets: tuple[Target, ...]) -> LockFile:
    """What the file asks for. Raises `LockFileError`."""
    try:
        lock = Pylock.from_dict(document)
    except (PylockUnsupportedVersionError, PylockValidationError) as problem:
        raise LockFileError(f"{name}: {problem}") from problem
    found = Found(name=name, targets=targets)
    if lock.lock_version > _KNOWN_VERSION:
        found.notes.append(
            f"{name}: version {lock.lock_version} of the format is newer than {_KNOWN_VERSION}, "
            "and is read as that"
        )
    for package in lock.packages:
        _add(found, package)
    return found.whole(Format.PYLOCK, lock.lock_version)


def _add(found: Found, package: Package) -> None:
    version = None if package.version is None else str(package.version)
    for source, kind in (
        (package.vcs, "a repository"),
        (package.directory, "a folder"),
        (package.archive, "a direct link"),
    ):
        if source is not None:
            place = getattr(source, "url", None) or getattr(source, "path", None) or ""
            detail = f"{kind}: {without_secrets(place)}"
            found.pass_over(package.name, Reason.NOT_OF_AN_INDEX, detail)
            return
    offers = []
    for file in (*(package.wheels or ()), *([package.sdist] if package.sdist else ())):
        offer = _offer(file)
        if file.url is None:
            found.pass_over(offer.filename, Reason.NOT_OF_AN_INDEX, f"a path: {file.path}")
        else:
            offers.append(offer)
    found.add_version(
        found.project(package.name),
        version,
        offers,
        targets=tuple(
            target
            for target in found.targets
            if might_hold(target, package.marker) and target.fits_python(package.requires_python)
        ),
        index=package.index,
    )


def _offer(file: PackageWheel | PackageSdist) -> Offer:
    # As the index spells it: uv gives another `name` to what is not spelled as it should be.
    at_end = filename_of(file.url or file.path or "")
    filename = at_end if kind_of(at_end) is not None else file.name or at_end
    sha256 = sha256_in(f"sha256:{file.hashes.get('sha256', '')}")
    return Offer(filename=filename, sha256=sha256, url=file.url)
