"""Rows are chosen by name, and one that fails does not take the others with it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.bench import Bench, Failed, Group, Measured, Row, run
from benchmarks.figures import SECONDS, Figures, alone
from benchmarks.problems import CannotMeasure
from benchmarks.rows import all_groups

BENCH = Bench(runs=3, seconds=1)


def good(bench: Bench, scene: str) -> Figures:
    assert scene == "scene"
    return alone([1.0] * bench.runs, SECONDS)


def bad(_: Bench, __: str) -> Figures:
    raise CannotMeasure("Socket errors: read 3")


def wrong(_: Bench, __: str) -> Figures:
    raise ZeroDivisionError("a mistake")


@contextmanager
def scene(_: Bench) -> Iterator[str]:
    yield "scene"


@contextmanager
def missing(_: Bench) -> Iterator[str]:
    raise CannotMeasure("not installed")
    yield "scene"


def rows(*measures: object) -> tuple[Row[str], ...]:
    return tuple(Row(name=f"{one.__name__}/1", title="", measure=one) for one in measures)


def test_a_row_that_fails_lets_the_others_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    groups = [
        Group(scene=missing, rows=rows(good)),
        Group(scene=scene, rows=rows(bad, wrong, good)),
    ]
    first, second, third, last = run(BENCH, groups)
    assert isinstance(first, Failed)
    assert first.reason == "not installed"
    assert isinstance(second, Failed)
    assert second.reason == "Socket errors: read 3"
    assert isinstance(third, Failed)
    assert isinstance(last, Measured)
    printed = capsys.readouterr().err
    assert "bad/1: FAILED: Socket errors: read 3" in printed
    # Only what is a mistake of the benchmark has a traceback.
    assert printed.count("Traceback") == 1


def test_rows_are_chosen_by_pattern() -> None:
    group = Group(scene=scene, rows=rows(good, bad, wrong))
    assert [row.name for row in group.only(["g*", "*/2"]).rows] == ["good/1"]
    assert group.only([]).rows == group.rows


def test_each_row_has_a_name_and_a_place_of_its_own() -> None:
    every = [row for group in all_groups() for row in group.rows]
    assert len({row.name for row in every}) == len(every)
    assert len({(row.title, row.rival) for row in every}) == len(every)
