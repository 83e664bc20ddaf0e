"""`wheelkeep token`."""

import sys

import click

from proxy.commands.help import GroupedCommand
from proxy.web.tokens import hash_of, new_token

_EPILOG = """
How clients give it:
  pip, uv, Poetry  https://any-name:TOKEN@HOST/simple/
  netrc            machine HOST login any-name password TOKEN
  wheelkeep        --token TOKEN, or WHEELKEEP_TOKEN
  others           Authorization: Bearer TOKEN
"""


@click.command(cls=GroupedCommand, epilog=_EPILOG)
@click.option("--hash", "is_given", is_flag=True, help="Read a token from standard input instead.")
def token(is_given: bool) -> None:
    """Make a token that lets a client in, and the sha256 that the configuration wants.

    The token is shown this once and kept nowhere. Put its sha256 into auth.tokens, or
    on a line of the file that auth.tokens_file names, and give the token to the client.
    """
    made = sys.stdin.readline().strip() if is_given else new_token()
    if not made:
        raise click.UsageError("there is no token on standard input")
    if not is_given:
        click.echo(f"token:  {made}")
    click.echo(f"sha256: {hash_of(made)}")
