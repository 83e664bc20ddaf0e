"""Everything that runs: Redis, the imaginary upstream, wheelkeep, and the crowd."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from benchmarks.held import crowd
from benchmarks.imaginary.upstream import Scene
from benchmarks.problems import CannotMeasure
from benchmarks.processes import clean_environment, free_port, is_listening, running
from benchmarks.programs import path_of
from benchmarks.servers import is_healthy, sources

READY_SIZE = "16MiB"
"""What wheelkeep keeps ready is small, so that it is full long before the end: memory that still
grows then is a leak."""
_PATIENCE_SECONDS = 20.0


class Redis:
    """A real redis-server that writes everything down, and can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For the settings."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *, empty: bool = False) -> None:
        """Start it, with what it had, or with nothing."""
        if empty:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(exist_ok=True)
        command = [path_of("redis-server"), "--bind", "127.0.0.1", "--port", str(self.port)]
        command += ["--dir", str(self._folder), "--save", "", "--appendonly", "yes"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not is_listening(self.port) and time.monotonic() < deadline:
            time.sleep(0.02)

    def kill(self) -> None:
        """As a machine that loses power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheelkeep:
    """The server under load."""

    process: subprocess.Popen[bytes]
    origin: str
    config: Path
    log: Path

    def stop(self) -> int:
        """Ask it to finish; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def verify(self, folder: Path) -> str:
        """Once it is stopped: hash every file that it keeps. What is wrong; empty: nothing is."""
        command = [sys.executable, "-m", "proxy", "verify", "--config", str(self.config)]
        environment = clean_environment() | {"PYTHONPATH": str(sources())}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        return "" if done.returncode == 0 else (done.stdout + done.stderr).strip()


@contextmanager
def redis_server(folder: Path) -> Iterator[Redis]:
    """Redis, until the end of the block."""
    redis = Redis(folder)
    redis.start()
    try:
        yield redis
    finally:
        redis.kill()


@contextmanager
def upstream(folder: Path, scene: Scene) -> Iterator[str]:
    """The imaginary index; its origin."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.imaginary.upstream", str(port), scene.encoded()]
    environment = {"PYTHONPATH": str(sources())}
    with running(command, folder, partial(is_listening, port), environment):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def wheelkeep(
    folder: Path, upstream_origin: str, redis_url: str, workers: int
) -> Iterator[Wheelkeep]:
    """What is under load, with an empty cache."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    config = folder / "wheelkeep.toml"
    config.write_text(
        f"[server]\nport = {port}\nworkers = {workers}\naccess_log = false\n"
        f'ready_size = "{READY_SIZE}"\n'
        f'[cache]\ndir = "{folder}/cache"\nredis = "{redis_url}"\nstale_if_error = "1h"\n'
        f'[[index]]\nname = "imaginary"\nurl = "{upstream_origin}/simple/"\n'
    )
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(config)]
    environment = {"PYTHONPATH": str(sources()), "PYTHONDONTWRITEBYTECODE": ""}
    origin = f"http://127.0.0.1:{port}"
    with running(command, folder, partial(is_healthy, origin), environment) as process:
        yield Wheelkeep(process=process, origin=origin, config=config, log=folder / "output.log")


@contextmanager
def crowds(folder: Path, settings: crowd.Settings, processes: int) -> Iterator[list[Path]]:
    """So many processes that share the clients; the files that they write.

    Raises `CannotMeasure` where clients have failed themselves.
    """
    outputs, started = [], []
    environment = clean_environment() | {"PYTHONPATH": str(sources())}
    try:
        for number in range(processes):
            output = folder / f"crowd-{number}.jsonl"
            own = msgspec.structs.replace(
                settings,
                name=str(number),
                clients=len(range(number, settings.clients, processes)),
                seed=settings.seed + number,
                output=str(output),
            )
            command = [sys.executable, "-m", "benchmarks.held.crowd"]
            command.append(msgspec.json.encode(own).decode())
            with (folder / f"crowd-{number}.log").open("ab") as log:
                one = subprocess.Popen(
                    command, stdout=log, stderr=log, env=environment, start_new_session=True
                )
            started.append(one)
            outputs.append(output)
        yield outputs
        for number, one in enumerate(started):
            if one.wait(120) != 0:
                said = (folder / f"crowd-{number}.log").read_text()
                raise CannotMeasure(f"clients failed: {said[-500:]}")
    finally:
        for one in started:
            if one.poll() is None:
                os.killpg(one.pid, signal.SIGKILL)
                one.wait()
