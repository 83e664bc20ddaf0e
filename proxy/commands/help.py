"""Help that can be read: options in groups, and at its end what does not fit elsewhere."""

from collections.abc import Callable
from typing import Any

import click

_OTHERS = "Options"
CACHE = "Which cache"
SERVER = "Which server"


class GroupedOption(click.Option):
    """An option that is listed under a heading."""

    def __init__(self, *declarations: Any, group: str = _OTHERS, **attributes: Any) -> None:
        super().__init__(*declarations, **attributes)
        self.group = group


def option(group: str, *declarations: str, **attributes: Any) -> Callable[..., Any]:
    """`click.option`, listed in that group."""
    return click.option(*declarations, cls=GroupedOption, group=group, **attributes)


class GroupedCommand(click.Command):
    """A command whose help has its options by groups. What ends its help, keeps its lines."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See `click.Command`."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                group = param.group if isinstance(param, GroupedOption) else _OTHERS
                groups.setdefault(group, []).append(record)
        for name in sorted(groups, key=lambda name: _place(name, len(groups[name]))):
            with formatter.section(name):
                formatter.write_dl(groups[name])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """See `click.Command`."""
        write_as_it_is(formatter, self.epilog)


def _place(group: str, options: int) -> int:
    """What is peculiar to a command comes first; --help last, where it is alone."""
    if group == _OTHERS:
        return 1 if options > 1 else 4
    return {SERVER: 2, CACHE: 3}.get(group, 0)


def write_as_it_is(formatter: click.HelpFormatter, epilog: str | None) -> None:
    """Examples and lists, whose lines mean something."""
    if epilog:
        formatter.write_paragraph()
        formatter.write(f"{epilog.strip()}\n")
