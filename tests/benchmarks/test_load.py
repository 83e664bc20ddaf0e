"""What wrk prints becomes figures, and whatever is not clean becomes an error."""

import pytest

from benchmarks.load import parse
from benchmarks.problems import LoadError

CLEAN = """\
Running 5s test @ http://127.0.0.1:3141/simple/six/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   582.36us  166.06us   4.62ms   86.93%
    Req/Sec    54.85k     2.08k   58.96k    68.00%
  Latency Distribution
     50%  571.00us
     99%    1.14ms
  273048 requests in 5.00s, 8.41GB read
{problem}Requests/sec:  54605.11
Transfer/sec:      1.68GB
"""


def test_reads_requests_and_bytes_per_second() -> None:
    found = parse(CLEAN.format(problem=""))
    assert found.requests == 54605.11
    assert found.size == 1.68 * 2**30
    assert found.count == 273048


@pytest.mark.parametrize(("unit", "factor"), [("", 1), ("K", 2**10), ("M", 2**20)])
def test_knows_units(unit: str, factor: int) -> None:
    assert parse(CLEAN.format(problem="").replace("GB\n", f"{unit}B\n")).size == 1.68 * factor


@pytest.mark.parametrize(
    "problem",
    [
        "  Socket errors: connect 0, read 3, write 0, timeout 0\n",
        "  Non-2xx or 3xx responses: 17\n",
    ],
)
def test_errors_are_not_speed(problem: str) -> None:
    with pytest.raises(LoadError, match=problem.strip()):
        parse(CLEAN.format(problem=problem))


def test_other_output_is_an_error() -> None:
    with pytest.raises(LoadError, match="printed something else"):
        parse("unable to connect to 127.0.0.1:9\n")
