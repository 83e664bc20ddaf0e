"""The table of HTTP's rules: each line has a test that there is, and each test has a line."""

import importlib
import re
from pathlib import Path

import pytest

from tests.docs.documents import ROOT, page

TESTS = ROOT / "tests"
_NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
_SECTIONS = re.compile(
    r"(?:\d{4}(?: §[\d.]+(?:, §[\d.]+)*)?)(?:, \d{4}(?: §[\d.]+(?:, §[\d.]+)*)?)*"
)


def lines() -> list[list[str]]:
    """The cells of each line."""
    found = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in page("reference/http.md").splitlines()
        if line.startswith("| ") and not line.startswith(("| ---", "| rule"))
    ]
    assert len(found) > 50
    return found


def found_in(path: Path) -> set[str]:
    """The tests that pytest finds in a file."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return {one for one in vars(importlib.import_module(name)) if one.startswith("test_")}


@pytest.mark.parametrize("line", lines(), ids=lambda line: line[0][:40])
def test_a_line_names_its_sections_and_its_tests(line: list[str]) -> None:
    """And each of these is there."""
    rule, sections, what, tests = line
    named = _NAMED.findall(tests)

    assert rule
    assert what.endswith(".")
    assert _SECTIONS.fullmatch(sections), sections
    assert tests == ", ".join(f"`{file}::{name}`" for file, name in named)
    assert named
    for file, name in named:
        assert name in found_in(TESTS / file)


def test_each_test_of_conformance_has_a_line() -> None:
    """So whoever adds one says what it is for."""
    named = {f"{file}::{name}" for *_, tests in lines() for file, name in _NAMED.findall(tests)}
    written = {
        f"conformance/{path.name}::{name}"
        for path in (TESTS / "conformance").glob("test_*.py")
        for name in found_in(path)
    }

    assert written - named == set()
