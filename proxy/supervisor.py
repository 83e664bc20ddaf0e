"""Several processes on one port: started, replaced when they die or hang, renewed on SIGHUP.

Each worker has a listening socket of its own on the shared address, and the supervisor holds
all of them open. So a connection that waits in the queue of a worker that died is answered by
the one that takes its place, and a renewal loses nobody: a new worker for each slot accepts
from the same socket before any old one is asked to finish.

The supervisor itself runs neither threads nor an event loop, which is what makes forking
safe, and cheap: what was imported is shared by all.
"""

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

from proxy.access_log import AccessLog
from proxy.app import prepare_cache
from proxy.errors import ConfigError
from proxy.pulse import LOOK_SECONDS, SILENT_LOOKS, Pulse
from proxy.scoreboard import Cell, Scoreboard
from proxy.server import GRACE_SECONDS, listen, run, serve
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

    @property
    def is_settled(self) -> bool:
        """Whether it is known that it answers, or that it never did."""
        return self.ready < 0

    def look(self) -> None:
        """See whether it answers by now, without waiting."""
        if self.is_settled:
            return
        readable, _, _ = select.select([self.ready], [], [], 0)
        if readable:
            self.has_answered = os.read(self.ready, 1) == b"1"
            self.drop()

    def drop(self) -> None:
        """Look no more."""
        if not self.is_settled:
            os.close(self.ready)
            self.ready = -1


@dataclass(frozen=True, slots=True)
class _Renewal:
    """Workers with new settings, by slot; they take over when all of them answer."""

    settings: Settings
    workers: dict[int, _Worker]
    deadline: float


