"""The certificate of a process: told where it is wrong, taken where it is renewed."""

import asyncio
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from tests.certificates import Authority, with_pass_phrase
from tests.e2e.test_server import serve
from tests.fakes import FakeUpstream, eventually
from tests.servers import QUICK, Wheelkeep, free_port, wheelkeep

WORKERS = pytest.mark.parametrize("workers", ["1", "2"])


async def serial(authority: Authority, server: Wheelkeep) -> str:
    """Of the certificate that is shown."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=authority.client())
    try:
        return str(writer.get_extra_info("peercert")["serialNumber"])
    finally:
        writer.close()
        await writer.wait_closed()


@WORKERS
def test_a_wrong_pair_ends_in_one_line_and_status_2(
    authority: Authority, tmp_path: Path, workers: str
) -> None:
    """Before anything is served, and nobody is asked for a pass phrase."""
    pair, other = authority.issue("one"), authority.issue("two")
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_bytes(with_pass_phrase(pair.key))
    for cert, key, word in (
        (tmp_path / "none.pem", pair.key, "server.tls_cert: "),
        (pair.cert, tmp_path / "none.key", "server.tls_key: "),
        (pair.key, pair.key, "server.tls_cert: "),
        (pair.cert, other.key, "does not belong"),
        (pair.cert, encrypted, "pass phrase"),
    ):
        result = serve(
            *("--workers", workers, "--port", str(free_port()), "--cache-dir", str(tmp_path / "c")),
            WHEELKEEP_SERVER__TLS_CERT=str(cert),
            WHEELKEEP_SERVER__TLS_KEY=str(key),
        )
        assert result.returncode == 2, result.stderr
        assert word in result.stderr
        assert len(result.stderr.splitlines()) == 1, result.stderr
    assert not (tmp_path / "c").exists()


def test_nobody_is_asked_for_a_pass_phrase_on_a_terminal(
    authority: Authority, tmp_path: Path
) -> None:
    """OpenSSL would ask there, and wait."""
    pair = authority.issue("one")
    pair.key.write_bytes(with_pass_phrase(pair.key))
    ours, theirs = os.openpty()
    # A session of its own, whose terminal is the one that is opened first.
    script = (
        f"import os; os.setsid(); os.open({os.ttyname(theirs)!r}, os.O_RDWR); "
        "from proxy.cli import main; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, "serve", "--cache-dir", str(tmp_path / "c")],
        env={
            **os.environ,
            **pair.environment,
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        stdin=theirs,
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )
    os.close(ours)
    os.close(theirs)

    assert result.returncode == 2
    assert "pass phrase" in result.stderr


@WORKERS
async def test_a_renewed_certificate_is_taken_without_a_restart(
    upstream: FakeUpstream, authority: Authority, tmp_path: Path, workers: str
) -> None:
    """By each worker, while a connection that stands goes on; a wrong one is told."""
    pair, new = authority.issue("one"), authority.issue("two")
    flags = ("--index-url", upstream.url, "--workers", workers)
    async with (
        wheelkeep(tmp_path / "cache", *flags, program=QUICK, **pair.environment) as server,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=authority.client(), limit=1)
        ) as session,
    ):

        async def healthz() -> int:
            async with session.get(f"{server.url}/healthz") as answer:
                await answer.read()
                return answer.status

        await healthz()
        first = await serial(authority, server)
        new.cert.replace(pair.cert)

        async def is_told(word: str) -> bool:
            return server.log.read_text().count(word) == int(workers)

        await eventually(partial(is_told, "the old one stays"))
        assert await serial(authority, server) == first
        new.key.replace(pair.key)
        await eventually(partial(is_told, "new certificate taken"))

        shown = {await serial(authority, server) for _ in range(20)}
        assert len(shown) == 1
        assert first not in shown
        assert await healthz() == 200


async def test_sighup_takes_a_renewed_certificate_at_once(
    upstream: FakeUpstream, authority: Authority, tmp_path: Path
) -> None:
    """As it takes all settings; a wrong one is told, and the old workers go on."""
    pair, new = authority.issue("one"), authority.issue("two")
    flags = ("--index-url", upstream.url, "--workers", "2")
    async with wheelkeep(tmp_path / "cache", *flags, **pair.environment) as server:
        first = await serial(authority, server)
        new.cert.replace(pair.cert)
        server.process.send_signal(signal.SIGHUP)

        async def is_told(word: str) -> bool:
            return word in server.log.read_text()

        await eventually(partial(is_told, "does not belong to the certificate"))
        assert await serial(authority, server) == first
        new.key.replace(pair.key)
        server.process.send_signal(signal.SIGHUP)
        await eventually(partial(is_told, '"event": "renewed"'))

        async def is_shown() -> bool:
            return await serial(authority, server) != first

        await eventually(is_shown)
