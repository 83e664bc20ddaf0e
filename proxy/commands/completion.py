"""`wheelkeep completion`, and what the shell completes of our own."""

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from proxy.commands.help import GroupedCommand
from proxy.commands.options import settings_of
from proxy.errors import ConfigError
from proxy.inventory import project_names
from proxy.settings import Settings
from proxy.simple.model import normalize

_SHELLS = ("bash", "zsh", "fish")
_MOST_NAMES = 200


_EPILOG = """
For this session:
  eval "$(wheelkeep completion bash)"
  eval "$(wheelkeep completion zsh)"
  wheelkeep completion fish | source

For good:
  echo 'eval "$(wheelkeep completion bash)"' >> ~/.bashrc
  echo 'eval "$(wheelkeep completion zsh)"' >> ~/.zshrc
  wheelkeep completion fish > ~/.config/fish/completions/wheelkeep.fish

bash has to be 4.4 or newer; zsh wants compinit to have run before.
"""


@click.command(cls=GroupedCommand, epilog=_EPILOG)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Write what makes a shell complete commands, options, files and project names."""
    made = get_completion_class(shell)
    assert made is not None, "click has these shells"
    click.echo(made(ctx.find_root().command, {}, "wheelkeep", "_WHEELKEEP_COMPLETE").source())


def complete_projects(
    ctx: click.Context, _: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The projects of the cache whose names begin like that."""
    settings = _settings(ctx.params)
    if settings is None:
        return []
    # Half a name may end in what no name ends in.
    beginning = (normalize(f"{incomplete}x") or "x")[:-1]
    names = project_names(settings.cache, beginning, _MOST_NAMES)
    # As it was typed: shells offer nothing that begins otherwise.
    return [CompletionItem(incomplete + name[len(beginning) :]) for name in names]


def complete_indexes(
    ctx: click.Context, _: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The indexes of the settings whose names begin like that, and where they are."""
    settings = _settings(ctx.params)
    found = settings.index if settings is not None else ()
    return [
        CompletionItem(one.name, help=one.url) for one in found if one.name.startswith(incomplete)
    ]


def _settings(params: dict[str, Any]) -> Settings | None:
    """Those that the words so far name; None where they are wrong: Tab tells no error."""
    config = params.get("config")
    try:
        return settings_of(
            Path(config) if config else None, params.get("cache_dir"), params.get("redis")
        )
    except ConfigError:
        return None
