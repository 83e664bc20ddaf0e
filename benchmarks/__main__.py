"""`python -m benchmarks`: measure, and write the report."""

import signal
import sys
from pathlib import Path

import click

from benchmarks.bench import Bench, Failed, run
from benchmarks.machine import conditions
from benchmarks.report import NoMarkers, excerpt, put_into, render
from benchmarks.rows import all_groups


@click.command(context_settings={"show_default": True})
@click.option(
    "--rows", multiple=True, metavar="PATTERN", help="Only rows like 'hot/*'; repeatable."
)
@click.option("--runs", default=3, type=click.IntRange(1), help="How often each row is measured.")
@click.option("--seconds", default=5, type=click.IntRange(1), help="Of load, each run and side.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it there.")
@click.option(
    "--page",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="Put it between the markers of this file.",
)
@click.option(
    "--readme",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="Put the few rows that are quoted between the markers of this file.",
)
@click.option("--list", "is_list", is_flag=True, help="Only say which rows there are.")
def main(
    rows: tuple[str, ...],
    runs: int,
    seconds: int,
    output: Path | None,
    page: Path | None,
    readme: Path | None,
    is_list: bool,
) -> None:
    """Measure wheelkeep against nginx, uv straight from upstream, and other proxies.

    Exits with status 1 where a row could not be measured.
    """
    groups = [group.only(rows) for group in all_groups()]
    if not any(group.rows for group in groups):
        raise click.UsageError("no row has such a name; --list shows all")
    if is_list:
        for group in groups:
            for row in group.rows:
                click.echo(f"{row.name:32} {row.title}{f' ({row.rival})' if row.rival else ''}")
        return
    # So that whatever ends this ends its servers, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    bench = Bench(runs=runs, seconds=seconds)
    for file in filter(None, (page, readme)):
        _with_report(file, "")  # a missing marker is told now, not when all is measured
    outcomes = list(run(bench, groups))
    has_rivals = any(outcome.row.rival for outcome in outcomes)
    report = render(conditions(bench, with_rivals=has_rivals), outcomes)
    click.echo(report)
    if output is not None:
        output.write_text(report)
    if page is not None:
        page.write_text(_with_report(page, report))
    if readme is not None:
        readme.write_text(_with_report(readme, excerpt(outcomes)))
    # What a rival cannot do is a finding.
    if any(isinstance(outcome, Failed) and not outcome.row.rival for outcome in outcomes):
        sys.exit(1)


def _with_report(file: Path, report: str) -> str:
    try:
        return put_into(file.read_text(), report)
    except NoMarkers as problem:
        raise click.ClickException(f"{file} {problem}") from None


if __name__ == "__main__":
    main()
