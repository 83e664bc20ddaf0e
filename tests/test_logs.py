"""The log, as it looks on a terminal and in a file."""

import json
import os
import pty
import subprocess
import sys
from typing import Any

import pytest

_SAYS = """
import json, sys
import structlog
from proxy.logs import set_up_logging

set_up_logging()
structlog.get_logger("wheelkeep").info(**json.loads(sys.argv[1]))
"""
REQUEST = {
    "event": "request",
    "method": "GET",
    "path": "/simple/six/",
    "status": 200,
    "bytes": 12_288,
    "cache": "hit",
    "index": "pypi",
    "project": "six",
    "upstream_status": None,
    "token": None,
    "agent": "pip/26.3",
    "ms": 0.4,
    "client": "127.0.0.1",
    "id": "one",
}


def on_a_terminal(**said: Any) -> str:
    """The line, without colours."""
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", _SAYS, json.dumps(said)],
        stderr=theirs,
        check=True,
        env=os.environ | {"NO_COLOR": "1"},
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    try:
        line = os.read(ours, 65_536)
    except OSError:  # nothing was written
        line = b""
    os.close(ours)
    return line.decode().rstrip()


def test_a_person_reads_what_came_of_a_request() -> None:
    """First; then what else there is, in the order it is told."""
    line = on_a_terminal(**REQUEST)

    outcome, others = line.split("]", 1)[1].split(" index=")
    assert outcome.split() == "200 hit 0.4 ms 12 KiB GET /simple/six/".split()
    assert others == "pypi agent=pip/26.3 client=127.0.0.1 id=one"


def test_of_a_hash_its_first_digits_are_enough() -> None:
    """The line has room for what it is about then."""
    path = f"/files/six/{'4721f391' * 8}/six-1.17.0-py3-none-any.whl"

    assert "GET /files/six/4721f391…/six-1.17.0-py3-none-any.whl" in on_a_terminal(
        **REQUEST | {"path": path}
    )


@pytest.mark.parametrize(
    "path", ["/static/0123456789abcdef/js/page.js", "/a/stats/overview", "/stats/history"]
)
def test_open_dashboards_do_not_fill_the_terminal(path: str) -> None:
    """Unless something is wrong with them."""
    assert on_a_terminal(**REQUEST | {"path": path}) == ""
    assert path in on_a_terminal(**REQUEST | {"path": path, "status": 503})


def test_the_time_is_that_of_the_wall() -> None:
    """To the second, in the zone of whoever reads it."""
    day, time, rest = on_a_terminal(event="serving").split(" ", 2)

    assert [len(part) for part in day.split("-")] == [4, 2, 2]
    assert [len(part) for part in time.split(":")] == [2, 2, 2]
    assert rest.split() == ["[info", "]", "serving"]


@pytest.mark.parametrize("name", ["path", "agent"])
def test_what_clients_send_steers_no_terminal(name: str) -> None:
    """Of Unicode's controls there are more than aiohttp refuses."""
    line = on_a_terminal(**REQUEST | {name: "/a\x1b[2J\x9b1mb"})

    assert "\x1b" not in line
    assert "\x9b" not in line
    assert "/a\\x1b[2J\\x9b1mb" in line


def test_a_machine_reads_all_of_it() -> None:
    """Keys that are empty too: a query counts on them."""
    said = subprocess.run(
        [sys.executable, "-c", _SAYS, json.dumps(REQUEST)],
        stderr=subprocess.PIPE,
        check=True,
        text=True,
    ).stderr
    line = json.loads(said)

    assert line.pop("timestamp").endswith("Z")
    assert line == REQUEST | {"level": "info"}
