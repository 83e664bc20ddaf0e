"""Under which conditions figures were taken: machine, programs, versions, date."""

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

import proxy
from benchmarks import load, nginx, rivals
from benchmarks.bench import Bench
from benchmarks.programs import version_of
from benchmarks.rivals import DEVPI, PROXPI


def conditions(bench: Bench, *, with_rivals: bool) -> str:
    """They in a few lines. With rivals, of these as well, which have to be installed."""
    cores = len(os.sched_getaffinity(0))
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    versions = [
        f"wheelkeep {proxy.__version__}",
        f"Python {sys.version.split()[0]}",
        version_of("nginx", "-v").removeprefix("nginx version: ").replace("/", " "),
        version_of("uv", "--version"),
        version_of("wrk", "-v").partition(" [")[0],
    ]
    if with_rivals:
        versions += [f"{rival} {rivals.version_of(rival)}" for rival in (PROXPI, DEVPI)]
    return (
        f"{datetime.now(UTC):%Y-%m-%d}; {_processor()}, {cores} cores, {memory_bytes / 1e9:.0f} GB,"
        f" Linux {platform.release()}; {', '.join(versions)}.\n"
        f"All on one machine over loopback, {nginx.WORKERS} workers each, without access logs;"
        f" wrk with one thread and {load.CONNECTIONS} connections;"
        f" {bench.runs} runs of {bench.seconds:g} s a side, in turns:"
        " medians, and the range of runs."
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
