"""wrk against one URL, and what it says; anything but clean answers is an error."""

import re
import subprocess
from dataclasses import dataclass

from benchmarks.client import Target
from benchmarks.problems import LoadError
from benchmarks.programs import path_of

CONNECTIONS = 32
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_FEWEST = 4 * CONNECTIONS
"""Answers that a run must have to tell anything."""
_SECONDS_FOR_SLOW = 10
_CONNECTIONS_FOR_SLOW = 4
_TIMEOUT_SECONDS = 60
"""Before wrk counts an answer as late. Slow servers are measured too, and errors are not speed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a server did per second."""

    requests: float
    size: float
    """Bytes, heads included."""
    count: int
    """Of all answers in the run, not per second."""


def generate(target: Target, seconds: float, connections: int = CONNECTIONS) -> Load:
    """Ask for the target as fast as it is answered, for whole seconds. Raises `LoadError`."""
    duration = max(1, round(seconds))
    command = [path_of("wrk"), "-t1", f"-c{connections}", f"-d{duration}s", "--latency"]
    command += ["--timeout", f"{_TIMEOUT_SECONDS}s"]
    for name, value in target.headers.items():
        command += ["-H", f"{name}: {value}"]
    done = subprocess.run(
        [*command, target.url],
        capture_output=True,
        text=True,
        check=False,
        timeout=duration + 2 * _TIMEOUT_SECONDS,
    )
    if done.returncode != 0:
        raise LoadError(f"wrk: {done.stderr.strip() or done.stdout.strip()}")
    return parse(done.stdout)


def requests_of(target: Target, seconds: float) -> float:
    """Requests per second; measured for longer where the server is so slow that few are done."""
    found = generate(target, seconds)
    if found.count < _FEWEST:
        # It works on all of them at once, and would answer few before the end.
        found = generate(target, _SECONDS_FOR_SLOW, _CONNECTIONS_FOR_SLOW)
    if not found.count:
        raise LoadError(f"no answer in {_SECONDS_FOR_SLOW} s")
    return found.requests


def parse(output: str) -> Load:
    """What wrk printed. Raises `LoadError` where it tells of any error."""
    for problem in (r"Socket errors: .*", r"Non-2xx or 3xx responses: \d+"):
        if found := re.search(problem, output):
            raise LoadError(found[0])
    count = re.search(r"^\s*(\d+) requests in", output, re.MULTILINE)
    requests = re.search(r"^Requests/sec:\s+([\d.]+)\s*$", output, re.MULTILINE)
    size = re.search(r"^Transfer/sec:\s+([\d.]+)([KMGT]?)B\s*$", output, re.MULTILINE)
    if count is None or requests is None or size is None:
        raise LoadError(f"wrk printed something else: {output!r}")
    return Load(
        requests=float(requests[1]),
        size=float(size[1]) * _UNITS[size[2]],
        count=int(count[1]),
    )
