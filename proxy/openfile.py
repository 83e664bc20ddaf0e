"""A file that stays open from request to request, for the kernel to send from."""

import os
import weakref
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True, eq=False, weakref_slot=True)
class OpenFile:
    """Open for as long as anybody holds this: who sends it may go on when others have let go.

    Whoever reads it says from where: there is one for all.
    """

    path: Path
    descriptor: int = field(init=False)
    size_bytes: int = field(init=False)
    """When it was opened."""

    def __post_init__(self) -> None:
        """Open it. Raises `OSError`."""
        self.descriptor = os.open(self.path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.descriptor)
        self.size_bytes = os.fstat(self.descriptor).st_size
