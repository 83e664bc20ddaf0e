"""What containers and systemd put around a process, without either of them.

A cage is the beginning of a command: the program that it holds comes behind it.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers import path_of_program

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "config/wheelkeep.service"

_WITHOUT_WRITABLE_CODE = """
import ctypes, os, sys

PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
    sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
"""


def bubblewrap(*writable: Path) -> list[str]:
    """A read-only container, whose first process is user 10001 without capabilities.

    Nothing can be written but these folders and a /tmp of its own; nothing that would give it
    more rights does so. It has the network of the machine.
    """
    # The tests' own folders may be below the /tmp that it does not see.
    seen = {Path(sys.prefix), Path(sys.base_prefix), ROOT}
    command = [path_of_program("bwrap"), "--ro-bind", "/", "/", "--tmpfs", "/tmp"]
    for folder in sorted(seen):
        command += ["--ro-bind", str(folder), str(folder)]
    # What measures coverage would write beside the code.
    for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
        command += ["--unsetenv", name]
    for folder in writable:
        command += ["--bind", str(folder), str(folder)]
    command += ["--dev", "/dev", "--proc", "/proc", "--unshare-user", "--uid", "10001"]
    command += ["--gid", "10001", "--cap-drop", "ALL", "--unshare-ipc", "--unshare-uts"]
    command += ["--unshare-pid", "--as-pid-1", "--die-with-parent", "--chdir", "/"]
    return _allowed_here(command)


def no_memory_both_written_and_run() -> list[str]:
    """What systemd's MemoryDenyWriteExecute= does, by the kernel's own switch (Linux 6.3)."""
    return _allowed_here([sys.executable, "-c", _WITHOUT_WRITABLE_CODE])


def _allowed_here(cage: list[str]) -> list[str]:
    """The cage, if this machine lets us have it."""
    tried = subprocess.run(
        [*cage, sys.executable, "-c", ""], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"this machine does not let us: {tried.stderr.strip()}")
    return cage


@dataclass(frozen=True)
class Witness:
    """Notes in a folder what the processes below it call that the unit for systemd denies."""

    folder: Path

    def cage(self, *writable: Path) -> list[str]:
        """In a container as well: root's way is not the way of others, SQLite's for one."""
        command = [path_of_program("strace"), "--follow-forks", "--seccomp-bpf", "--quiet=all"]
        command += ["--signal=none", "--output-append-mode", f"--output={self.folder / 'calls'}"]
        # With a question mark, one that this strace does not know is none.
        allowed = ",".join(f"?{name}" for name in sorted(allowed_system_calls()))
        container = bubblewrap(self.folder, *writable)
        return _allowed_here([*container, *command, f"--trace=!{allowed}", "--"])

    def seen(self) -> list[str]:
        """A line for each. One that strace could not read, of a thread that ended, is none."""
        lines = (self.folder / "calls").read_text().splitlines()
        return [line for line in lines if "???(" not in line]


def option(name: str) -> list[str]:
    """The values of this option in the unit, in their order."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def allowed_system_calls() -> set[str]:
    """What the unit's filters leave, by systemd's own lists."""
    allowed: set[str] = set()
    for line in option("SystemCallFilter"):
        change: Callable[[set[str]], None] = allowed.update
        if line.startswith("~"):
            change = allowed.difference_update
        for name in line.removeprefix("~").split():
            change(_members(name))
    # What systemd allows all the same, so that a program can begin and end at all.
    return allowed | _members("@default")


def _members(name: str) -> set[str]:
    """The system calls of a set of systemd, also those of the sets in it."""
    if not name.startswith("@"):
        return {name}
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd is not installed")
    told = subprocess.run(
        [analyze, "syscall-filter", name], capture_output=True, text=True, check=True
    )
    found: set[str] = set()
    for line in told.stdout.splitlines()[1:]:
        member = line.strip()
        if member and not member.startswith("#"):
            found |= _members(member)
    return found
