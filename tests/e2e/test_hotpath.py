"""Ready answers in the real process, on the event loop that it runs on."""

import asyncio
from pathlib import Path

from yarl import URL

from tests.fakes import FakeUpstream
from tests.raw import Connection, get
from tests.servers import wheelkeep

JSON = "Accept: application/vnd.pypi.simple.v1+json"


async def test_answers_keep_their_order_and_their_bytes(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Large ready ones, small ready ones and the framework's, asked for without waiting."""
    for number in range(1500):
        upstream.add("many", f"many-1.{number}.tar.gz", content=b"x")
    upstream.add("six", "six-1.0.tar.gz")
    targets = ["/simple/six/", "/simple/many/", "/healthz", "/simple/six/"] * 40
    async with wheelkeep(tmp_path / "cache", "--index-url", upstream.url) as server:
        url = URL(server.url)
        reader, writer = await asyncio.open_connection(url.host, url.port, limit=1 << 24)
        client = Connection(reader, writer)
        alone = {}
        for target in (*targets[:3], *targets[:3], *targets[:3]):
            alone[target] = (await client.ask(get(target, JSON))).body
        writer.write(b"".join(get(target, JSON) for target in targets))
        together = [(await client.answer()).body for _ in targets]
        writer.close()

    assert together == [alone[target] for target in targets]
    assert len(alone["/simple/many/"]) > 200_000
