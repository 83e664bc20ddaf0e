"""The hot questions again, to other proxies in front of the same index.

Runs are shorter: what is told is how many times faster wheelkeep is, not a few percent.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks import servers
from benchmarks.bench import Bench, Group, Row
from benchmarks.client import get
from benchmarks.data import HTML, JSON
from benchmarks.figures import ROUGHLY_TIMES, Figures
from benchmarks.rows import questions
from benchmarks.rows.pace import requests_compared
from benchmarks.rows.questions import SIZES, File, Page, Question, conditional
from benchmarks.servers import Server

_SHARE_OF_SECONDS = 0.4
_RIVALS = {
    "nginx as cache": servers.nginx_cache,
    "proxpi": servers.proxpi,
    "devpi-server": servers.devpi,
}
_QUESTIONS: dict[str, Question] = {
    **{
        f"{count}.{name}": Page(count=count, format=format)
        for name, format in (("json", JSON), ("html", HTML))
        for count in SIZES
    },
    "metadata": File(payload="50 kB", suffix=".metadata"),
    "50kB": File(payload="50 kB"),
}

Start = Callable[[Path, str], AbstractContextManager[Server]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """wheelkeep and another proxy."""

    wheelkeep: Server
    rival: Server


def groups() -> list[Group[Scene]]:
    """One group for each rival."""
    return [_group(name, start) for name, start in _RIVALS.items()]


def _group(rival: str, start: Start) -> Group[Scene]:
    prefix = f"rivals/{rival.replace(' ', '-')}"
    rows = [
        Row(
            name=f"{prefix}/{name}",
            title=question.title,
            measure=partial(_measure, question),
            rival=rival,
        )
        for name, question in _QUESTIONS.items()
    ]
    page = Page(count=200)
    rows.append(
        Row(
            name=f"{prefix}/304",
            title=f"304, {page.title}",
            measure=partial(_measure, page, is_conditional=True),
            rival=rival,
        )
    )
    return Group(scene=partial(_scene, start), rows=tuple(rows))


@contextmanager
def _scene(start: Start, bench: Bench) -> Iterator[Scene]:
    with (
        bench.scratch() as folder,
        questions.upstream(folder) as origin,
        start(folder / "rival", origin) as rival,
        servers.wheelkeep(folder / "wheelkeep", f"{origin}/simple/") as wheelkeep,
    ):
        yield Scene(wheelkeep=wheelkeep, rival=rival)


def _measure(
    question: Question, bench: Bench, scene: Scene, *, is_conditional: bool = False
) -> Figures:
    targets = []
    for server in (scene.wheelkeep, scene.rival):
        target = question.target(server)
        question.check(get(target))
        targets.append(conditional(target) if is_conditional else target)
    ours, theirs = targets
    shorter = replace(bench, seconds=max(1.0, bench.seconds * _SHARE_OF_SECONDS))
    return replace(requests_compared(shorter, ours, theirs), unit=ROUGHLY_TIMES)
