"""The command line: `wheelkeep COMMAND`. Each command is a module of `commands/`."""

import gc
import sys
from importlib import import_module
from typing import Any

import click

from proxy import __version__
from proxy.commands import INTERRUPTED
from proxy.errors import CommandFailed, ConfigError, StoreUnavailable

COMMANDS = ("serve", "doctor", "stats", "purge", "verify", "warm", "token", "completion")
"""As `--help` lists them."""


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
        module = import_module(f"proxy.commands.{cmd_name}")
        gc.freeze()
        gc.enable()
        if cmd_name != "serve":
            _tell_of_no_retries()
        command: click.Command = getattr(module, cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """See `click.Group`."""
        try:
            return super().invoke(ctx)
        except (ConfigError, StoreUnavailable) as problem:
            click.echo(f"wheelkeep: {problem}", err=True)
            sys.exit(2)
        except CommandFailed as problem:
            click.echo(f"wheelkeep: {problem}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)


def _tell_of_no_retries() -> None:
    """By default they are logged on standard output, amid what a command says."""
    if "stamina" in sys.modules:
        sys.modules["stamina"].instrumentation.set_on_retry_hooks(())


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wheelkeep")
def main() -> None:
    """A caching proxy in front of PyPI and other Python package indexes."""
