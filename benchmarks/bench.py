"""What a row is, and how rows are run: each group on a scene of its own, one after the other.

A row that fails says so in the report and lets the others go on.
"""

import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Generic, TypeVar

import click

from benchmarks.figures import Figures, Goal
from benchmarks.problems import CannotMeasure
from benchmarks.rivals import HOME

Scene = TypeVar("Scene")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """How much is measured: runs a row, and seconds a run under load."""

    runs: int
    seconds: float

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for one scene, on the disk where caches are by default."""
        HOME.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix="run-", dir=HOME, ignore_cleanup_errors=True
        ) as folder:
            yield Path(folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Generic[Scene]):
    """One line of the report. A row with a `rival` stands in that column of the second table."""

    name: str
    title: str
    measure: Callable[[Bench, Scene], Figures]
    goal: Goal | None = None
    rival: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group(Generic[Scene]):
    """Rows that are measured on the same scene: servers that run, and their data."""

    scene: Callable[[Bench], AbstractContextManager[Scene]]
    rows: tuple[Row[Scene], ...]

    def only(self, patterns: Sequence[str]) -> "Group[Scene]":
        """The rows whose names match a pattern; all of them where there is none."""
        kept = (row for row in self.rows if _is_wanted(row.name, patterns))
        return replace(self, rows=tuple(kept))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A row and what it measured."""

    row: Row[Any]
    figures: Figures

    @property
    def is_good(self) -> bool:
        """Whether its goal is met, if it has one."""
        return self.row.goal is None or self.row.goal.is_met_by(self.figures.result.median)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A row that could not be measured, and why."""

    row: Row[Any]
    reason: str


Outcome = Measured | Failed


def run(bench: Bench, groups: Sequence[Group[Any]]) -> Iterator[Outcome]:
    """Measure all rows of these groups, in order."""
    for group in groups:
        if not group.rows:
            continue
        done: set[str] = set()
        try:
            with group.scene(bench) as scene:
                for row in group.rows:
                    done.add(row.name)
                    yield _measure(bench, scene, row)
        except Exception as problem:
            failed = _failed(group.rows[0], problem)
            click.echo(f"{failed.row.name} and what goes with it: {_in_short(failed)}", err=True)
            for row in group.rows:
                if row.name not in done:
                    yield replace(failed, row=row)


def _measure(bench: Bench, scene: Scene, row: Row[Scene]) -> Outcome:
    begun = time.monotonic()
    try:
        outcome: Outcome = Measured(row=row, figures=row.measure(bench, scene))
    except Exception as problem:
        outcome = _failed(row, problem)
    click.echo(f"{row.name}: {_in_short(outcome)} [{time.monotonic() - begun:.0f} s]", err=True)
    return outcome


def _in_short(outcome: Outcome) -> str:
    if isinstance(outcome, Failed):
        return f"FAILED: {outcome.reason}"
    shown = outcome.figures.unit.show_spread(outcome.figures.result)
    return shown if outcome.is_good else f"{shown}, which misses the goal"


def _failed(row: Row[Any], problem: Exception) -> Failed:
    if isinstance(problem, CannotMeasure):
        return Failed(row=row, reason=str(problem))
    click.echo("".join(traceback.format_exception(problem)), err=True)
    return Failed(row=row, reason=repr(problem))


def _is_wanted(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
