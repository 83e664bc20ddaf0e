"""The tables say what was measured, what was not, and put themselves into a README."""

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import pytest

from benchmarks.bench import Failed, Measured, Row
from benchmarks.figures import PER_SECOND, Figures, at_least, ratio
from benchmarks.report import BEGIN, END, QUOTED, NoMarkers, excerpt, put_into, render
from benchmarks.rows import all_groups


def unused(*_: object) -> Figures:
    raise AssertionError


def row(title: str, *, rival: str = "", limit: float | None = None) -> Row[Any]:
    goal = None if limit is None else at_least(limit)
    return Row(name=title, title=title, measure=unused, rival=rival, goal=goal)


FAST = ratio([(100, 50), (300, 100)], PER_SECOND)


def test_goals_are_told_beside_results() -> None:
    lines = render(
        "A machine.",
        [
            Measured(row=row("small", limit=1.0), figures=FAST),
            Measured(row=row("large", limit=4.0), figures=FAST),
            Measured(row=row("free"), figures=FAST),
        ],
    ).splitlines()
    assert lines[0] == "A machine."
    assert "| small | 200/s | 75/s | 2.50× (2.00–3.00) | ≥ 1× | met |" in lines
    assert "| large | 200/s | 75/s | 2.50× (2.00–3.00) | ≥ 4× | **missed** |" in lines
    assert "| free | 200/s | 75/s | 2.50× (2.00–3.00) |  |  |" in lines


def test_what_failed_is_told() -> None:
    text = render("", [Failed(row=row("page", limit=1), reason="Socket errors: a|b")])
    assert "| page | | | Socket errors: a\\|b | | **not measured** |" in text


def test_rivals_stand_beside_each_other() -> None:
    text = render(
        "",
        [
            Measured(row=row("page", rival="one"), figures=FAST),
            Failed(row=row("304", rival="one"), reason="gives no ETag"),
            Measured(row=row("page", rival="two"), figures=FAST),
        ],
    )
    assert "| | one | two |" in text
    assert "| page | 2.50× (2.00–3.00) | 2.50× (2.00–3.00) |" in text
    assert "| 304 | gives no ETag |  |" in text


def test_a_readme_keeps_everything_around_the_markers() -> None:
    readme = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    once = put_into(readme, "new\n")
    assert once == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert put_into(once, "new\n") == once


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}\n{BEGIN}"])
def test_a_readme_without_markers_is_left_alone(text: str) -> None:
    with pytest.raises(NoMarkers, match="needs a line"):
        put_into(text, "new\n")


def test_a_few_rows_are_quoted() -> None:
    """Those of both tables whose names are chosen, in the words of the whole report."""
    outcomes = [
        Measured(row=replace(row("small"), name="hot/10-gzip.json"), figures=FAST),
        Measured(row=replace(row("middle", limit=4.0), name="hot/200-gzip.json"), figures=FAST),
        Measured(row=replace(row("page", rival="one"), name="rivals/one/200.json"), figures=FAST),
    ]
    quoted = excerpt(outcomes).splitlines()
    assert "| middle | 200/s | 75/s | 2.50× (2.00–3.00) | ≥ 4× | **missed** |" in quoted
    assert "| page | 2.50× (2.00–3.00) |" in quoted
    assert not any("small" in line for line in quoted)
    assert set(quoted) <= set(render("A machine.", outcomes).splitlines())
    assert excerpt(outcomes[:1]) == ""


def test_what_is_quoted_is_there() -> None:
    """Each pattern means a row that is measured."""
    names = [one.name for group in all_groups() for one in group.rows]
    for pattern in QUOTED:
        assert any(fnmatchcase(name, pattern) for name in names), pattern