class Supervisor:
    """Keeps `settings.server.workers` processes running. `reload` reads the settings anew."""

    def __init__(
        self, settings: Settings, reload: Callable[[], Settings], access_log: AccessLog
    ) -> None:
        self._settings = settings
        self._reload = reload
        self._access_log = access_log
        self._log = structlog.get_logger("wheelkeep")
        self._scoreboard = Scoreboard(settings.server.workers)
        self._generation = 0
        """How many renewals were begun."""
        self._sockets: list[list[socket.socket]] = []
        self._workers: dict[int, _Worker] = {}
        self._renewal: _Renewal | None = None
        self._alive: dict[int, Pulse] = {}
        """All processes that were started and have not ended, also those asked to finish."""
        self._look_at = 0.0
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
            self._workers[slot] = self._fork(slot, self._settings)
        first = {worker.pid for worker in self._workers.values()}
        while True:
            self._wait(wake_up)
            for number in _arrived(wake_up):
                if number in (signal.SIGTERM, signal.SIGINT):
                    self._stop()
                    return 0
                if number == signal.SIGHUP:
                    self._begin_renewal()
            for pid, status in self._bury():
                if status > 0 and pid in first:
                    self._stop()
                    return status  # it could not even begin, and has said why
            self._kill_those_that_hang()
            self._replace()
            self._go_on_with_renewal()

    def _wait(self, wake_up: int) -> None:
        """Until a signal arrives, a new worker answers or dies, or something is due."""
        watched, moments = [wake_up], [self._look_at, *self._due.values()]
        if self._renewal is not None:
            watched += [one.ready for one in self._renewal.workers.values() if not one.is_settled]
            moments.append(self._renewal.deadline)
        select.select(watched, [], [], max(0.0, min(moments) - time.monotonic()))

    # --- workers --------------------------------------------------------------------------

    def _fork(self, slot: int, settings: Settings) -> _Worker:
        readable, writable = os.pipe()
        cell = self._scoreboard.cell(slot, self._generation)
        pulse = Pulse(cell.beats)
        # A signal must not meet the new process while it still has our handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid == 0:
            os.close(readable)
            os.close(self._held_open)
            os._exit(self._work(slot, settings, cell, writable))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(writable)
        self._alive[pid] = pulse
        return _Worker(pid, readable)

    def _work(self, slot: int, settings: Settings, cell: Cell, ready: int) -> int:
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
            sockets = self._sockets[slot]
            serving = serve(
                settings, sockets, self._access_log, cell=cell, ready=tell, parent=self._watched
            )
            run(serving)
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
            self._alive.pop(pid, None)
            slot = slots.get(pid)
            if slot is None:
                # It was asked to finish, or belongs to a renewal; or it is none of ours: the first
                # process of a container inherits whatever others leave behind.
                continue
            worker = self._workers.pop(slot)
            self._log.error("worker died", pid=pid, status=status)
            self._scoreboard.note_death()
            worker.look()
            worker.drop()
            if worker.has_answered:
                self._failures[slot] = 0
                self._due[slot] = time.monotonic()
            else:
                # It would otherwise be replaced as fast as the machine can.
                failures = self._failures[slot] = self._failures.get(slot, 0) + 1
                pause = min(_LONGEST_PAUSE_SECONDS, 0.1 * 2 ** min(failures, 10))
                self._due[slot] = time.monotonic() + pause
                yield pid, status

    def _kill_those_that_hang(self) -> None:
        """They end as any that dies: whoever is in their queue is answered by the next."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_SECONDS
        for pid, pulse in self._alive.items():
            if pulse.is_lost():
                seconds = round(SILENT_LOOKS * LOOK_SECONDS)
                self._log.error("worker hangs, and is killed", pid=pid, silent_seconds=seconds)
                _tell(pid, signal.SIGKILL)

    def _replace(self) -> None:
        for slot, moment in list(self._due.items()):
            if time.monotonic() >= moment:
                del self._due[slot]
                self._workers[slot] = self._fork(slot, self._settings)

    # --- renewal --------------------------------------------------------------------------

    def _begin_renewal(self) -> None:
        """Read the settings anew, and start a worker that has them for each slot."""
        try:
            settings = self._reload()
        except ConfigError as problem:
            self._log.error("settings not reloaded", problem=str(problem))
            return
        self._abandon_renewal()
        for key in ("host", "port", "workers"):
            if getattr(settings.server, key) != getattr(self._settings.server, key):
                self._log.warning("needs a restart to change", setting=f"server.{key}")
        self._generation += 1
        workers = {slot: self._fork(slot, settings) for slot in range(len(self._sockets))}
        self._renewal = _Renewal(settings, workers, time.monotonic() + _READY_SECONDS)

    def _go_on_with_renewal(self) -> None:
        """Let the new workers take over once all of them answer, or none of them."""
        if self._renewal is None:
            return
        new = self._renewal.workers
        for worker in new.values():
            worker.look()
        are_alive = all(worker.pid in self._alive for worker in new.values())
        if not are_alive or time.monotonic() > self._renewal.deadline:
            self._log.error("a new worker did not start; the old ones go on")
            self._abandon_renewal()
        elif all(worker.has_answered for worker in new.values()):
            for old in self._workers.values():
                _tell(old.pid, signal.SIGTERM)
                old.drop()
            self._settings, self._workers, self._renewal = self._renewal.settings, new, None
            self._due.clear()
            self._failures.clear()
            self._log.info("renewed", workers=len(new))

    def _abandon_renewal(self) -> None:
        if self._renewal is not None:
            for worker in self._renewal.workers.values():
                worker.drop()
                if worker.pid in self._alive:
                    _tell(worker.pid, signal.SIGTERM)  # some may answer clients by now
            self._renewal = None

    # --- the end --------------------------------------------------------------------------

    def _stop(self) -> None:
        """Let all finish."""
        self._abandon_renewal()
        # Who comes now is refused by the kernel once the workers have closed theirs, too,
        # instead of waiting for an answer that nobody will give.
        for sockets in self._sockets:
            for one in sockets:
                one.close()
        for pid in self._alive:
            _tell(pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS + _MARGIN_SECONDS
        while self._alive:
            for pid, _ in _ended():
                self._alive.pop(pid, None)
            if time.monotonic() > deadline:
                for pid in self._alive:
                    _tell(pid, signal.SIGKILL)
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
