"""Who listens where `wheelkeep serve` wants to."""

import asyncio
from contextlib import suppress

from proxy.errors import ConfigError, NoServer
from proxy.server_client import ServerAddress, ServerClient
from proxy.settings import Server

_LONGEST_SECONDS = 2.0


def who_answers(server: Server) -> str:
    """The end of a sentence on the port that is taken; empty where that is no wheelkeep."""
    with suppress(NoServer, ConfigError, TimeoutError):
        asyncio.run(_ask(server))
        return "; a wheelkeep answers there already"
    return ""


async def _ask(server: Server) -> None:
    async with (
        asyncio.timeout(_LONGEST_SECONDS),
        ServerClient.open(ServerAddress.of(server)) as client,
    ):
        await client.ask("GET", "/healthz")  # whatever it says, it is one
