"""Whether what is installed together with wheelkeep has a known vulnerability.

`python -m release.audit`: pip-audit asks OSV (https://osv.dev), which needs a network. Where that
does not answer, this is said, and is no failure unless an answer is needed: a check that nobody
could make has found nothing wrong, and nothing right.
"""

import datetime as dt
import json
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from release import ROOT
from release.closure import closure, environment_of

ACCEPTED = ROOT / ".ci/release/accepted.toml"
SERVICE = "https://api.osv.dev/v1/query"
FOUND, NOT_ASKED = 1, 3
"""Exit statuses; 2 is that of wrong usage."""

# What pip-audit ends with where the service, or the way to it, does not work.
_NO_ANSWER = re.compile(r"(requests\.exceptions|pip_audit\._service\.interface)\.\w+")


class NotAskedError(Exception):
    """Nobody could tell; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vulnerability:
    """One that is known of a version that is installed here."""

    names: tuple[str, ...]
    project: str
    version: str
    fixed_in: tuple[str, ...]

    def __str__(self) -> str:
        """As it is told to people."""
        fix = f"fixed in {', '.join(self.fixed_in)}" if self.fixed_in else "not fixed yet"
        return f"{self.project} {self.version}: {', '.join(self.names)}; {fix}"


def accepted(path: Path, today: dt.date) -> dict[str, str]:
    """Reasons by name, of those whose day has not come. Raises `click.UsageError`."""
    try:
        entries = tomllib.loads(path.read_text()).get("accepted", [])
        for one in entries:
            if set(one) != {"id", "reason", "until"} or type(one["until"]) is not dt.date:
                raise ValueError(f"each has id, reason and until, a date; this one is {one}")
        return {one["id"]: one["reason"] for one in entries if today < one["until"]}
    except (OSError, ValueError, TypeError) as problem:
        raise click.UsageError(f"{path}: {problem}") from problem


def known_vulnerabilities(environment: Path, service: str) -> list[Vulnerability]:
    """What pip-audit is told of what is installed there. Raises `NotAskedError`."""
    (packages,) = environment.glob("lib/python*/site-packages")
    command = [sys.executable, "-m", "pip_audit", "--path", str(packages), "--strict"]
    command += ["--vulnerability-service", "osv", "--osv-url", service]
    command += ["--format", "json", "--progress-spinner", "off"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    try:
        found = json.loads(asked.stdout)["dependencies"]
    except (ValueError, KeyError) as problem:
        said = asked.stderr.strip().splitlines() or ["nothing"]
        if _NO_ANSWER.match(said[-1]) or "Could not connect" in said[-1]:
            raise NotAskedError(_cause(said[-1])) from problem
        raise click.ClickException(f"pip-audit failed: {said[-1]}") from problem
    return [_vulnerability(project, one) for project in found for one in project["vulns"]]


def _cause(said: str) -> str:
    """The inmost of what an error of requests says, which tells it within itself."""
    return said.rpartition("Caused by ")[2].strip("()")


def _vulnerability(project: dict[str, Any], one: dict[str, Any]) -> Vulnerability:
    return Vulnerability(
        names=tuple(sorted({one["id"], *one["aliases"]})),
        project=project["name"],
        version=project["version"],
        fixed_in=tuple(one["fix_versions"]),
    )


@click.command()
@click.option("--service", default=SERVICE, show_default=True, help="Where OSV's API is.")
@click.option(
    "--accepted",
    "path",
    default=ACCEPTED,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Vulnerabilities that do not count.",
)
@click.option("--needed", is_flag=True, help=f"No answer is a failure, with status {NOT_ASKED}.")
def main(*, service: str, path: Path, needed: bool) -> None:
    """Ask for known vulnerabilities of what is installed together with wheelkeep.

    Ends with status 1 where one is found that .ci/release/accepted.toml does not name.
    """
    reasons = accepted(path, dt.datetime.now(dt.UTC).date())
    together = closure()
    try:
        with environment_of(together) as environment:
            found = known_vulnerabilities(environment, service)
    except NotAskedError as problem:
        click.echo(f"Vulnerabilities were not looked up: {service} gave no answer ({problem})")
        sys.exit(NOT_ASKED if needed else 0)
    counting = 0
    for one in found:
        reason = next((reasons[name] for name in one.names if name in reasons), None)
        counting += reason is None
        click.echo(str(one) if reason is None else f"{one}; accepted: {reason}")
    click.echo(f"{len(together)} projects looked up, {counting} vulnerabilities that count")
    sys.exit(FOUND if counting else 0)


if __name__ == "__main__":
    main()
