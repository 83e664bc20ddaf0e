"""How soon wheelkeep answers after it was started, and what it takes while it has nothing to do."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import figures, memory, servers
from benchmarks.bench import Bench, Group, Row
from benchmarks.figures import MEGABYTES, SECONDS, Figures, at_most
from benchmarks.processes import free_port

_NOWHERE = "http://127.0.0.1:{port}/simple/"
_SETTLING_SECONDS = 1


def groups() -> list[Group[Path]]:
    """Time until it answers, and memory when idle."""
    rows = (
        Row(
            name="start/healthz",
            title="start to first answer",
            measure=_measure_start,
            goal=at_most(0.5),
        ),
        Row(
            name="memory/idle",
            title="memory of an idle worker (RSS)",
            measure=_measure_memory,
            goal=at_most(80_000_000),
        ),
    )
    return [Group(scene=_scene, rows=rows)]


@contextmanager
def _scene(bench: Bench) -> Iterator[Path]:
    with bench.scratch() as folder:
        yield folder


def _measure_start(bench: Bench, folder: Path) -> Figures:
    def start(number: int) -> float:
        begun = time.perf_counter()
        # Answers from when /healthz does.
        with servers.wheelkeep(folder / f"start-{number}", _NOWHERE.format(port=free_port())):
            return time.perf_counter() - begun

    start(-1)  # reads the program from disk
    return figures.alone([start(number) for number in range(bench.runs)], SECONDS)


def _measure_memory(bench: Bench, folder: Path) -> Figures:
    def idle(number: int) -> int:
        url = _NOWHERE.format(port=free_port())
        with servers.wheelkeep(folder / f"idle-{number}", url) as wheelkeep:
            time.sleep(_SETTLING_SECONDS)
            return max(memory.rss_of(worker) for worker in memory.children_of(wheelkeep.pid))

    return figures.alone([idle(number) for number in range(bench.runs)], MEGABYTES)
