"""What a page store keeps of a page: its JSON with upstream's URLs, gzipped, named by its hash.

The name is made from the content, so the same page has the same name on every machine, and
what a store gives back can be held against the name it was asked for.
"""

import gzip
import hashlib
import zlib

import msgspec
from isal import isal_zlib

from proxy.simple.model import Project
from proxy.simple.parse import MalformedPage, parse_canonical

GZIP_LEVEL = 1
"""Of ISA-L: it makes as few bytes of a page as zlib does at 6, in a tenth of the time."""
GZIP_WINDOW = 16 + isal_zlib.MAX_WBITS
_ETAG_DIGITS = 32

_ENCODER = msgspec.json.Encoder(decimal_format="number")


class DamagedContent(ValueError):
    """The bytes are not those that the ETag names."""


def canonical(project: Project) -> bytes:
    """All that is known of a project's page.

    Keys keep their order, so a page read back renders to the bytes that its ETag stands for.
    """
    document = {**project.document, "files": [file.entry for file in project.files]}
    return _ENCODER.encode(document)


def etag_of(body: bytes) -> str:
    """The name of a content."""
    return etag_from(hashlib.sha256(body))


def etag_from(sha256: "hashlib._Hash") -> str:
    """The name of the content that was hashed, piece by piece."""
    return sha256.hexdigest()[:_ETAG_DIGITS]


def pack(body: bytes) -> bytes:
    """Gzipped without a time stamp, so the same content gives the same bytes."""
    return isal_zlib.compress(body, GZIP_LEVEL, GZIP_WINDOW)


def unpack(stored: bytes, etag: str) -> bytes:
    """The content behind an ETag. Raises `DamagedContent`."""
    try:
        body = gzip.decompress(stored)
    except (OSError, EOFError, zlib.error) as problem:
        raise DamagedContent(f"it cannot be unpacked: {problem}") from None
    if etag_of(body) != etag:
        raise DamagedContent("its hash is another")
    return body


def read_canonical(body: bytes) -> Project:
    """Read what `canonical` wrote. Raises `DamagedContent`."""
    try:
        return parse_canonical(body)
    except MalformedPage as problem:
        raise DamagedContent(str(problem)) from None
