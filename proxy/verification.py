"""Reads all that is kept again, and puts right what is not as it should be.

A file has its sha256 for its name, a page's body its ETag, and which core metadata belongs to a
wheel can be read out of the wheel. What is damaged is dropped, and is fetched anew when it is
asked for. The table of what lies on the disk is held against the disk.

May run beside a server: what comes and goes meanwhile is nobody's fault.
"""

import asyncio
import hashlib
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import Path

import msgspec

from proxy.metadata import SUFFIX, MetadataNote, fact_key
from proxy.simple.content import DamagedContent, unpack
from proxy.simple.wheel import UnreadableWheel, read_metadata
from proxy.storage.blobs import BlobKey, DiskBlobs
from proxy.storage.pages import PageStore

_READ_BYTES = 1 << 20
_WAITING = 8
"""Files for each thread that wait for it: a large one must not keep the other threads idle."""


class Fault(StrEnum):
    """What may be wrong."""

    DAMAGED = "damaged file"
    """Its bytes are not those that its name stands for."""
    UNREADABLE = "unreadable file"
    """The disk does not give its bytes: no reason to drop it, and no hope to serve it."""
    DAMAGED_PAGE = "damaged page"
    """The body behind an ETag is another one."""
    WRONG_METADATA = "wrong metadata"
    """The metadata that was made of a wheel is not what the wheel says."""
    NOT_IN_TABLE = "file in no table"
    """Nothing would bound it."""
    NO_FILE = "row without a file"
    STRAY = "stray"
    """Somebody else put it there, and it is left alone."""


HARMLESS = frozenset({Fault.NOT_IN_TABLE, Fault.NO_FILE, Fault.STRAY})
"""What no client could have met."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """Something that is wrong. `name` is a path below the cache's folder, or an ETag."""

    fault: Fault
    name: str
    problem: str = ""
    is_mended: bool = False


@dataclass(slots=True, kw_only=True)
class VerificationReport:
    """What was looked at so far, and what is wrong with it."""

    files: int = 0
    size_bytes: int = 0
    """Of these files."""
    pages: int = 0
    """Bodies of pages, each once however many pages it is of."""
    metadata: int = 0
    """Wheels whose metadata was made here."""
    flaws: list[Flaw] = field(default_factory=list)

    @property
    def serious(self) -> list[Flaw]:
        """The flaws that clients could have met."""
        return [flaw for flaw in self.flaws if flaw.fault not in HARMLESS]


