"""What a page of a bundle is here: whether it can be taken, and whether it should be. Pure."""

import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from proxy.bundle.errors import BundleRefused
from proxy.bundle.manifest import BundledPage, Member
from proxy.freshness import LONGEST_LIFETIME
from proxy.settings import Index
from proxy.simple.content import GZIP_WINDOW, DamagedContent, etag_of, read_canonical
from proxy.simple.model import is_plain_filename
from proxy.simple.parse import MalformedPage
from proxy.simple.project_json import check_project_json, check_provenance
from proxy.storage.pages import PageRecord, is_document
from proxy.words import moment_in_words

_LARGEST_CONTENT_BYTES = 256 << 20
"""Of a page or a document when it is unpacked; what an index sends may have a quarter of that."""
_CLOCK_TOLERANCE = timedelta(days=1)
"""By which the clocks of two machines may differ."""


def record_here(record: PageRecord, index: Index) -> PageRecord:
    """The record as one of the index that stands for the bundle's here.

    Where that is at another address, what the other one's server said of versions is not for it.
    """
    stamp = record.stamp
    longest = stamp.fetched_at + LONGEST_LIFETIME
    here = replace(
        record,
        source=index.url,
        stamp=replace(stamp, fresh_until=min(stamp.fresh_until, longest)),
    )
    if record.source == index.url:
        return here
    return replace(here, upstream_etag=None, last_modified=None)


def is_newer(record: PageRecord, kept: PageRecord, now: datetime) -> bool:
    """Whether the record beats the one that is here, as one from the future cannot be."""
    fetched_at, here = record.stamp.fetched_at, kept.stamp.fetched_at
    return here < fetched_at or (here > now and here != fetched_at)


def check_time(page: BundledPage, now: datetime) -> None:
    """Raise `BundleRefused` for one from the future: no bundle after it could bring a newer one."""
    fetched_at = page.record.stamp.fetched_at
    if fetched_at > now + _CLOCK_TOLERANCE:
        raise BundleRefused(
            f"the page {page.name!a} of the index {page.index}",
            f"it says that it was fetched on {moment_in_words(fetched_at.astimezone(UTC))}, "
            "which is yet to come; or the clock of this machine is wrong",
        )


def check_body(page: BundledPage, body: bytes, member: Member) -> None:
    """Hold a body against its ETag, and see that it can be read. Raises `BundleRefused`."""
    content = _unpacked(body, member)
    if etag_of(content) != page.record.etag:
        raise BundleRefused(member.name, "it is not what its ETag names")
    try:
        if is_document(page.name):
            is_provenance = page.name.endswith("/provenance")
            (check_provenance if is_provenance else check_project_json)(content)
            return
        files = read_canonical(content).files
    except (DamagedContent, MalformedPage) as problem:
        raise BundleRefused(member.name, str(problem)) from None
    for file in files:
        if not is_plain_filename(file.filename):
            raise BundleRefused(member.name, f"{file.filename!a} is no name of a file")


def _unpacked(body: bytes, member: Member) -> bytes:
    """What was gzipped, up to a bound. Raises `BundleRefused`."""
    decompressor = zlib.decompressobj(GZIP_WINDOW)
    try:
        content = decompressor.decompress(body, _LARGEST_CONTENT_BYTES)
    except zlib.error:
        raise BundleRefused(member.name, "it is not gzipped") from None
    if not decompressor.eof or decompressor.unused_data:
        raise BundleRefused(member.name, "it is too large when it is unpacked, or not whole")
    return content
