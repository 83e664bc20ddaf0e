"""What is installed together with wheelkeep: its dependencies, theirs, and so on.

As they are installed here, on this Python and this platform. What only our tests, our documentation
or a release need is not among them. Read the specification of dependency specifiers first.
"""

import venv
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import Distribution, distribution
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

NAME = "wheelkeep"
EXTRAS = frozenset({"otel"})
"""Those that change what a server does."""


def closure() -> list[Distribution]:
    """All of them by name, without wheelkeep itself. Raises `PackageNotFoundError`."""
    found: dict[NormalizedName, Distribution] = {}
    seen: set[tuple[NormalizedName, frozenset[str]]] = set()
    todo = [(canonicalize_name(NAME), EXTRAS)]
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found[name] = distribution(name)
        todo += _needed(found[name], extras)
    del found[canonicalize_name(NAME)]
    return [found[name] for name in sorted(found)]


def _needed(
    one: Distribution, extras: frozenset[str]
) -> Iterator[tuple[NormalizedName, frozenset[str]]]:
    """Whom it asks for, with which of their extras, when it is installed with these of its own."""
    for line in one.requires or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield canonicalize_name(requirement.name), frozenset(requirement.extras)


@contextmanager
def environment_of(distributions: list[Distribution]) -> Iterator[Path]:
    """An environment in which these are, and nothing else, for tools that look at one.

    They have their metadata there, without what tells how and where from they were installed here.
    """
    with TemporaryDirectory(prefix="wheelkeep-") as folder:
        environment = Path(folder)
        venv.create(environment, symlinks=True, with_pip=False)
        (packages,) = environment.glob("lib/python*/site-packages")
        for one in distributions:
            metadata = one.read_text("METADATA")
            assert metadata is not None, f"{one.name} is installed without its metadata"
            name = canonicalize_name(one.name).replace("-", "_")
            kept = packages / f"{name}-{one.version}.dist-info"
            kept.mkdir()
            (kept / "METADATA").write_text(metadata)
        yield environment