class Verification:
    """One run. `mend`: put right what is wrong; else it is only told.

    `found` is told of each flaw when it is found, `has_read` of bytes that were read, by any
    thread. `report` grows while it runs, and holds also when it is interrupted.
    """

    def __init__(
        self,
        store: DiskBlobs,
        *,
        mend: bool,
        found: Callable[[Flaw], None] = lambda _: None,
        has_read: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.report = VerificationReport()
        self._store = store
        self._mend = mend
        self._told = found
        self._has_read = has_read
        self._stopped = threading.Event()
        self._walked: set[str] = set()

    # --- files ----------------------------------------------------------------------------

    def check_files(self, jobs: int) -> None:
        """Read every file, by so many threads. Raises `StoreUnavailable`."""
        with ThreadPoolExecutor(jobs, "verify") as pool:
            try:
                for path, flaw, size in self._hashed(pool, jobs * _WAITING):
                    self.report.files += 1
                    self.report.size_bytes += size
                    self._walked.add(path)
                    if flaw is not None:
                        self._note(flaw)
            except BaseException:
                self._stopped.set()  # nobody waits until a large file is read
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _hashed(
        self, pool: ThreadPoolExecutor, waiting: int
    ) -> Iterator[tuple[str, Flaw | None, int]]:
        """Path, what is wrong with it, and size of every file, as they are done."""
        files = self._store.all()
        pending: set[Future[tuple[str, Flaw | None, int] | None]] = set()
        while True:
            for key, path in islice(files, waiting - len(pending)):
                pending.add(pool.submit(self._check_file, key, path))
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                if (result := future.result()) is not None:
                    yield result

    def _check_file(self, key: BlobKey, path: Path) -> tuple[str, Flaw | None, int] | None:
        """In a thread. None: it was evicted just now, or nobody wants to know any more."""
        running, size = hashlib.sha256(), 0
        buffer = memoryview(bytearray(_READ_BYTES))
        name = f"blobs/{key.path}"
        try:
            with path.open("rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    if self._stopped.is_set():
                        return None
                    running.update(buffer[:count])
                    size += count
                    self._has_read(count)
        except FileNotFoundError:
            return None
        except OSError as problem:
            reason = problem.strerror or str(problem)
            return key.path, Flaw(fault=Fault.UNREADABLE, name=name, problem=reason), size
        if running.hexdigest() == key.sha256:
            return key.path, None, size
        if self._mend:
            self._store.drop(key)
        flaw = Flaw(
            fault=Fault.DAMAGED,
            name=name,
            problem=f"its sha256 is {running.hexdigest()}",
            is_mended=self._mend,
        )
        return key.path, flaw, size

    def check_table(self) -> None:
        """Hold the table against the disk that was walked. Raises `StoreUnavailable`."""
        unknown, gone = self._store.compare(self._walked, mend=self._mend)
        for fault, paths in ((Fault.NOT_IN_TABLE, unknown), (Fault.NO_FILE, gone)):
            for path in paths:
                self._note(Flaw(fault=fault, name=f"blobs/{path}", is_mended=self._mend))
        for stray in self._store.strays():
            self._note(Flaw(fault=Fault.STRAY, name=str(stray)))

    # --- pages ----------------------------------------------------------------------------

    async def check_pages(self, pages: PageStore, indexes: Collection[str]) -> None:
        """Read every body, and hold the metadata of kept wheels against them.

        `indexes`: of the settings; those that have pages are found. Raises `StoreUnavailable`.
        """
        seen: set[str] = set()
        names = set(indexes)
        async for index, _, record in pages.pages():
            names.add(index)
            if record.etag is None or record.etag in seen:
                continue
            seen.add(record.etag)
            stored = await pages.body(record.etag)
            if stored is None:
                continue  # it is asked for anew, as if it had never been kept
            self.report.pages += 1
            try:
                await asyncio.to_thread(unpack, stored, record.etag)
            except DamagedContent as problem:
                if self._mend:
                    await pages.drop_body(record.etag)
                self._note_page(record.etag, str(problem))
        await self._check_metadata(pages, names)

    def _note_page(self, etag: str, problem: str) -> None:
        self._note(Flaw(fault=Fault.DAMAGED_PAGE, name=etag, problem=problem, is_mended=self._mend))

    async def _check_metadata(self, pages: PageStore, indexes: Collection[str]) -> None:
        for key, path in await asyncio.to_thread(lambda: list(self._wheels())):
            for index in sorted(indexes):
                fact = fact_key(index, key.sha256)
                stored = await pages.fact(fact)
                if stored is None:
                    continue
                self.report.metadata += 1
                right = await asyncio.to_thread(_note_of, key, path)
                if right is None or _is_same(stored, right):
                    continue
                if self._mend:
                    await pages.write_fact(fact, msgspec.json.encode(right))
                self._note(
                    Flaw(
                        fault=Fault.WRONG_METADATA,
                        name=f"blobs/{key.path}{SUFFIX}",
                        problem=f"of the index {index}",
                        is_mended=self._mend,
                    )
                )

    def _wheels(self) -> Iterator[tuple[BlobKey, Path]]:
        """The wheels that are here, and are whole."""
        damaged = {flaw.name for flaw in self.report.serious}
        for key, path in self._store.all():
            if key.filename.endswith(".whl") and f"blobs/{key.path}" not in damaged:
                yield key, path

    def _note(self, flaw: Flaw) -> None:
        self.report.flaws.append(flaw)
        self._told(flaw)


def _note_of(key: BlobKey, path: Path) -> MetadataNote | None:
    """What is to be known of that wheel's metadata; None where it cannot be read now."""
    try:
        with path.open("rb") as file:
            data = read_metadata(file, key.filename)
    except UnreadableWheel as problem:
        return MetadataNote(problem=str(problem))
    except OSError:
        return None
    return MetadataNote(sha256=hashlib.sha256(data).hexdigest())


def _is_same(stored: bytes, right: MetadataNote) -> bool:
    """Whether that was noted. The words for a wheel that has none may be those of before."""
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(stored, type=MetadataNote).sha256 == right.sha256
    return False
