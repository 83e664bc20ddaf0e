"""What pyproject.toml says that wheelkeep needs: all of it, nothing else, and in which versions."""

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ROOT = Path(__file__).parents[1]
_PROJECT: dict[str, Any] = tomllib.loads((_ROOT / "pyproject.toml").read_text())
_EXTRAS: dict[str, list[str]] = _PROJECT["project"]["optional-dependencies"]
_RUNTIME = [*_PROJECT["project"]["dependencies"], *_EXTRAS["otel"]]
_ALL = {
    line
    for lines in (_RUNTIME, *_EXTRAS.values(), _PROJECT["build-system"]["requires"])
    for line in lines
    if not line.startswith("wheelkeep[")
}


@pytest.mark.parametrize("line", sorted(_ALL))
def test_a_range_has_both_ends(line: str) -> None:
    """From what we have tried, up to what nobody knows yet."""
    operators = {one.operator for one in Requirement(line).specifier}

    assert operators & {">=", "==", "~="}
    assert operators & {"<", "<=", "==", "~="}


def test_what_is_imported_is_declared_and_what_is_declared_is_imported(
    projects: Mapping[str, list[str]],
) -> None:
    """Nothing comes along with another by chance, and nothing is installed for nobody."""
    requirements = [Requirement(line) for line in _RUNTIME]
    declared = {
        canonicalize_name(one.name)
        for one in requirements
        if one.marker is None or one.marker.evaluate()  # what Python has itself is not installed
    }
    modules = set(imported_modules(_ROOT / "proxy"))
    imported = {owner_of(module, projects) for module in modules}

    assert imported - {None} == declared


def imported_modules(folder: Path) -> Iterator[str]:
    """Of others than Python and us; of `from a import b` both `a` and `a.b`, if that is one."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import(names=names):
                    found = [alias.name for alias in names]
                case ast.ImportFrom(module=str(module), names=names, level=0):
                    found = [module, *(f"{module}.{alias.name}" for alias in names)]
                case _:
                    continue
            known = sys.stdlib_module_names | {"proxy"}
            yield from (name for name in found if name.partition(".")[0] not in known)


@pytest.fixture(scope="module")
def projects() -> Mapping[str, list[str]]:
    """What is installed here, by the modules on top: it takes its time."""
    return packages_distributions()


def owner_of(module: str, projects: Mapping[str, list[str]]) -> str | None:
    """The project whose module it is; none where several projects share a folder of that name."""
    path = module.replace(".", "/")
    owners = {canonicalize_name(name) for name in projects.get(module.partition(".")[0], ())}
    if len(owners) == 1:
        return owners.pop()
    for owner in owners:
        files = {str(file) for file in distribution(owner).files or ()}
        if files & {f"{path}.py", f"{path}/__init__.py"}:
            return owner
    return None
