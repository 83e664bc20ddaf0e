"""The report in Markdown: which machine, the goals, and the other proxies beside each other.

The README quotes a few rows of it, always the same ones: `excerpt`.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from benchmarks.bench import Failed, Measured, Outcome
from benchmarks.figures import Goal, Unit

BEGIN = "<!-- benchmarks: begin -->"
END = "<!-- benchmarks: end -->"
QUOTED = (
    "hot/200-gzip.json",
    "hot/50kB.whl",
    "cold/page",
    "uv/install",
    "uv/install-30ms",
    "rivals/*/200.json",
    "rivals/*/50kB",
)
"""Rows by their names: what installs are made of, whether we look good in them or not."""


class NoMarkers(Exception):
    """A file that has no place for the report."""


def render(conditions: str, outcomes: Sequence[Outcome]) -> str:
    """The whole report."""
    return f"{conditions}\n\n{_tables(outcomes)}" if outcomes else f"{conditions}\n"


def _tables(outcomes: Sequence[Outcome]) -> str:
    compared = [outcome for outcome in outcomes if not outcome.row.rival]
    rivals = [outcome for outcome in outcomes if outcome.row.rival]
    parts = []
    if compared:
        parts.append(_table_of_goals(compared))
    if rivals:
        parts += [
            "How many times faster wheelkeep is than other proxies:",
            _table_of_rivals(rivals),
        ]
    return "\n\n".join(parts) + "\n" if parts else ""


def excerpt(outcomes: Sequence[Outcome]) -> str:
    """The rows that the README quotes. Empty where none of them was measured."""
    quoted = [
        outcome
        for outcome in outcomes
        if any(fnmatchcase(outcome.row.name, pattern) for pattern in QUOTED)
    ]
    return _tables(quoted)


def put_into(text: str, report: str) -> str:
    """The text with the report between the two markers. Raises `NoMarkers`."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise NoMarkers(f"needs a line {BEGIN} and a line {END}")
    return f"{before}{BEGIN}\n{report}{END}{after}"


def _table_of_goals(outcomes: Sequence[Outcome]) -> str:
    lines = ["| | wheelkeep | reference | result | goal | |", "|---|--:|--:|--:|--:|---|"]
    lines += [_line_of_goal(outcome) for outcome in outcomes]
    return "\n".join(lines)


def _line_of_goal(outcome: Outcome) -> str:
    title, goal = outcome.row.title, outcome.row.goal
    if isinstance(outcome, Failed):
        return f"| {title} | | | {_cell(outcome.reason)} | | **not measured** |"
    found = outcome.figures
    ours = "" if found.ours is None else found.side_unit.show(found.ours)
    reference = "" if found.reference is None else found.side_unit.show(found.reference)
    result = found.unit.show_spread(found.result)
    met = "" if goal is None else "met" if outcome.is_good else "**missed**"
    shown = "" if goal is None else _shown(goal, found.unit)
    return f"| {title} | {ours} | {reference} | {result} | {shown} | {met} |"


def _shown(goal: Goal, unit: Unit) -> str:
    limit = f"{goal.limit / unit.per:g}{unit.name}"
    return f"{'≥' if goal.is_least else '≤'} {limit}"


def _table_of_rivals(outcomes: Sequence[Outcome]) -> str:
    rivals = list(dict.fromkeys(outcome.row.rival for outcome in outcomes))
    by_place = {(outcome.row.title, outcome.row.rival): outcome for outcome in outcomes}
    lines = [f"| | {' | '.join(rivals)} |", f"|---|{'--:|' * len(rivals)}"]
    for title in dict.fromkeys(outcome.row.title for outcome in outcomes):
        cells = [_cell_of_rival(by_place.get((title, rival))) for rival in rivals]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell_of_rival(outcome: Outcome | None) -> str:
    match outcome:
        case Measured(figures=figures):
            return figures.unit.show_spread(figures.result)
        case Failed(reason=reason):
            return _cell(reason)
        case None:
            return ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
