"""What is kept and asked for again and again, against nginx that serves the same bytes as files.

nginx gets the very bytes that wheelkeep answers, compressed beforehand where it is asked for
gzip, under fixed names, with its log off. Nothing that has to negotiate can do with less.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import figures, load, nginx, servers
from benchmarks.bench import Bench, Group, Row
from benchmarks.client import Target, get
from benchmarks.data import HTML, JSON, SUFFIXES
from benchmarks.figures import MEGABYTES_PER_SECOND, PER_SECOND, Figures, at_least
from benchmarks.problems import WrongAnswer
from benchmarks.processes import free_port
from benchmarks.rows import questions
from benchmarks.rows.questions import SIZES, File, Page, Question, conditional
from benchmarks.servers import Server

_WARM_UP_SECONDS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """wheelkeep, and nginx at two ports: with compressed files, and with files as they are."""

    wheelkeep: Server
    root: Path
    precompressed: int
    plain: int

    def copy_to_nginx(self, question: Question) -> Target:
        """Let nginx have what wheelkeep answers; where nginx has it."""
        ours = question.target(self.wheelkeep)
        answer = get(ours)
        question.check(answer)
        is_gzipped = answer.headers.get("content-encoding") == "gzip"
        if is_gzipped != (ours.headers.get("Accept-Encoding") == "gzip"):
            raise WrongAnswer(f"{ours.url}: not in the coding that was asked for")
        name = _name_of(question)
        path = self.root / f"{name}{'.gz' if is_gzipped else ''}"
        path.write_bytes(answer.body)
        port = self.precompressed if is_gzipped else self.plain
        copied = Target(url=f"http://127.0.0.1:{port}/{name}", headers=ours.headers)
        if get(copied).body != answer.body:
            raise WrongAnswer(f"{copied.url}: nginx answers other bytes")
        return copied


@contextmanager
def _scene(bench: Bench) -> Iterator[Scene]:
    with bench.scratch() as folder, questions.upstream(folder) as origin:
        root = folder / "static"
        root.mkdir()
        precompressed, plain = free_port(), free_port()
        with (
            nginx.static(folder / "nginx", root, precompressed, plain),
            servers.wheelkeep(folder / "wheelkeep", f"{origin}/simple/") as wheelkeep,
        ):
            yield Scene(wheelkeep=wheelkeep, root=root, precompressed=precompressed, plain=plain)


def groups() -> list[Group[Scene]]:
    """Pages in both formats and codings, 304, metadata and files."""
    rows = []
    for coding, limit in (("gzip", 1.0), ("identity", 0.7)):
        for format in (JSON, HTML):
            for count in SIZES:
                page = Page(count=count, format=format, coding=coding)
                rows.append(_row(page, limit))
    rows += [
        _row(Page(count=200, format=format), 0.8, is_conditional=True) for format in (JSON, HTML)
    ]
    rows += [_row(File(payload="50 kB", suffix=".metadata"), 0.8), _row(File(payload="50 kB"), 0.8)]
    large = File(payload="50 MB")
    rows.append(
        Row(
            name=f"hot/{_name_of(large)}",
            title=title_of(large),
            measure=_measure_large_file,
            goal=at_least(0.95),
        )
    )
    return [Group(scene=_scene, rows=tuple(rows))]


def _row(question: Question, limit: float, *, is_conditional: bool = False) -> Row[Scene]:
    return Row(
        name=f"hot/{'304-' if is_conditional else ''}{_name_of(question)}",
        title=title_of(question, is_conditional=is_conditional),
        measure=partial(_measure, question, is_conditional=is_conditional),
        goal=at_least(limit),
    )


def _measure(question: Question, bench: Bench, scene: Scene, *, is_conditional: bool) -> Figures:
    reference, ours = scene.copy_to_nginx(question), question.target(scene.wheelkeep)
    if is_conditional:
        reference, ours = conditional(reference), conditional(ours)
    return requests_compared(bench, ours, reference)


def _measure_large_file(bench: Bench, scene: Scene) -> Figures:
    question = File(payload="50 MB")
    reference, ours = scene.copy_to_nginx(question), question.target(scene.wheelkeep)
    pairs = figures.in_turns(
        bench.runs,
        lambda: load.generate(ours, bench.seconds).size,
        lambda: load.generate(reference, bench.seconds).size,
    )
    return figures.ratio(pairs, MEGABYTES_PER_SECOND)


def requests_compared(bench: Bench, ours: Target, reference: Target) -> Figures:
    """How many requests per second each of the two answers."""
    for target in (ours, reference):
        load.generate(target, _WARM_UP_SECONDS)
    pairs = figures.in_turns(
        bench.runs,
        lambda: load.requests_of(ours, bench.seconds),
        lambda: load.requests_of(reference, bench.seconds),
    )
    return figures.ratio(pairs, PER_SECOND)


def title_of(question: Question, *, is_conditional: bool = False) -> str:
    """As it stands in the report."""
    match question:
        case Page():
            coding = ", gzip" if question.coding == "gzip" else ", uncompressed"
            told = f"page of {question.count:,} files, {SUFFIXES[question.format].upper()}"
            return f"304, {told}" if is_conditional else f"{told}{coding}"
        case File(suffix=""):
            return f"file of {question.payload}"
        case File():
            return "`.metadata`"


def _name_of(question: Question) -> str:
    match question:
        case Page():
            return f"{question.count}-{question.coding}.{SUFFIXES[question.format]}"
        case File():
            return f"{question.payload.replace(' ', '')}.whl{question.suffix}"
