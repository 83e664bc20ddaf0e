"""Every command, from the command line in `proxy/cli.py`."""

import inspect
import re

import click

from docs.reference.markdown import code, plain, table
from proxy.cli import main

_DEFAULT = re.compile(r"\s*\[default: ([^;\]]*)\]")


def commands() -> str:
    """A heading for each command, with its usage, what it does, and its options."""
    context = click.Context(main, info_name="wheelkeep")
    return "\n\n".join(
        _command(name, command, context)
        for name in main.list_commands(context)
        if (command := main.get_command(context, name)) is not None
    )


def _command(name: str, command: click.Command, parent: click.Context) -> str:
    context = click.Context(command, info_name=name, parent=parent)
    usage = command.get_usage(context).removeprefix("Usage: ")
    parts = [f"## {name}", f"```text\n{' '.join(usage.split())}\n```", _words(command.help or "")]
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    rows = [_row(option, context) for option in options]
    if rows:
        parts.append(table(["option", "what"], rows))
    if command.epilog:
        parts.append(_kept(command.epilog))
    if isinstance(command, click.Group):
        parts += [
            _command(f"{name} {sub}", one, context).replace("## ", "### ", 1)
            for sub in command.list_commands(context)
            if (one := command.get_command(context, sub)) is not None
        ]
    return "\n\n".join(parts)


def _row(option: click.Option, context: click.Context) -> tuple[str, str]:
    record = option.get_help_record(context)
    names, words = record or (", ".join(option.opts), option.help or "")
    return code(names), plain(_DEFAULT.sub(_said, words))


def _said(default: re.Match[str]) -> str:
    """A value as code, and words as words."""
    value = default[1] if " " in default[1] else f"`{default[1]}`"
    return f" Default: {value}."


def _words(help: str) -> str:
    """The help, whose paragraphs that begin with a backspace are to stay as they are."""
    paragraphs = inspect.cleandoc(help).split("\f")[0].strip().split("\n\n")
    return "\n\n".join(_paragraph(one) for one in paragraphs)


def _paragraph(text: str) -> str:
    return _kept(text.removeprefix("\b")) if text.startswith("\b") else plain(text)


def _kept(text: str) -> str:
    return f"```text\n{inspect.cleandoc(text)}\n```"
