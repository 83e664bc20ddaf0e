"""Whether a process still moves: one that hangs holds its connections, and answers nobody.

The process counts on while its event loop runs, and whoever looks after it looks now and then.
What is counted are looks and not seconds: where the whole machine is paused, nobody has looked.
"""

import asyncio
from collections.abc import Callable

BEAT_SECONDS = 1.0
LOOK_SECONDS = 5.0
"""How much time there must be between two looks."""
SILENT_LOOKS = 6
"""Of that many looks each finds what the one before has found, where a process hangs."""


async def beating(beat: Callable[[], None]) -> None:
    """Tell again and again that this process moves, until it is cancelled."""
    while True:
        beat()
        await asyncio.sleep(BEAT_SECONDS)


class Pulse:
    """That of one process, by how many times it has told that it moves."""

    def __init__(self, beats: Callable[[], int]) -> None:
        self._beats = beats
        self._seen = beats()
        self._has_begun = False
        self._silent = 0

    def __repr__(self) -> str:
        return f"<Pulse of {self._seen} beats, silent for {self._silent} looks>"

    def is_lost(self) -> bool:
        """Look once more: whether it has not moved for too long. Anew from then on.

        A process that has not begun to move yet is given all the time it needs.
        """
        now = self._beats()
        if now != self._seen:
            self._seen, self._has_begun, self._silent = now, True, 0
        elif self._has_begun:
            self._silent += 1
        if self._silent < SILENT_LOOKS:
            return False
        self._silent = 0
        return True
