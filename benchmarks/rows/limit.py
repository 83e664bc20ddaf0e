"""The practical limit: nginx that serves the very bytes that wheelkeep answers, as files.

They are compressed beforehand where gzip is asked for, and have fixed names. Nothing that has to
negotiate, and to account for what it does, can do with less. Both keep an access log, or neither.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import nginx, servers
from benchmarks.client import Target, get
from benchmarks.problems import WrongAnswer
from benchmarks.processes import free_port
from benchmarks.rows.questions import Question
from benchmarks.servers import Server


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """wheelkeep, and nginx at two ports: with compressed files, and with files as they are."""

    wheelkeep: Server
    root: Path
    precompressed: int
    plain: int

    def both(self, question: Question) -> tuple[Target, Target]:
        """Where wheelkeep has it and, copied there now, where nginx has it."""
        ours = question.target(self.wheelkeep)
        answer = get(ours)
        question.check(answer)
        is_gzipped = answer.headers.get("content-encoding") == "gzip"
        if is_gzipped != (ours.headers.get("Accept-Encoding") == "gzip"):
            raise WrongAnswer("not in the coding that was asked for")
        path = self.root / f"{question.name}{'.gz' if is_gzipped else ''}"
        path.write_bytes(answer.body)
        port = self.precompressed if is_gzipped else self.plain
        copied = Target(url=f"http://127.0.0.1:{port}/{question.name}", headers=ours.headers)
        if get(copied).body != answer.body:
            raise WrongAnswer("nginx answers other bytes")
        return ours, copied


@contextmanager
def beside_nginx(folder: Path, origin: str, *, are_logging: bool = False) -> Iterator[Scene]:
    """Both: wheelkeep in front of that upstream, and nginx that has nothing yet."""
    root = folder / "static"
    root.mkdir()
    precompressed, plain = free_port(), free_port()
    with (
        nginx.static(folder / "nginx", root, precompressed, plain, is_logging=are_logging),
        servers.wheelkeep(
            folder / "wheelkeep", f"{origin}/simple/", is_logging=are_logging
        ) as wheelkeep,
    ):
        yield Scene(wheelkeep=wheelkeep, root=root, precompressed=precompressed, plain=plain)
