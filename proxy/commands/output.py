"""How commands say things: tables and bars for people, JSON for programs.

rich draws them, and looks at NO_COLOR, TERM and whether there is a terminal at all. Where there
is none, a table is as wide as its words: nothing is folded or cut that a program may look for.
What commands say comes from servers and files as well, so no text is taken for markup.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

import click
import msgspec

from proxy.words import counted, printable

if TYPE_CHECKING:  # loaded when something is drawn: half of a command's time to start
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.progress import Progress
    from rich.table import Table

_AS_WIDE_AS_ITS_WORDS = 100_000


def json_option(command: Callable[..., None]) -> Callable[..., None]:
    """`--json`, as `as_json`."""
    option = click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
    return option(command)


def write_json(value: Any, *, stderr: bool = False) -> None:
    """The value as JSON, on standard output or on standard error."""
    plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    click.echo(json.dumps(msgspec.to_builtins(plain), indent=2, ensure_ascii=False), err=stderr)


@contextmanager
def logs_aside() -> Iterator[None]:
    """What is logged within goes to standard error: the other one is for what a command says."""
    import structlog  # noqa: PLC0415

    before = structlog.get_config()
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    try:
        yield
    finally:
        structlog.configure(**before)


def console(*, stderr: bool = False) -> "Console":
    """Where tables and bars are drawn."""
    from rich.console import Console  # noqa: PLC0415

    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = _AS_WIDE_AS_ITS_WORDS
    return made


class Harmless:
    """What is drawn, but that nothing of what others wrote in it steers the terminal."""

    def __init__(self, drawn: "RenderableType") -> None:
        self._drawn = drawn

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.segment import Segment  # noqa: PLC0415

        for text, style, control in console.render(self._drawn, options):
            yield Segment(text if control else printable(text), style, control)


def show(*drawn: "RenderableType") -> None:
    """Draw it on standard output; where that is no terminal, lines end where their words do."""
    shown = console()
    harmless = [Harmless(one) for one in drawn]
    if shown.is_terminal:
        shown.print(*harmless, sep="\n")
        return
    with shown.capture() as captured:
        shown.print(*harmless, sep="\n")
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def table(*columns: str, right: Sequence[str] = (), title: str = "") -> "Table":
    """An empty table; the columns in `right` hold numbers. Headings that are empty say nothing."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    made = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        title=Text(title) if title else None,
        title_justify="left",
        title_style="bold",
        header_style="dim",
        show_header=any(columns),
    )
    for name in columns:
        made.add_column(Text(name), justify="right" if name in right else "left")
    return made


def progress(*, counts_bytes: bool = False, is_shown: bool = True) -> "Progress":
    """A bar on standard error, or nothing where that is no terminal: `add_task` names its work."""
    from rich import progress as bars  # noqa: PLC0415

    done: list[bars.ProgressColumn] = [bars.MofNCompleteColumn()]
    if counts_bytes:
        done = [bars.DownloadColumn(binary_units=True), bars.TransferSpeedColumn()]
    shown = console(stderr=True)
    return bars.Progress(
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        *done,
        bars.TimeRemainingColumn(compact=True),
        console=shown,
        transient=True,
        redirect_stdout=False,  # see `say`
        disable=not (is_shown and shown.is_terminal),
    )


def say(bar: "Progress", text: str) -> None:
    """A line on standard output while there is a bar: above it, where both are on a terminal."""
    text = printable(text)
    if bar.disable or not sys.stdout.isatty():
        click.echo(text)
    else:
        bar.console.print(text, soft_wrap=True)


def complain(text: str) -> None:
    """A line on standard error; what others wrote of it steers no terminal."""
    click.echo(printable(text), err=True)


def contents(summary: Mapping[str, Any]) -> str:
    """What a bundle has, or brought: `2 projects, 2 pages, 1 document, 4 files`."""
    things = ("project", "page", "document", "file")
    return ", ".join(counted(summary[f"{thing}s"], thing) for thing in things)
