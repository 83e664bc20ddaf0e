"""What is kept and asked for again and again, against the practical limit."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.bench import Bench, Group, Row
from benchmarks.data import HTML, JSON
from benchmarks.figures import Figures, at_least
from benchmarks.rows import questions
from benchmarks.rows.limit import Scene, beside_nginx
from benchmarks.rows.pace import bytes_compared, requests_compared
from benchmarks.rows.questions import SIZES, File, Page, Question, conditional


def groups() -> list[Group[Scene]]:
    """Pages in both formats and codings, 304, metadata and files."""
    rows = [
        _row(Page(count=count, format=format, coding=coding), limit)
        for coding, limit in (("gzip", 1.0), ("identity", 0.7))
        for format in (JSON, HTML)
        for count in SIZES
    ]
    for format in (JSON, HTML):
        page = Page(count=200, format=format)
        rows.append(
            Row(
                name=f"hot/304-{page.name}",
                title=f"304, {page.title}",
                measure=partial(_measure_304, page),
                goal=at_least(0.8),
            )
        )
    rows += [_row(File(payload="50 kB", suffix=".metadata"), 0.8), _row(File(payload="50 kB"), 0.8)]
    large = File(payload="50 MB")
    rows.append(
        Row(
            name=f"hot/{large.name}",
            title=large.title,
            measure=partial(_measure_bytes, large),
            goal=at_least(0.95),
        )
    )
    small = Page(count=10)
    logged = Row(
        name=f"hot/logged-{small.name}",
        title=f"{small.title}, with access logs",
        measure=partial(_measure, small),
    )
    return [
        Group(scene=_scene, rows=tuple(rows)),
        Group(scene=partial(_scene, are_logging=True), rows=(logged,)),
    ]


def _row(question: Question, limit: float) -> Row[Scene]:
    return Row(
        name=f"hot/{question.name}",
        title=question.title,
        measure=partial(_measure, question),
        goal=at_least(limit),
    )


@contextmanager
def _scene(bench: Bench, *, are_logging: bool = False) -> Iterator[Scene]:
    with (
        bench.scratch() as folder,
        questions.upstream(folder) as origin,
        beside_nginx(folder, origin, are_logging=are_logging) as scene,
    ):
        yield scene


def _measure(question: Question, bench: Bench, scene: Scene) -> Figures:
    return requests_compared(bench, *scene.both(question))


def _measure_304(page: Page, bench: Bench, scene: Scene) -> Figures:
    ours, reference = scene.both(page)
    return requests_compared(bench, conditional(ours), conditional(reference))


def _measure_bytes(file: File, bench: Bench, scene: Scene) -> Figures:
    return bytes_compared(bench, *scene.both(file))
