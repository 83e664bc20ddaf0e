"""Several processes on one port: started, replaced when they die, renewed on SIGHUP.

Each worker has a listening socket of its own on the shared address, and the supervisor holds
all of them open. So a connection that waits in the queue of a worker that died is answered by
the one that takes its place, and a renewal loses nobody: the new worker accepts from the same
socket before the old one is asked to finish.

The supervisor itself runs neither threads nor an event loop, which is what makes forking
safe, and cheap: what was imported is shared by all.
"""

import asyncio
import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from proxy.app import prepare_cache
from proxy.errors import ConfigError
from proxy.server import GRACE_SECONDS, listen, serve
from proxy.settings import Settings

_READY_SECONDS = 30.0
_LONGEST_PAUSE_SECONDS = 5.0
_MARGIN_SECONDS = 5.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
CONFIG_ERROR = 2
"""Exit status of a worker whose settings are wrong."""


@dataclass(slots=True)
class _Worker:
    """One process. `ready` is readable when it answers, or has died before it did."""

    pid: int
    ready: int
    has_answered: bool = False

    def wait(self, seconds: float) -> bool:
        """Whether it answers, or has; False where it died before, or takes longer."""
        if self.ready >= 0:
            readable, _, _ = select.select([self.ready], [], [], seconds)
            self.has_answered = bool(readable) and os.read(self.ready, 1) == b"1"
            os.close(self.ready)
            self.ready = -1
        return self.has_answered


class Supervisor:
    """Keeps `settings.server.workers` processes running. `reload` reads the settings anew."""

    def __init__(self, settings: Settings, reload: Callable[[], Settings]) -> None:
        self._settings = settings
        self._reload = reload
        self._log = structlog.get_logger("wheelkeep")
        self._sockets: list[list[socket.socket]] = []
        self._workers: dict[int, _Worker] = {}
        self._due: dict[int, float] = {}
        self._failures: dict[int, int] = {}
        # A worker whose supervisor is gone reads the end of this pipe.
        self._watched, self._held_open = os.pipe()

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; the exit status. Raises `ConfigError`."""
        server = self._settings.server
        self._sockets = listen(server.host, server.port, server.workers)
        prepare_cache(self._settings)
        wake_up = _signals_by_pipe()
        gc.freeze()  # a collection in a worker would copy what it shares
        for slot in range(server.workers):
            self._workers[slot] = self._fork(slot)
        first = {worker.pid for worker in self._workers.values()}
        while True:
            due = min(self._due.values(), default=None)
            select.select([wake_up], [], [], due and max(0.0, due - time.monotonic()))
            for number in _arrived(wake_up):
                if number in (signal.SIGTERM, signal.SIGINT):
                    self._stop()
                    return 0
                if number == signal.SIGHUP:
                    self._renew()
            for pid, status in self._bury():
                if status > 0 and pid in first:
                    self._stop()
                    return status  # it could not even begin, and has said why
            self._replace()

    # --- workers --------------------------------------------------------------------------

    def _fork(self, slot: int) -> _Worker:
        readable, writable = os.pipe()
        # A signal must not meet the new process while it still has our handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid == 0:
            os.close(readable)
            os.close(self._held_open)
            os._exit(self._work(slot, writable))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(writable)
        return _Worker(pid, readable)

    def _work(self, slot: int, ready: int) -> int:
        """In the worker: serve, and give back the exit status."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal that closes tells all of us
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        for other, sockets in enumerate(self._sockets):
            if other != slot:
                for one in sockets:
                    one.close()

        def tell() -> None:
            os.write(ready, b"1")
            os.close(ready)

        try:
            asyncio.run(
                serve(self._settings, self._sockets[slot], ready=tell, parent=self._watched)
            )
        except ConfigError as problem:
            sys.stderr.write(f"wheelkeep: {problem}\n")
            return CONFIG_ERROR
        except KeyboardInterrupt:
            return 0
        except BaseException:
            self._log.exception("worker failed")
            return 1
        return 0

    def _bury(self) -> Iterator[tuple[int, int]]:
        """Note which workers have died, and when each may be replaced.

        Process and exit status of those that never answered anybody.
        """
        slots = {worker.pid: slot for slot, worker in self._workers.items()}
        for pid, status in _ended():
            slot = slots.get(pid)
            if slot is None:
                continue  # one that was renewed, and has finished
            worker = self._workers.pop(slot)
            self._log.error("worker died", pid=pid, status=status)
            if worker.wait(0):
                self._failures[slot] = 0
            else:
                # It would otherwise be replaced as fast as the machine can.
                self._failures[slot] = self._failures.get(slot, 0) + 1
                yield pid, status
            pause = min(_LONGEST_PAUSE_SECONDS, 0.1 * 2 ** self._failures[slot])
            self._due[slot] = time.monotonic() + (pause if self._failures[slot] else 0.0)

    def _replace(self) -> None:
        for slot, moment in list(self._due.items()):
            if time.monotonic() >= moment:
                del self._due[slot]
                self._workers[slot] = self._fork(slot)

    def _renew(self) -> None:
        """Read the settings anew, and replace each worker by one that has them."""
        try:
            settings = self._reload()
        except ConfigError as problem:
            self._log.error("settings not reloaded", problem=str(problem))
            return
        for key in ("host", "port", "workers"):
            if getattr(settings.server, key) != getattr(self._settings.server, key):
                self._log.warning("needs a restart to change", setting=f"server.{key}")
        before, self._settings = self._settings, settings
        for slot, old in list(self._workers.items()):
            new = self._fork(slot)
            if not new.wait(_READY_SECONDS):
                self._log.error("the new worker did not start; the old ones go on")
                _tell(new.pid, signal.SIGKILL)
                self._settings = before
                return
            self._workers[slot] = new
            _tell(old.pid, signal.SIGTERM)
        self._log.info("renewed", workers=len(self._workers))

    def _stop(self) -> None:
        """Let all finish."""
        for worker in self._workers.values():
            _tell(worker.pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS + _MARGIN_SECONDS
        while self._workers:
            ended = {pid for pid, _ in _ended()}
            self._workers = {
                slot: worker for slot, worker in self._workers.items() if worker.pid not in ended
            }
            if time.monotonic() > deadline:
                for worker in self._workers.values():
                    _tell(worker.pid, signal.SIGKILL)
            time.sleep(0.02)


def _ended() -> Iterator[tuple[int, int]]:
    """Processes of ours that have ended, and their exit statuses."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, os.waitstatus_to_exitcode(status)


def _tell(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _signals_by_pipe() -> int:
    """A descriptor that has a byte for each of these signals that arrives."""
    readable, writable = os.pipe()
    for descriptor in (readable, writable):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in _SIGNALS:
        signal.signal(number, lambda *_: None)
    return readable


def _arrived(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1024)
    except BlockingIOError:
        return b""
