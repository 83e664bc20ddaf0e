"""The command line: `wheelkeep COMMAND`. Each command is a module of `commands/`."""

import gc
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from keyword import iskeyword
from typing import Any

import click
from click.shell_completion import CompletionItem

from proxy import __version__
from proxy.commands import INTERRUPTED
from proxy.commands.help import write_as_it_is
from proxy.errors import CommandFailed, ConfigError, StoreUnavailable
from proxy.words import printable

COMMANDS = {
    "serve": "Serve packages to pip, uv, Poetry and pdm.",
    "doctor": "Tell what works, what does not, and what to do about it.",
    "stats": "Show what a running server has done, and saved.",
    "purge": "Forget projects, so that their indexes are asked anew.",
    "verify": "Read all that is kept again, and drop what is damaged.",
    "warm": "Fill a cache with what lock files and requirements files name.",
    "export": "Write the cache, or a part of it, into one file.",
    "import": "Take in such a file, every byte verified.",
    "token": "Make a token, and the sha256 that the settings want.",
    "completion": "Have a shell complete what is typed.",
}
"""As `--help` lists them, which loads none of them."""
_STANDARD_ERROR = 2
_EPILOG = """
Start with:
  wheelkeep serve                       PyPI on http://127.0.0.1:3141/simple/
  wheelkeep doctor                      what works, and what does not
  pip install --index-url http://127.0.0.1:3141/simple/ NAME

`wheelkeep COMMAND --help` tells more; settings are told by `wheelkeep serve --help`.
Secrets are never written out. NO_COLOR is respected, and --json is for programs.
Exit status: 0 done, 1 not done, 2 wrong usage or settings, 130 interrupted.
"""


class Commands(click.Group):
    """Loads a command when it is asked for, since each needs another part of the house.

    Ends in one line where something is wrong, and in exit status 2 where that is the
    configuration, else in 1; whoever presses Ctrl-C gets 130, as shells have it.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """See `click.Group`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """See `click.Group`."""
        if cmd_name not in COMMANDS:
            return None
        # What is loaded stays. To look for garbage in it takes a tenth of the time until it serves.
        gc.disable()
        with _without_rich():
            import_module("structlog")
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        module = import_module(f"proxy.commands.{name}")
        gc.freeze()
        gc.enable()
        if cmd_name != "serve":
            _tell_of_no_retries()
        command: click.Command = getattr(module, name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See `click.Group`. What is no command is told with the one that may be meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            if args[0].startswith("-"):
                raise
            from proxy.setting_problems import nearest  # noqa: PLC0415 - loads pydantic

            # click would look among the commands that are loaded.
            meant = nearest(args[0], list(COMMANDS))
            ctx.fail(f"there is no command {args[0]!r}{meant}")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """See `click.Group`."""
        write_as_it_is(formatter, self.epilog)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """See `click.Group`."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """See `click.Group`."""
        found = [
            CompletionItem(name, help=help)
            for name, help in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        # Of the group itself, which would load all commands to see which of them are hidden.
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def main(self, *arguments: Any, **keywords: Any) -> Any:
        """See `click.Command`."""
        _open_what_is_closed()
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A terminal may not have all letters, and a path may be no text at all.
            sys.stdout.reconfigure(errors="replace")
        return super().main(*arguments, **keywords)

    def invoke(self, ctx: click.Context) -> Any:
        """See `click.Group`."""
        try:
            return super().invoke(ctx)
        except ConfigError as problem:
            click.echo(f"wheelkeep: {printable(str(problem))}", err=True)
            sys.exit(2)
        except (CommandFailed, StoreUnavailable) as problem:
            click.echo(f"wheelkeep: {printable(str(problem))}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)


def _open_what_is_closed() -> None:
    """Standard streams that whoever started us has closed.

    A socket or a database would get their numbers, and with them what is meant for people.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115, PTH123 - until we end
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115, PTH123


def _tell_of_no_retries() -> None:
    """By default they are logged on standard output, amid what a command says."""
    if "stamina" in sys.modules:
        sys.modules["stamina"].instrumentation.set_on_retry_hooks(())


@click.group(
    cls=Commands,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 88},
)
@click.version_option(__version__, prog_name="wheelkeep")
def main() -> None:
    """A caching proxy in front of PyPI and other Python package indexes."""


@contextmanager
def _without_rich() -> Iterator[None]:
    """Let nobody load rich, which draws tables and bars: structlog would, to draw tracebacks.

    That is a tenth of the time until it serves as well.
    """
    name = "rich"
    held = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]  # the import system's word for: not there
    try:
        yield
    finally:
        del sys.modules[name]
        if held is not None:
            sys.modules[name] = held
