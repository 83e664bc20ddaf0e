"""What a cache that has much costs: of an answer, nothing; of memory, what is bounded.

The rows of independence compare wheelkeep with wheelkeep: one that has little, and one that
has five hundred times more. Both answer the same question.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks import figures, memory, nginx, servers
from benchmarks.bench import Bench, Group, Row
from benchmarks.client import get_ok
from benchmarks.crowd import ask_for_all
from benchmarks.data import JSON, Listed, Site
from benchmarks.figures import MEGABYTES, Figures, at_least
from benchmarks.processes import free_port
from benchmarks.rows.pace import requests_compared
from benchmarks.rows.questions import conditional
from benchmarks.servers import Server
from benchmarks.wheels import make_wheel

_FEW, _MANY, _VERY_MANY = 10, 5_000, 20_000
_FILES_ON_PAGE = 10
_FILES_ON_LARGE_PAGE = 4_000
_FILES_ON_PAGE_OF_SCAN = 20
_LIMIT = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The site that upstream serves, and two of wheelkeep that have nothing yet."""

    site: Site
    large: Server
    small: Server


def groups() -> list[Group[Scene]]:
    """Projects, blobs, files on a page; then memory after very many projects."""
    rows = (
        Row(
            name="growth/projects",
            title=f"page with {_MANY:,} projects kept, against {_FEW}",
            measure=_measure_projects,
            goal=at_least(_LIMIT),
        ),
        Row(
            name="growth/blobs",
            title=f"file with {_MANY:,} files kept, against {_FEW}",
            measure=_measure_blobs,
            goal=at_least(_LIMIT),
        ),
        Row(
            name="growth/304",
            title=f"304 of a page of {_FILES_ON_LARGE_PAGE:,} files, against {_FILES_ON_PAGE}",
            measure=_measure_304,
            goal=at_least(_LIMIT),
        ),
    )
    scan = Row(
        name="memory/scan",
        title=f"memory of a worker after {_VERY_MANY:,} projects (RSS)",
        measure=_measure_scan,
    )
    # Of its own: what the rows before it left there would count.
    return [Group(scene=_scene, rows=rows), Group(scene=_scene, rows=(scan,))]


@contextmanager
def _scene(bench: Bench) -> Iterator[Scene]:
    with bench.scratch() as folder:
        port = free_port()
        site = Site(folder / "site", f"http://127.0.0.1:{port}")
        index_url = f"{site.origin}/simple/"
        with (
            nginx.upstream(folder / "upstream", site.folder, port),
            servers.wheelkeep(folder / "large", index_url) as large,
            servers.wheelkeep(folder / "small", index_url) as small,
        ):
            yield Scene(site=site, large=large, small=small)


def _measure_projects(bench: Bench, scene: Scene) -> Figures:
    names = [f"grown-{number}" for number in range(_MANY)]
    for name in names:
        scene.site.add_page(name, scene.site.imaginary(name, _FILES_ON_PAGE), [JSON])
    ask_for_all([scene.large.page(name) for name in names])
    ask_for_all([scene.small.page(name) for name in names[:_FEW]])
    return requests_compared(bench, scene.large.page(names[0]), scene.small.page(names[0]))


def _measure_blobs(bench: Bench, scene: Scene) -> Figures:
    project = "many-files"
    files: list[Listed] = []
    for number in range(_MANY):
        wheel = make_wheel(project, f"1.{number}", payload=bytes(1_000))
        files.append(scene.site.add_wheel(f"1.{number}", wheel))
    scene.site.add_page(project, files)
    large, small = (server.files(project) for server in (scene.large, scene.small))
    first, *_ = names = [file.filename for file in files]
    ask_for_all([large[name] for name in names])
    ask_for_all([small[name] for name in names[:_FEW]])
    return requests_compared(bench, large[first], small[first])


def _measure_304(bench: Bench, scene: Scene) -> Figures:
    """Both pages of the same server: what counts is the size of the page."""
    pages = []
    for count in (_FILES_ON_LARGE_PAGE, _FILES_ON_PAGE):
        project = f"of-{count}"
        scene.site.add_page(project, scene.site.imaginary(project, count))
        get_ok(scene.small.page(project))
        pages.append(conditional(scene.small.page(project)))
    large, small = pages
    return requests_compared(bench, large, small)


def _measure_scan(_: Bench, scene: Scene) -> Figures:
    """Every project of an index asked for once, as a mirror or a scanner does it."""
    names = [f"scanned-{number}" for number in range(_VERY_MANY)]
    for name in names:
        scene.site.add_page(name, scene.site.imaginary(name, _FILES_ON_PAGE_OF_SCAN), [JSON])
    # Uncompressed, so that there is more of it than may be kept ready.
    ask_for_all([scene.large.page(name, coding="identity") for name in names])
    workers = [memory.rss_of(worker) for worker in memory.children_of(scene.large.pid)]
    return figures.alone(workers, MEGABYTES)
