"""Real processes that tests start on free ports and stop again."""

import asyncio
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from lxml import etree
from yarl import URL


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def children_of(pid: int) -> list[int]:
    """The processes that a process has started, whichever of its threads did so."""
    children = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # that thread is over
            children += [int(child) for child in (thread / "children").read_text().split()]
    return children


def path_of_program(program: str) -> str:
    """Where that program is. Without it, the test is skipped, or fails in CI."""
    # Where Debian has what only root runs, as a rule.
    binary = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if binary is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is not installed, and CI must not skip this")
        pytest.skip(f"{program} is not installed")
    return binary


async def until_listening(port: int, program: str) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{program} did not start")


class RedisServer:
    """A real redis-server without persistence."""

    def __init__(self, *options: str) -> None:
        self._command = [
            path_of_program("redis-server"),
            "--save",
            "",
            "--appendonly",
            "no",
            "--bind",
            "127.0.0.1",
            *options,
        ]
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        self._process = subprocess.Popen(
            [*self._command, "--port", str(self.port)], stdout=subprocess.DEVNULL
        )
        await until_listening(self.port, "redis-server")

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class S3Server:
    """A real S3 server process, with one bucket."""

    bucket = "wheels"

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/team"

    @property
    def environment(self) -> dict[str, str]:
        """How clients find it."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_REGION": "us-east-1",
        }

    async def start(self) -> None:
        command = ["-c", "import sys; from moto.server import main; main(sys.argv[1:])"]
        self._process = subprocess.Popen(
            [sys.executable, *command, "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        async with aiohttp.ClientSession() as session:
            for _ in range(300):
                try:
                    async with session.put(f"{self._bucket_url}") as answer:
                        assert answer.status == 200, await answer.text()
                        return
                except aiohttp.ClientError:
                    await asyncio.sleep(0.1)
        raise AssertionError("the S3 server did not start")

    async def objects(self) -> dict[str, int]:
        """Sizes by key."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self._bucket_url}?list-type=2") as answer,
        ):
            listing = etree.fromstring(await answer.read())
            return {
                found.findtext("{*}Key", ""): int(found.findtext("{*}Size", ""))
                for found in listing.iterfind("{*}Contents")
            }

    async def contents(self) -> dict[str, bytes]:
        """Bytes by key."""
        found = {}
        async with aiohttp.ClientSession() as session:
            for key in await self.objects():
                async with session.get(f"{self._bucket_url}/{key}") as answer:
                    found[key] = await answer.read()
        return found

    async def put(self, key: str, content: bytes) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.put(f"{self._bucket_url}/{key}", data=io.BytesIO(content)) as answer,
        ):
            assert answer.status == 200, await answer.text()

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def _bucket_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self.bucket}"


class Wheelkeep:
    """`wheelkeep serve` in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, origin: URL, log: Path) -> None:
        self.process = process
        self.origin = origin
        self.base_path = ""
        self.log = log

    @property
    def port(self) -> int:
        assert self.origin.port is not None
        return self.origin.port

    @property
    def url(self) -> str:
        return f"{self.origin.origin()}{self.base_path}"

    @property
    def index_url(self) -> str:
        return f"{self.url}/simple/"


_IN_A_HURRY = """
import proxy.cli
import proxy.commands.serve
import proxy.supervisor

proxy.tls.LOOK_SECONDS = 0.1
proxy.supervisor.LOOK_SECONDS = 1.0
proxy.server.HANDSHAKE_SECONDS = 1
proxy.cli.main()
"""
QUICK = ("-c", _IN_A_HURRY)
"""wheelkeep that looks at its certificate and its workers all the time, and has little patience."""


LIMITED_THREADS = """
import threading

def limited(start):
    def begin(*arguments, **options):
        if is_over():
            raise RuntimeError("can't start new thread")
        return start(*arguments, **options)
    return begin

for name in ("_start_new_thread", "_start_joinable_thread"):  # before Python 3.13, and since
    if hasattr(threading, name):
        setattr(threading, name, limited(getattr(threading, name)))
"""
"""Stands in a program that says, by `is_over`, whether no further thread can be started."""


@asynccontextmanager
async def wheelkeep(
    folder: Path,
    *flags: str,
    healthy: int = 200,
    program: Sequence[str] = ("-m", "proxy"),
    inside: Sequence[str] = (),
    **environment: str,
) -> AsyncIterator[Wheelkeep]:
    """Start wheelkeep with its cache in `folder` and wait until it answers with that status.

    Of a server that another command starts, `inside`, the process is that of the command.
    """
    scheme = "https" if environment.get("WHEELKEEP_SERVER__TLS_CERT") else "http"
    origin = URL.build(scheme=scheme, host="127.0.0.1", port=free_port())
    log = folder.with_suffix(".log")
    command = [*inside, sys.executable, *program, "serve", "--port", str(origin.port)]
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            "--cache-dir",
            str(folder),
            *flags,
            stderr=output,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **environment},
        )
    try:
        await _until_healthy(origin, process, log, healthy)
        server = Wheelkeep(process, origin, log)
        server.base_path = environment.get("WHEELKEEP_SERVER__BASE_PATH", "")
        yield server
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), 40)


async def _until_healthy(
    origin: URL, process: asyncio.subprocess.Process, log: Path, healthy: int
) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(300):
            if process.returncode is not None:
                break
            try:
                async with session.get(origin / "healthz", ssl=False) as answer:
                    if answer.status == healthy:
                        return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
    raise AssertionError(f"wheelkeep did not start: {log.read_text()}")
