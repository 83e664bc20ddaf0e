"""The commands work: everything is started, hurt, watched, told and stopped."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from lxml import etree

from benchmarks.problems import LoadError
from benchmarks.soak.load import requests_in
from benchmarks.soak.verdict import claims
from tests.servers import path_of_program

ROOT = Path(__file__).parents[2]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_load_is_held_for_a_few_seconds(tmp_path: Path) -> None:
    """With a worker and Redis killed meanwhile; curves, figures and a verdict are left."""
    path_of_program("redis-server")
    flags = "--minutes 0.2 --clients 10 --pause 0.1 --fresh 2 --largest 1 --kill-every 4"
    done = run("benchmarks.held", *flags.split(), "--output", str(tmp_path / "run"))

    assert done.returncode in (0, 1), done.stderr  # a slow machine may make somebody late
    assert "kept    no wrong byte" in done.stdout, done.stdout
    assert "kept    every file on disk is right" in done.stdout, done.stdout
    assert re.search(r"[1-9]\d* answers", done.stdout)
    events = (tmp_path / "run/events.jsonl").read_text()
    for what in ("Redis killed", "Redis back, empty", "worker killed", "renewed", "upstream down"):
        assert what in events
    curves = etree.parse(tmp_path / "run/curves.svg")
    assert "answers a second" in "".join(curves.getroot().itertext())
    with (tmp_path / "run/watch.csv").open() as file:
        seen = {row["what"] for row in csv.DictReader(file)}
    assert seen >= {"rss", "pss", "descriptors", "threads", "tasks", "lag", "disk", "workers"}


def test_a_soak_of_a_few_thousand(tmp_path: Path) -> None:
    """It counts what is held after each round, and finds the files on disk right."""
    path_of_program("wrk")
    flags = "--requests 3000 --every 1000 --workers 1 --failing 0"
    done = run("benchmarks.soak", *flags.split(), "--output", str(tmp_path / "run"))

    assert done.returncode in (0, 1), done.stderr
    assert "kept    every file on disk is right" in done.stdout, done.stdout
    assert "kept    no connection was lost" in done.stdout, done.stdout
    assert (tmp_path / "run/curves.svg").exists()


def test_a_leak_is_told() -> None:
    """What is held at the end is compared with the beginning, memory with a third before."""
    rounds = [float(at) for at in range(1000, 1_000_001, 50_000)]
    flat = {
        what: [(at, 50.0) for at in rounds] for what in ("descriptors", "tasks", "threads", "pss")
    }
    assert all(claim.is_kept for claim in claims(flat, workers=2))
    for what in ("descriptors", "tasks", "threads"):
        leaking = {**flat, what: [(at, 50.0 + at / 5_000) for at in rounds]}
        assert [claim.is_kept for claim in claims(leaking, workers=2)].count(False) == 1
    leaking = {**flat, "pss": [(at, 1e8 + at * 100) for at in rounds]}
    assert not claims(leaking, workers=2)[-1].is_kept


def test_a_lost_connection_is_not_a_request() -> None:
    clean = "  273048 requests in 5.00s, 8.41GB read\n"
    assert requests_in(f"  Non-2xx or 3xx responses: 17\n{clean}") == 273048
    late = "  Socket errors: connect 0, read 0, write 0, timeout 3\n"
    assert requests_in(late + clean) == 273048
    with pytest.raises(LoadError, match="read 2"):
        requests_in(late.replace("read 0", "read 2") + clean)
    with pytest.raises(LoadError, match="something else"):
        requests_in("unable to connect")
