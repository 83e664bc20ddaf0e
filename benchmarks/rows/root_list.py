"""The list of all projects, as long as that of the public index, from one that speaks only HTML.

So wheelkeep has to make the JSON that most clients want. What counts is what others notice of
that: how long they wait meanwhile, and how much memory it takes.
"""

import gzip
import itertools
import json
import random
import string
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import figures, memory, nginx, servers
from benchmarks.bench import Bench, Group, Row
from benchmarks.client import Answer, Connection, Target, get, get_ok
from benchmarks.data import HTML, JSON, SUFFIXES, Site
from benchmarks.figures import MEGABYTES, MILLISECONDS, Figures, at_least, at_most
from benchmarks.problems import WrongAnswer
from benchmarks.processes import free_port
from benchmarks.rows import limit
from benchmarks.rows.pace import requests_compared
from benchmarks.servers import Server

_NAMES = 700_000
_OTHER = "other"
"""A project whose page is asked for meanwhile."""
_CONNECTIONS = 4
"""Of the client that asks for it: enough to reach both workers."""
_PAUSE_SECONDS = 0.001
_SETTLING_SECONDS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RootList:
    """The question for the list in one format, gzipped."""

    format: str

    @property
    def name(self) -> str:
        """What the copy is called."""
        return f"list.{SUFFIXES[self.format]}"

    @property
    def title(self) -> str:
        """As it stands in the report."""
        return f"list of {_NAMES:,} projects, {SUFFIXES[self.format].upper()}, gzip"

    def target(self, server: Server) -> Target:
        """Where that server has it."""
        headers = {"Accept": self.format, "Accept-Encoding": "gzip"}
        return Target(url=server.index_url, headers=headers)

    def check(self, answer: Answer) -> None:
        """Raises `WrongAnswer` where that is not the whole list."""
        body = gzip.decompress(answer.body)
        is_json = self.format == JSON
        count = len(json.loads(body)["projects"]) if is_json else body.count(b"<a ")
        if answer.status != 200 or count != _NAMES:
            raise WrongAnswer(f"a list of {count} names, not of {_NAMES}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cold:
    """The upstream for a wheelkeep of each run, and how long its list is in bytes."""

    folder: Path
    origin: str
    size: int

    @contextmanager
    def wheelkeep(self, name: str) -> Iterator[Server]:
        """One that has nothing yet but the page of the other project."""
        with servers.wheelkeep(self.folder / name, f"{self.origin}/simple/") as server:
            get_ok(server.page(_OTHER))
            time.sleep(_SETTLING_SECONDS)
            yield server


def groups() -> list[Group[limit.Scene] | Group[_Cold]]:
    """Hot, and while it is made."""
    hot = tuple(
        Row(
            name=f"root/{question.name}",
            title=question.title,
            measure=partial(_measure_hot, question),
            goal=at_least(1.0),
        )
        for question in (RootList(format=JSON), RootList(format=HTML))
    )
    cold = (
        Row(
            name="root/wait",
            title="longest wait for a page while that list is made, and without it",
            measure=_measure_wait,
            goal=at_most(0.05),
        ),
        Row(
            name="root/memory",
            title="memory that making it takes, against its size",
            measure=_measure_memory,
            goal=at_most(5),
        ),
    )
    return [Group(scene=_hot, rows=hot), Group(scene=_cold, rows=cold)]


@contextmanager
def _cold(bench: Bench) -> Iterator[_Cold]:
    with bench.scratch() as folder:
        port = free_port()
        site = Site(folder / "site", f"http://127.0.0.1:{port}")
        site.add_page(_OTHER, site.imaginary(_OTHER, 10))
        site.add_root_list(_names(), [HTML])
        size = (site.folder / "simple" / "index.html").stat().st_size
        with nginx.upstream(folder / "upstream", site.folder, port):
            yield _Cold(folder=folder, origin=site.origin, size=size)


@contextmanager
def _hot(bench: Bench) -> Iterator[limit.Scene]:
    with _cold(bench) as cold, limit.beside_nginx(cold.folder, cold.origin) as scene:
        yield scene


def _measure_hot(question: RootList, bench: Bench, scene: limit.Scene) -> Figures:
    return requests_compared(bench, *scene.both(question))


def _measure_wait(bench: Bench, scene: _Cold) -> Figures:
    """The longest wait of each run, and in the reference of as long a time without the list."""
    waits, others = [], []
    for number in range(bench.runs):
        with scene.wheelkeep(f"wait-{number}") as server:
            begun = time.monotonic()
            waits.append(_longest_wait(server, is_listing=True))
            others.append(_longest_wait(server, seconds=time.monotonic() - begun))
    found = figures.alone(waits, MILLISECONDS)
    return replace(found, reference=median(others), side_unit=MILLISECONDS)


def _longest_wait(server: Server, *, is_listing: bool = False, seconds: float = 0) -> float:
    """For the page of the other project, until the list is there, or so many seconds."""
    page, longest = server.page(_OTHER), 0.0
    with ExitStack() as stack:
        clients = [stack.enter_context(Connection(page.url)) for _ in range(_CONNECTIONS)]
        for client in clients:
            client.get(page)
        thread = stack.enter_context(ThreadPoolExecutor(1))
        job = partial(_ask_for_list, server) if is_listing else partial(time.sleep, seconds)
        listing = thread.submit(job)
        for client in itertools.cycle(clients):
            begun = time.perf_counter()
            client.get(page)
            longest = max(longest, time.perf_counter() - begun)
            if listing.done():
                listing.result()
                return longest
            time.sleep(_PAUSE_SECONDS)
    raise AssertionError


def _ask_for_list(server: Server) -> None:
    answer = get(RootList(format=JSON).target(server))
    if answer.status != 200:
        raise WrongAnswer(f"status {answer.status}")


def _measure_memory(bench: Bench, scene: _Cold) -> Figures:
    """The most that all processes have at once, less what they had before."""
    pairs: list[tuple[float, float]] = []
    for number in range(bench.runs):
        with scene.wheelkeep(f"memory-{number}") as server:
            idle = memory.pss_of_tree(server.pid)
            with memory.watched(server.pid) as peak:
                _ask_for_list(server)
            pairs.append((peak.size - idle, scene.size))
    return figures.ratio(pairs, MEGABYTES)


def _names() -> list[str]:
    """As long as names are out there, and as hard to compress."""
    chance = random.Random(_NAMES)
    names: set[str] = set()
    while len(names) < _NAMES:
        length = chance.randint(6, 20)
        names.add("".join(chance.choices(string.ascii_lowercase, k=length)))
    return sorted(names)
