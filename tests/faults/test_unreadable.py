"""A disk that has a kept file and cannot give it: the client gets it from the index, or is told."""

import errno
import os

import aiohttp
import pytest
from aiohttp.test_utils import TestClient

from tests.faults.kinds import Given, ask
from tests.faults.scripted import ScriptedUpstream, answer, says

NAME = "six-1.0.tar.gz"
SIZES = {"read at once": 3000, "sent by the kernel": 3 << 20}


class BadSector:
    """Of all kept files the same byte cannot be read, once it is `there`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.at = at
        self.is_there = False
        self._pread, self._sendfile = os.pread, os.sendfile
        monkeypatch.setattr(os, "pread", self._read)
        monkeypatch.setattr(os, "sendfile", self._send)

    def _read(self, descriptor: int, count: int, offset: int) -> bytes:
        return self._pread(descriptor, self._before(descriptor, count, offset), offset)

    def _send(self, out: int, descriptor: int, offset: int, count: int) -> int:
        return self._sendfile(out, descriptor, offset, self._before(descriptor, count, offset))

    def _before(self, descriptor: int, count: int, offset: int) -> int:
        """How much a kernel gives: what lies before it, and only then the error."""
        if not self.is_there or "/blobs/" not in os.readlink(f"/proc/self/fd/{descriptor}"):
            return count
        if offset <= self.at < offset + count:
            if offset == self.at:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return self.at - offset
        return count


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
@pytest.mark.parametrize("part", [0.0, 0.4, 1.0], ids=["first", "middle", "last"])
async def test_a_bad_sector(
    upstream: ScriptedUpstream,
    proxy: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    part: float,
) -> None:
    content = os.urandom(size)
    sha256 = upstream.add("six", NAME, content)
    url = f"/files/six/{sha256}/{NAME}"
    bad = BadSector(monkeypatch, int(part * (size - 1)))
    assert (await ask(proxy, url)).body == content
    asked = upstream.count(upstream.path_of(NAME))

    bad.is_there = True
    given = await _anew(proxy, url)
    assert (given.status, given.body) == (200, content)
    assert upstream.count(upstream.path_of(NAME)) == asked + 1, "it was not asked for: what for?"
    assert await _ranges(proxy, url, content)

    upstream.scripts[upstream.path_of(NAME)] = says(answer(b"", status="503 Out of order"))
    given = await _anew(proxy, url)
    assert given.is_cut or given.status in (502, 503), "nobody has it, and nobody was told"

    bad.is_there = False
    assert (await _anew(proxy, url)).body == content


async def _anew(proxy: TestClient, url: str) -> Given:
    """Past what is kept ready in memory."""
    async with proxy.get(url, headers={"X-Not": "plain", "Range": "bytes=0-"}) as response:
        try:
            body = await response.read()
        except aiohttp.ClientPayloadError:
            body = None
        return Given(200 if response.status == 206 else response.status, body, {})


async def _ranges(proxy: TestClient, url: str, content: bytes) -> bool:
    for start in range(0, len(content), len(content) // 7):
        stop = min(start + len(content) // 5, len(content))
        async with proxy.get(url, headers={"Range": f"bytes={start}-{stop - 1}"}) as response:
            assert response.status == 206
            assert await response.read() == content[start:stop], (start, stop)
    return True
