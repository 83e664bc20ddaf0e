"""What nobody has asked for before: how much later it comes than straight from upstream.

Upstream is on the same machine and answers at once, so all of the difference is our own. A
large file comes over a line of 1 Gbit/s as well: an index that is nearer than the disk is fast
does not exist, and whoever verifies and keeps what passes can only keep up with a line.
"""

import random
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count

from benchmarks import figures, nginx, servers
from benchmarks.bench import Bench, Group, Row
from benchmarks.client import Connection, Target, Timing
from benchmarks.data import Site
from benchmarks.figures import MILLISECONDS, SECONDS, Figures, at_most
from benchmarks.processes import free_port
from benchmarks.servers import Server
from benchmarks.wheels import make_wheel

_PROJECTS = 200
_FILES_ON_PAGE = 60
_FILE_SIZE = 100_000_000
"""In bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """wheelkeep, upstream, and the site behind upstream, to which each run adds something new."""

    site: Site
    upstream: Server
    wheelkeep: Server
    numbers: Iterator[int]
    """Of projects, none of them twice."""

    def new_project(self, prefix: str = "cold") -> str:
        """A name that was never asked for."""
        return f"{prefix}-{next(self.numbers)}"


def groups() -> list[Group[Scene]]:
    """Pages, and a large file."""
    rows = (
        Row(
            name="cold/page",
            title=f"cold page of {_FILES_ON_PAGE} files, more than from upstream",
            measure=_measure_pages,
            goal=at_most(0.003),
        ),
        Row(
            name="cold/100MB",
            title="cold file of 100 MB from a line of 1 Gbit/s, time against upstream",
            measure=partial(_measure_file, "line"),
            goal=at_most(1.05),
        ),
        # Upstream is faster here than anything that has to be verified and kept: no goal.
        Row(
            name="cold/100MB-loopback",
            title="cold file of 100 MB from the same machine, time against upstream",
            measure=partial(_measure_file, "cold"),
        ),
        Row(
            name="cold/100MB-first-byte",
            title="cold file of 100 MB, first byte later than from upstream",
            measure=_measure_first_byte,
            goal=at_most(0.005),
        ),
    )
    return [Group(scene=_scene, rows=rows)]


@contextmanager
def _scene(bench: Bench) -> Iterator[Scene]:
    with bench.scratch() as folder:
        port = free_port()
        site = Site(folder / "site", f"http://127.0.0.1:{port}")
        upstream = Server(name="upstream", index_url=f"{site.origin}/simple/")
        with (
            nginx.upstream(folder / "upstream", site.folder, port),
            servers.wheelkeep(folder / "wheelkeep", upstream.index_url) as wheelkeep,
        ):
            yield Scene(site=site, upstream=upstream, wheelkeep=wheelkeep, numbers=count())


def _measure_pages(bench: Bench, scene: Scene) -> Figures:
    """Each project is asked for once, of both; a run's figure is the median of many."""
    pairs = [_pages_of_one_run(scene) for _ in range(bench.runs)]
    return figures.difference(pairs, MILLISECONDS)


def _pages_of_one_run(scene: Scene) -> tuple[float, float]:
    projects = [scene.new_project() for _ in range(_PROJECTS)]
    for project in projects:
        scene.site.add_page(project, scene.site.imaginary(project, _FILES_ON_PAGE))
    with Connection(scene.wheelkeep.index_url) as client, Connection(scene.site.origin) as direct:
        timed = [
            (_timed(client, scene.wheelkeep.page(one)), _timed(direct, scene.upstream.page(one)))
            for one in projects
        ][1:]  # the first has to connect, and wheelkeep to upstream
    ours_of_all, theirs_of_all = zip(*timed, strict=True)
    return statistics.median(ours_of_all), statistics.median(theirs_of_all)


def _timed(connection: Connection, target: Target) -> float:
    return connection.download(target).total


def _measure_file(prefix: str, bench: Bench, scene: Scene) -> Figures:
    timed = [_file_of_one_run(scene, prefix) for _ in range(bench.runs)]
    return figures.ratio([(ours.total, theirs.total) for ours, theirs in timed], SECONDS)


def _measure_first_byte(bench: Bench, scene: Scene) -> Figures:
    timed = [_file_of_one_run(scene, "line") for _ in range(bench.runs)]
    pairs = [(ours.first_byte, theirs.first_byte) for ours, theirs in timed]
    return figures.difference(pairs, MILLISECONDS)


def _file_of_one_run(scene: Scene, prefix: str) -> tuple[Timing, Timing]:
    """A file that was never asked for, from wheelkeep and from upstream."""
    project = scene.new_project(prefix)
    wheel = make_wheel(project, "1.0", payload=random.Random(project).randbytes(_FILE_SIZE))
    listed = scene.site.add_wheel("1.0", wheel)
    scene.site.add_page(project, [listed])
    # As a client does it: the page is asked for first.
    ours, theirs = (
        server.file(project, wheel.filename) for server in (scene.wheelkeep, scene.upstream)
    )
    with Connection(ours.url) as client, Connection(theirs.url) as direct:
        timed = client.download(ours), direct.download(theirs)
    scene.site.remove_wheel(listed)
    return timed
