"""The log, where nobody reads it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from proxy.log_stream import LogStream

LINES = 100_000


@pytest.fixture
def pipe() -> Iterator[tuple[int, LogStream]]:
    """Where it is read, and where it is written."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with open(writing, "w") as stream:
        yield reading, LogStream(stream, "{} are lost\n".format)
    with suppress(OSError):
        os.close(reading)


def read_all(reading: int, log: LogStream) -> list[str]:
    """All lines, those too that wait."""
    data = b""
    with suppress(BlockingIOError):
        while True:
            data += os.read(reading, 1 << 20)
            log.flush()
    return data.decode().splitlines()


def test_nobody_waits_for_whoever_reads_it(pipe: tuple[int, LogStream]) -> None:
    """What finds no place is lost, and told of; the lines that are left are whole."""
    reading, log = pipe
    for number in range(LINES):
        log.write(f"{number}\n")
    kept = read_all(reading, log)
    log.write("at last\n")

    assert 10_000 < len(kept) < LINES
    assert kept == [str(number) for number in range(len(kept))]
    assert read_all(reading, log) == [f"{LINES - len(kept)} are lost", "at last"]


def test_other_processes_find_no_half_lines_to_write_into(
    pipe: tuple[int, LogStream],
) -> None:
    """A pipe keeps a piece together up to some size."""
    reading, log = pipe
    log.write("".join(f"{'x' * 1000}\n" for _ in range(300)))
    until_full = os.read(reading, 1 << 20)

    assert len(until_full) < 300_000
    assert until_full.endswith(b"\n")


def test_a_reader_that_is_gone_costs_nothing(pipe: tuple[int, LogStream]) -> None:
    reading, log = pipe
    os.close(reading)
    for number in range(LINES):
        log.write(f"{number}\n")


def test_a_file_has_it_at_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w", buffering=1) as stream:
        log = LogStream(stream, str)
        log.write("one\n")
        assert path.read_text() == "one\n"


_FLOOD = """
import sys
import time
import structlog
from proxy.logs import set_up_logging

set_up_logging()
log = structlog.get_logger("wheelkeep")
for _ in range(20_000):
    log.warning("x" * 100)
print("written", flush=True)
for _ in sys.stdin:
    time.sleep(0.05)
    log.warning("later")
"""


def test_what_was_lost_is_told_by_whoever_logs_next() -> None:
    """In a line like the others, and while a logger has its lock."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", _FLOOD], text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        _, logged = process.communicate("\n" * 30, timeout=60)
    lines = [json.loads(line) for line in logged.splitlines()]
    lost = next(line for line in lines if "lost" in line["event"])
    later = [line for line in lines if line["event"] == "later"]

    assert (lost["level"], len(later)) == ("warning", 30)
    assert lost["lines"] + len(lines) - 1 - len(later) == 20_000
