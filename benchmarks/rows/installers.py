"""uv with a hundred projects, through wheelkeep and straight from upstream.

uv keeps nothing itself, as on a fresh CI machine; wheelkeep is asked for what others have asked
for before. Once with upstream on the same machine, which is as near as an index can be, and once
behind a line with latency, as the public index is. It installs into memory, or a slow disk would
hide the rest.
"""

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import figures, nginx, servers
from benchmarks.bench import Bench, Group, Row
from benchmarks.data import Site
from benchmarks.figures import SECONDS, Figures, at_least, at_most
from benchmarks.problems import WrongAnswer
from benchmarks.processes import clean_environment, free_port, is_listening, running
from benchmarks.programs import path_of
from benchmarks.servers import Server
from benchmarks.wheels import make_wheel

_PROJECTS = 100
_VERSIONS = 5
_LAYER = 10
"""Projects that are asked for; as many again are required by these, and so on."""
_PAYLOAD = 50_000
"""Bytes in each wheel."""
_ASKED_BEFORE = 4
"""Times: by then nearly all is at hand in both workers, whichever a connection came to."""
_LATENCY_SECONDS = 0.03
_IN_MEMORY = Path("/dev/shm")
_SOURCES = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """An index that uv reaches straight, wheelkeep in front of it, and a folder to work in."""

    direct: Server
    wheelkeep: Server
    folder: Path


Job = Callable[[Scene, Server], float]


def groups() -> list[Group[Scene]]:
    """Without latency: no slower. With latency: much faster."""
    near = (
        _row("compile", "`uv pip compile`", _compile, is_far=False),
        _row("install", "`uv pip install`", _install, is_far=False),
    )
    far = (
        _row("compile-30ms", "`uv pip compile`, upstream 30 ms away", _compile, is_far=True),
        _row("install-30ms", "`uv pip install`, upstream 30 ms away", _install, is_far=True),
    )
    return [
        Group(scene=partial(_scene, is_far=False), rows=near),
        Group(scene=partial(_scene, is_far=True), rows=far),
    ]


def _row(name: str, title: str, job: Job, *, is_far: bool) -> Row[Scene]:
    told = "how many times faster than upstream" if is_far else "time against upstream"
    return Row(
        name=f"uv/{name}",
        title=f"{title}, {told}",
        measure=partial(_measure, job, is_far=is_far),
        goal=at_least(3) if is_far else at_most(1.1),
    )


def _measure(job: Job, bench: Bench, scene: Scene, *, is_far: bool) -> Figures:
    for _ in range(_ASKED_BEFORE):
        job(scene, scene.wheelkeep)
    pairs = figures.in_turns(
        bench.runs, lambda: job(scene, scene.wheelkeep), lambda: job(scene, scene.direct)
    )
    return (figures.inverse_ratio if is_far else figures.ratio)(pairs, SECONDS)


def _compile(scene: Scene, server: Server) -> float:
    """Seconds until uv has chosen the versions."""
    seconds, output = _uv(server, "compile", "--no-header", str(scene.folder / "requirements.in"))
    chosen = {line for line in output.splitlines() if "==" in line}
    if len(chosen) != _PROJECTS:
        raise WrongAnswer(f"uv chose {len(chosen)} versions, not {_PROJECTS}")
    return seconds


def _install(scene: Scene, server: Server) -> float:
    """Seconds until uv has chosen, fetched and installed them."""
    with tempfile.TemporaryDirectory(dir=_IN_MEMORY) as target:
        requirements = str(scene.folder / "requirements.in")
        seconds, _ = _uv(server, "install", "--target", target, "--requirements", requirements)
        count = len(list(Path(target).glob("*.dist-info")))
    if count != _PROJECTS:
        raise WrongAnswer(f"uv installed {count} projects, not {_PROJECTS}")
    return seconds


def _uv(server: Server, command: str, *arguments: str) -> tuple[float, str]:
    """Seconds that it took, and what uv printed."""
    options = ["--no-cache", "--python", sys.executable, "--index-url", server.index_url]
    begun = time.perf_counter()
    done = subprocess.run(
        [path_of("uv"), "pip", command, *options, *arguments],
        env=clean_environment() | {"TMPDIR": str(_IN_MEMORY)},  # its cache of one run
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    seconds = time.perf_counter() - begun
    if done.returncode != 0:
        raise WrongAnswer(f"uv: {done.stderr.strip()}")
    return seconds, done.stdout


@contextmanager
def _scene(bench: Bench, *, is_far: bool) -> Iterator[Scene]:
    with bench.scratch() as folder:
        port, far_port = free_port(), free_port()
        # Links lead through the slow line, too.
        site = Site(folder / "site", f"http://127.0.0.1:{far_port if is_far else port}")
        _fill(site)
        (folder / "requirements.in").write_text("".join(f"{_name(n)}\n" for n in range(_LAYER)))
        direct = Server(name="upstream", index_url=f"{site.origin}/simple/")
        with (
            nginx.upstream(folder / "upstream", site.folder, port),
            _slow_line(folder / "line", far_port, port),
            servers.wheelkeep(folder / "wheelkeep", direct.index_url) as wheelkeep,
        ):
            yield Scene(direct=direct, wheelkeep=wheelkeep, folder=folder)


@contextmanager
def _slow_line(folder: Path, port: int, target_port: int) -> Iterator[None]:
    folder.mkdir()
    command = [sys.executable, "-m", "benchmarks.latency", str(port), str(target_port)]
    command.append(str(_LATENCY_SECONDS))
    sources = {"PYTHONPATH": str(_SOURCES)}
    with running(command, folder, partial(is_listening, port), sources):
        yield


def _fill(site: Site) -> None:
    """Ten layers of projects, each of which requires three of the next."""
    chance = random.Random(_PROJECTS)
    for number in range(_PROJECTS):
        own, layer = number % _LAYER, range(number - number % _LAYER + _LAYER, _PROJECTS)[:_LAYER]
        # One of them has the same place in its layer, so that each project is required.
        required = {layer[own], *chance.sample(layer, 2)} if layer else set()
        files = []
        for version in (f"1.{minor}" for minor in range(_VERSIONS)):
            requires = [
                f"{_name(one)}>=1.{chance.randrange(_VERSIONS)}" for one in sorted(required)
            ]
            payload = chance.randbytes(_PAYLOAD)
            wheel = make_wheel(_name(number), version, requires, payload)
            files.append(site.add_wheel(version, wheel))
        site.add_page(_name(number), files)


def _name(number: int) -> str:
    return f"installed-{number}"
