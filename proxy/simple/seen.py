"""Which names were seen already: a set of byte strings that takes little more room than they do.

A Python set of the 700,000 names of the public index takes 76 MB, this one 27 MB.
"""

from array import array

_END = b"\xff"
"""Stands behind each name: it occurs in no UTF-8."""
_FIRST_SLOTS = 1 << 12
_GROWTH = 4


class SeenNames:
    """A hash table with open addressing, whose slots say where in one long text a name begins."""

    def __init__(self) -> None:
        self._text = bytearray(_END)  # so no name begins at 0, which marks a slot that is free
        self._slots = _free(_FIRST_SLOTS)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, name: str) -> bool:
        """Note the name. Whether it is new."""
        key = name.encode(errors="surrogatepass") + _END
        slots, text = self._slots, self._text
        # Python's hash is keyed anew in each process: nobody can choose names that collide.
        last = len(slots) - 1
        slot = hash(key) & last
        while begin := slots[slot]:
            if text.startswith(key, begin):
                return False
            slot = (slot + 1) & last
        slots[slot] = len(text)
        text += key
        self._count += 1
        if 2 * self._count > last:
            self._grow()
        return True

    def _grow(self) -> None:
        old, text = self._slots, self._text
        self._slots = slots = _free(_GROWTH * len(old))
        last = len(slots) - 1
        for begin in filter(None, old):
            slot = hash(bytes(text[begin : text.index(_END, begin) + 1])) & last
            while slots[slot]:
                slot = (slot + 1) & last
            slots[slot] = begin


def _free(count: int) -> "array[int]":
    """So many slots; 32 bits each are enough for the longest list that is taken."""
    return array("I", bytes(4 * count))
