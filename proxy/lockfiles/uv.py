"""uv.lock. Its version 1 is known, whatever the revision: revisions only add to it.

It holds the whole graph of dependencies, with a marker at each of its edges. What a target wants
is what can be reached from the workspace for it, with all extras and groups: a cache serves
whoever installs any of them.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from proxy.errors import without_secrets
from proxy.lockfiles.model import (
    Format,
    Found,
    LockFile,
    Offer,
    Reason,
    check_parts,
    filename_of,
    sha256_in,
)
from proxy.lockfiles.targets import Target, might_hold

_KNOWN_VERSION = 1
_OWN_SOURCES = ("editable", "virtual")
"""`package.source`: the project itself, and those of its workspace."""

Package = Mapping[str, Any]
Dependency = Mapping[str, Any]


def parse(document: Mapping[str, Any], name: str, targets: tuple[Target, ...]) -> LockFile:
    """What the file asks for. Raises `LockFileError`, and whatever an odd file makes of it."""
    check_parts(document, name, "uv.lock", "version")
    found = Found(name=name, targets=targets)
    version = document["version"]
    if version != _KNOWN_VERSION:
        found.notes.append(
            f"{name}: version {version} of uv.lock is not known, and is read as {_KNOWN_VERSION}"
        )
    graph = _Graph(document, found)
    wanted: dict[int, list[Target]] = {}
    for target in targets:
        for at in graph.reached(target):
            wanted.setdefault(at, []).append(target)
    for at, package in enumerate(graph.packages):
        _add(found, package, tuple(wanted.get(at, ())), is_itself=graph.is_itself(at))
    return found.whole(Format.UV, version)


def _add(found: Found, package: Package, targets: tuple[Target, ...], *, is_itself: bool) -> None:
    source = package.get("source", {})
    project = found.project(package["name"])
    if "registry" not in source:
        kind, place = next(iter(source.items()), ("unknown", ""))
        detail = f"{kind}: {without_secrets(str(place))}"
        reason = Reason.ITSELF if is_itself else Reason.NOT_OF_AN_INDEX
        found.pass_over(project, reason, detail)
        return
    offers = []
    for file in (*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())):
        place = str(file.get("url") or file.get("path") or "")
        filename = str(file.get("filename") or filename_of(place))
        if "url" in file and "://" in place and not place.startswith("file:"):
            offers.append(Offer(filename=filename, sha256=sha256_in(file.get("hash")), url=place))
        else:
            found.pass_over(filename, Reason.NOT_OF_AN_INDEX, f"a path: {place}")
    found.add_version(
        project, package.get("version"), offers, targets=targets, index=source["registry"]
    )


class _Graph:
    """Packages, and which of them lead to which."""

    def __init__(self, document: Mapping[str, Any], found: Found) -> None:
        self.packages: list[Package] = list(document.get("package", ()))
        self._manifest = document.get("manifest", {})
        self._found = found
        self._by_name: dict[str, list[int]] = {}
        for at, package in enumerate(self.packages):
            self._by_name.setdefault(package["name"], []).append(at)

    def reached(self, target: Target) -> set[int]:
        """The positions of the packages that a target wants."""
        roots = list(self._roots())
        if not any(True for _ in self._given()) and not roots:
            # Nothing says where to begin.
            return {at for at in range(len(self.packages)) if self._is_for(at, target)}
        waiting: list[tuple[int, str | None]] = []
        for at in roots:
            waiting.append((at, None))
            waiting += ((at, extra) for extra in self.packages[at].get("optional-dependencies", {}))
        for dependency in self._given():
            waiting += self._led_to(dependency, target)
        seen = set(waiting)
        while waiting:
            at, extra = waiting.pop()
            for dependency in self._dependencies(at, extra, is_root=at in roots):
                new = [one for one in self._led_to(dependency, target) if one not in seen]
                seen.update(new)
                waiting += new
        return {at for at, _ in seen}

    def is_itself(self, at: int) -> bool:
        """Whether it is the project that was locked, or a member of that workspace."""
        package = self.packages[at]
        source = package.get("source", {})
        is_here = any(source.get(kind) == "." for kind in _OWN_SOURCES)
        return is_here or package["name"] in self._manifest.get("members", ())

    def _roots(self) -> Iterator[int]:
        members = self._manifest.get("members", ())
        for at, package in enumerate(self.packages):
            is_own = any(kind in package.get("source", {}) for kind in _OWN_SOURCES)
            if is_own or package["name"] in members:
                yield at

    def _given(self) -> Iterator[Dependency]:
        """What a script, or a workspace without a project, wants by itself."""
        yield from self._manifest.get("requirements", ())
        for group in self._manifest.get("dependency-groups", {}).values():
            yield from group

    def _dependencies(self, at: int, extra: str | None, *, is_root: bool) -> Iterable[Dependency]:
        package = self.packages[at]
        if extra is not None:
            return list(package.get("optional-dependencies", {}).get(extra, ()))
        groups = package.get("dev-dependencies", {}).values() if is_root else ()
        return [*package.get("dependencies", ()), *(one for group in groups for one in group)]

    def _led_to(self, dependency: Dependency, target: Target) -> list[tuple[int, str | None]]:
        """Packages, each by itself and with each extra that is asked for."""
        if not might_hold(target, self._found.marker(dependency.get("marker"))):
            return []
        # uv gives version and source only where there are several.
        given = {key: dependency[key] for key in ("version", "source") if key in dependency}
        extras = dependency.get("extra", dependency.get("extras", ()))
        return [
            (at, extra)
            for at in self._by_name.get(dependency["name"], ())
            if all(self.packages[at].get(key) == value for key, value in given.items())
            and self._is_for(at, target)
            for extra in (None, *extras)
        ]

    def _is_for(self, at: int, target: Target) -> bool:
        markers = self.packages[at].get("resolution-markers", ())
        return not markers or any(
            might_hold(target, self._found.marker(marker)) for marker in markers
        )
