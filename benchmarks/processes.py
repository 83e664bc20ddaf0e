"""Processes that are started for a measurement, and end with it, whatever way it ends."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.problems import DidNotStart

_PATIENCE_SECONDS = 60.0
_GRACE_SECONDS = 15.0


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def clean_environment() -> dict[str, str]:
    """What this process has, without what configures wheelkeep, pip, uv or an HTTP proxy."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "UV_", "WHEELKEEP_", "DEVPI", "PROXPI_"))
        and not name.lower().endswith("_proxy")
    } | {"PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never"}


@contextmanager
def running(
    command: Sequence[str],
    folder: Path,
    answers: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """The command, from when `answers` says so. What it prints is in a file in `folder`."""
    log = folder / "output.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=clean_environment() | dict(environment or {}),
            # Ctrl-C is for the benchmark alone, which then stops its servers one by one.
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise DidNotStart(f"{Path(command[0]).name} did not start: {_end_of(log)}")
            time.sleep(0.002)
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End it, and whatever it has started."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _end_of(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
