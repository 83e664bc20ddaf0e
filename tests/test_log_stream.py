"""The log, where nobody reads it."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from proxy.log_stream import LogStream

LINES = 100_000


@pytest.fixture
def pipe() -> Iterator[tuple[int, LogStream, list[int]]]:
    """Where it is read, where it is written, and how many lines it said were lost."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    lost: list[int] = []
    with open(writing, "w") as stream:
        yield reading, LogStream(stream, lost.append), lost
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


def test_nobody_waits_for_whoever_reads_it(pipe: tuple[int, LogStream, list[int]]) -> None:
    """What finds no place is lost, and told of; the lines that are left are whole."""
    reading, log, lost = pipe
    for number in range(LINES):
        log.write(f"{number}\n")
    kept = read_all(reading, log)
    log.write("at last\n")

    assert 10_000 < len(kept) < LINES
    assert kept == [str(number) for number in range(len(kept))]
    assert lost == [LINES - len(kept)]
    assert read_all(reading, log) == ["at last"]


def test_other_processes_find_no_half_lines_to_write_into(
    pipe: tuple[int, LogStream, list[int]],
) -> None:
    """A pipe keeps a piece together up to some size."""
    reading, log, _ = pipe
    log.write("".join(f"{'x' * 1000}\n" for _ in range(300)))
    until_full = os.read(reading, 1 << 20)

    assert len(until_full) < 300_000
    assert until_full.endswith(b"\n")


def test_a_reader_that_is_gone_costs_nothing(pipe: tuple[int, LogStream, list[int]]) -> None:
    reading, log, _ = pipe
    os.close(reading)
    for number in range(LINES):
        log.write(f"{number}\n")


def test_a_file_has_it_at_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w", buffering=1) as stream:
        log = LogStream(stream, [].append)
        log.write("one\n")
        assert path.read_text() == "one\n"
