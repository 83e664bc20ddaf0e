"""What each worker of a server has counted, for whichever of them is asked.

A piece of memory that all workers share, made before they are forked: no disk that may be full,
nothing to clean up. Each worker writes what it has counted into a cell of its own, and reads those
of the others. A cell has two halves, of which one is whole at any time, also when its worker is
killed while it writes; who takes a cell over goes on counting from what stands there, so a sum
never falls.
"""

import mmap
import struct
import zlib
from datetime import UTC, datetime

_PLACES_FOR_EACH_SLOT = 16
"""A renewed worker counts beside the one it replaces, which may take a while to finish."""
_HALF_BYTES = 1 << 19
"""Of address space; what is never written takes no memory."""
_HEAD = struct.Struct("<II")
_NUMBER = struct.Struct("<Q")
_CELL_BYTES = 8 + 2 * _HALF_BYTES
LARGEST_BYTES = _HALF_BYTES - _HEAD.size


class Scoreboard:
    """Cells for the workers of so many slots."""

    def __init__(self, slots: int) -> None:
        self._count = slots * _PLACES_FOR_EACH_SLOT
        self._deaths_at = self._count * _CELL_BYTES
        self._beats_at = self._deaths_at + _NUMBER.size
        self._memory = mmap.mmap(-1, self._beats_at + self._count * _NUMBER.size)
        self.started_at = datetime.now(UTC)

    def __repr__(self) -> str:
        return f"<Scoreboard of {self._count} cells>"

    def cell(self, slot: int, generation: int) -> "Cell":
        """That of the worker that has the slot since so many renewals."""
        place = generation % _PLACES_FOR_EACH_SLOT
        return Cell(self, slot * _PLACES_FOR_EACH_SLOT + place)

    @property
    def deaths(self) -> int:
        """How many workers have died."""
        (deaths,) = _NUMBER.unpack_from(self._memory, self._deaths_at)
        return int(deaths)

    def note_death(self) -> None:
        """A worker has died. For the supervisor alone."""
        _NUMBER.pack_into(self._memory, self._deaths_at, self.deaths + 1)

    def beat(self, at: int) -> None:
        """The worker of the cell moves."""
        _NUMBER.pack_into(self._memory, self._beat_at(at), self.beats(at) + 1)

    def beats(self, at: int) -> int:
        """How many times the workers that had the cell have told that they move."""
        (beats,) = _NUMBER.unpack_from(self._memory, self._beat_at(at))
        return int(beats)

    def _beat_at(self, at: int) -> int:
        return self._beats_at + at * _NUMBER.size

    def write(self, at: int, data: bytes) -> None:
        """Put it in place of what the cell holds. Raises `ValueError` where it is too large."""
        if len(data) > LARGEST_BYTES:
            raise ValueError(f"{len(data)} bytes of counts are more than {LARGEST_BYTES}")
        start = at * _CELL_BYTES
        other = 1 - self._memory[start]
        begin = start + 8 + other * _HALF_BYTES
        self._memory[begin : begin + _HEAD.size] = _HEAD.pack(len(data), zlib.crc32(data))
        begin += _HEAD.size
        self._memory[begin : begin + len(data)] = data
        self._memory[start] = other

    def read(self, at: int) -> bytes:
        """What the cell holds; empty where nobody has written yet."""
        start = at * _CELL_BYTES
        for _ in range(10):
            begin = start + 8 + self._memory[start] * _HALF_BYTES
            size, checksum = _HEAD.unpack(self._memory[begin : begin + _HEAD.size])
            begin += _HEAD.size
            data = self._memory[begin : begin + size]
            # Read while its worker wrote twice, else.
            if zlib.crc32(data) == checksum:
                return data
        return b""

    def all_but(self, at: int) -> list[bytes]:
        """What the other cells hold."""
        found = (self.read(other) for other in range(self._count) if other != at)
        return [data for data in found if data]


class Cell:
    """The place of one worker."""

    def __init__(self, board: Scoreboard, at: int) -> None:
        self._board = board
        self._at = at

    def __repr__(self) -> str:
        return f"<Cell {self._at} of {self._board!r}>"

    def write(self, data: bytes) -> None:
        """See `Scoreboard.write`."""
        self._board.write(self._at, data)

    def read(self) -> bytes:
        """What stands here, from whoever had the place before."""
        return self._board.read(self._at)

    def beat(self) -> None:
        """The worker that has this place moves."""
        self._board.beat(self._at)

    def beats(self) -> int:
        """How many times it was told that; also by whoever had the place before."""
        return self._board.beats(self._at)

    @property
    def is_first(self) -> bool:
        """Whether it is that of the worker which tells what need not be told by all."""
        return self._at < _PLACES_FOR_EACH_SLOT

    @property
    def deaths(self) -> int:
        """How many workers of the server have died."""
        return self._board.deaths

    @property
    def started_at(self) -> datetime:
        """When the server was started."""
        return self._board.started_at

    def others(self) -> list[bytes]:
        """What stands in the places of the others."""
        return self._board.all_but(self._at)
