"""`wheelkeep doctor`."""

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from proxy.commands.completion import complete_indexes
from proxy.commands.help import GroupedCommand
from proxy.commands.options import cache_options, settings_of
from proxy.commands.output import console, json_option, show, table, write_json
from proxy.doctor.examination import examine
from proxy.doctor.findings import CheckResult, Finding, problem, skipped, worst
from proxy.errors import ConfigError
from proxy.settings import Settings

_STYLES = {
    CheckResult.OK: "green",
    CheckResult.SKIPPED: "dim",
    CheckResult.WARNING: "yellow",
    CheckResult.PROBLEM: "bold red",
}
_COUNTED = {
    CheckResult.OK: "ok",
    CheckResult.WARNING: "to look at",
    CheckResult.PROBLEM: "wrong",
    CheckResult.SKIPPED: "skipped",
}
"""What is said behind the number of these."""
_PROBLEMS, _WRONG_SETTINGS = 1, 2

_EPILOG = """
Exit status:
  0    all is well, or there are warnings only
  1    there are problems
  2    the settings are wrong
"""


@click.command(cls=GroupedCommand, epilog=_EPILOG)
@click.option(
    "--index",
    "indexes",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_indexes,
    help="Ask this index only; may be given more than once.",
)
@cache_options
@json_option
def doctor(
    indexes: tuple[str, ...],
    config: Path | None,
    cache_dir: str | None,
    redis: str | None,
    as_json: bool,
) -> None:
    """Look at settings, cache, indexes, Redis, port and certificate: what works, what does not.

    Each index is asked for one small page, Redis and the object store keep a probe for a
    moment; nothing else is changed, and no secret is shown. May run beside a server, as the
    user who runs it. With cache.offline no index is asked.
    """
    try:
        settings = settings_of(config, cache_dir, redis)
    except ConfigError as wrong:
        advice = "config/wheelkeep.toml of the sources shows every key, with its default"
        rest = skipped("everything else", "the settings have to be right first")
        _tell([problem("settings", str(wrong), advice), rest], as_json=as_json)
        sys.exit(_WRONG_SETTINGS)
    _check_names(indexes, settings)
    with console(stderr=True).status("Looking…"):
        findings = asyncio.run(examine(settings, indexes))
    _tell(findings, as_json=as_json)
    sys.exit(_PROBLEMS if worst(findings) is CheckResult.PROBLEM else 0)


def _check_names(indexes: Sequence[str], settings: Settings) -> None:
    known = [index.name for index in settings.index]
    for name in indexes:
        if name not in known:
            raise click.BadParameter(f"there is no index {name!r}; there is {', '.join(known)}")


def _tell(findings: Sequence[Finding], *, as_json: bool) -> None:
    if as_json:
        write_json({"result": worst(findings), "findings": list(findings)})
        return
    made = table("", "", "")
    for one in findings:
        made.add_row(_mark(one.result), one.check, _words(one))
    counts = Counter(one.result for one in findings)
    said = [f"{counts[result]} {word}" for result, word in _COUNTED.items() if counts[result]]
    show(made, "", ", ".join(said))


def _mark(result: CheckResult) -> Any:
    from rich.text import Text  # noqa: PLC0415

    return Text(str(result), style=_STYLES[result])


def _words(finding: Finding) -> Any:
    from rich.text import Text  # noqa: PLC0415

    words = Text(finding.found)
    if finding.advice:
        words.append(f"\n→ {finding.advice}", style="bold")
    return words
