"""A file's digests, made as it comes."""

import hashlib
from collections.abc import Iterable, Mapping

from proxy.errors import DigestMismatch


class Hashing:
    """The sha256 of what has come so far, and the digests by other algorithms that are wanted."""

    def __init__(self, algorithms: Iterable[str]) -> None:
        self._sha256 = hashlib.sha256()
        self._others = {name: hashlib.new(name) for name in algorithms if name != "sha256"}

    def update(self, data: bytes) -> None:
        """What comes next."""
        self._sha256.update(data)
        for running in self._others.values():
            running.update(data)

    def verify(self, filename: str, digests: Mapping[str, str], url: str) -> str:
        """The sha256 of what came. Raises `DigestMismatch` where any digest differs."""
        sha256 = self._sha256.hexdigest()
        for algorithm, expected in digests.items():
            running = self._others.get(algorithm)
            actual = running.hexdigest() if running else sha256
            if actual != expected:
                raise DigestMismatch(filename, algorithm, expected, actual, url)
        return sha256

    def is_whole(self, digests: Mapping[str, str]) -> bool:
        """Whether what came is all there is to come: its digests say so."""
        try:
            self.verify("", digests, "")
        except DigestMismatch:
            return False
        return bool(digests)
