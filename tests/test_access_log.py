"""Access lines for machines: one JSON object a line, those of one turn in one piece."""

import asyncio
import io
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from proxy.access_log import AccessLine, LogForMachines, Told
from tests.conftest import MakeProxy
from tests.fakes import FakeUpstream


def line(**said: Any) -> AccessLine:
    told: dict[str, Any] = {
        "method": "GET",
        "path": "/simple/six/",
        "status": 200,
        "bytes": 5,
        "ms": 0.1,
        "cache": "hit",
        "index": "pypi",
        "project": "six",
        "upstream_status": None,
        "client": "127.0.0.1",
        "token": None,
        "agent": "pip/26.3",
        "id": "one",
        "timestamp": datetime(2026, 11, 25, 12, 0, tzinfo=UTC),
    }
    return AccessLine(**told | said)


class Pieces(io.StringIO):
    """What was written, and in how many pieces."""

    count = 0

    def write(self, text: str) -> int:
        self.count += 1
        return super().write(text)


async def test_lines_of_one_turn_leave_together() -> None:
    """Before the loop waits for anything, in their order."""
    stream = Pieces()
    log = LogForMachines(stream)
    for number in range(3):
        log.write(line(id=str(number)))
    assert stream.getvalue() == ""
    await asyncio.sleep(0)
    log.write(line(id="3"))
    await asyncio.sleep(0)

    assert [json.loads(one)["id"] for one in stream.getvalue().splitlines()] == list("0123")
    assert stream.count == 2


async def test_a_line_has_the_keys_of_all_lines() -> None:
    """Event, level and time, as the rest of the log has them."""
    stream = io.StringIO()
    LogForMachines(stream).write(line())
    await asyncio.sleep(0)
    told = json.loads(stream.getvalue())

    assert list(told) == [field.name for field in msgspec.structs.fields(AccessLine)]
    assert (told["event"], told["level"]) == ("request", "info")
    assert told["timestamp"] == "2026-11-25T12:00:00Z"


async def test_a_path_that_is_no_text_costs_no_line() -> None:
    """A client may send any bytes."""
    stream = io.StringIO()
    log = LogForMachines(stream)
    log.write(line(id="before"))
    log.write(line(path="/simple/s\udcffx/"))
    await asyncio.sleep(0)
    before, odd = (json.loads(one) for one in stream.getvalue().splitlines())

    assert before["id"] == "before"
    assert odd["path"] == "/simple/s\udcffx/"
    assert odd["timestamp"] == "2026-11-25T12:00:00Z"


async def test_lines_alike_are_the_ones_that_would_be_written_one_by_one() -> None:
    """Where everything but the client, the id and the time is the same."""
    one_by_one, alike = io.StringIO(), io.StringIO()
    askers = [("127.0.0.1", "one"), ('/a "socket"', "two"), (None, "three")]
    log = LogForMachines(one_by_one)
    for client, id in askers:
        log.write(line(client=client, id=id, agent='a "quoted" ü'))
    log.flush()
    log = LogForMachines(alike)
    whole = msgspec.structs.asdict(line(agent='a "quoted" ü'))
    told = Told(**{field.name: whole[field.name] for field in msgspec.structs.fields(Told)})
    log.alike(told).write(0.0001, whole["timestamp"], askers)
    assert alike.getvalue() == ""
    log.flush()

    assert alike.getvalue().splitlines() == one_by_one.getvalue().splitlines()
    assert len(alike.getvalue().splitlines()) == 3


async def test_what_nobody_is_to_read_is_not_written(
    make_proxy: MakeProxy, upstream: FakeUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also of ready answers; they count all the same."""
    upstream.add("six", "six-1.0.tar.gz")
    client = await make_proxy(server={"access_log": False})
    for _ in range(4):
        assert (await client.get("/simple/six/")).status == 200
    stats = await (await client.get("/stats")).json()

    assert stats["hits"] == 3
    assert "/simple/six/" not in capsys.readouterr().out
