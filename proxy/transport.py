"""A file on its way over HTTP, and the one place where the HTTP client's errors become ours."""

import os
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

import aiohttp
from multidict import CIMultiDict, MultiMapping
from yarl import URL

from proxy import __version__
from proxy.errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStream:
    """A file on its way, or a part of one."""

    start: int
    """Where in the file the chunks begin: 0 where the far side knows no ranges."""
    size_bytes: int | None
    """Of the whole file, where the far side tells."""
    is_delimited: bool
    """Whether a connection that breaks off can be told from the file's end."""
    validator: str | None = None
    """What the far side lets this file be recognised by (RFC 9110 §13.1.5, If-Range)."""
    is_html: bool = False
    """Whether it comes as a page for people, as no file does: login pages come with status 200."""
    chunks: AsyncGenerator[bytes, None]


class Fetch(Protocol):
    """Opens a file at some far side: an index, the object store, or another machine.

    `start` below 0 asks for that many bytes at the end; `stop` is where the part ends (None:
    the end of the file). A file that is not the one with `validator` comes from its beginning.
    """

    def __call__(
        self, start: int = 0, stop: int | None = None, validator: str | None = None
    ) -> AbstractAsyncContextManager[FileStream]:
        """Raises `UpstreamError`, `StoreUnavailable`; also while the chunks are read."""


LOOP_HEADER = "CDN-Loop"
"""Whose requests these are, for whoever may have sent them (RFC 8586 §2)."""
USER_AGENT = f"wheelkeep/{__version__}"
LONGEST_HEAD_BYTES = 64 << 10
"""Of a status line, and of each header."""
_LONGEST_REASON = 200
_LONGEST_KEPT = 1000
"""Of a header that is kept and sent on."""
_CONTENT_RANGE = re.compile(r"\Abytes (\d{1,19})-\d{1,19}/(\d{1,19}|\*)\s*\Z", re.ASCII)
# X509_V_ERR_…: nobody who is trusted signed it.
_UNKNOWN_ISSUER = frozenset({2, 18, 19, 20, 21, 27})
_VALID_URL = re.compile(r"\A(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+\Z")


@contextmanager
def as_ours(index: str, url: str) -> Iterator[None]:
    """Turn aiohttp's errors into ours."""
    try:
        yield
    except aiohttp.ClientConnectorCertificateError as problem:
        raise UpstreamError(index, url, _about_certificate(problem.certificate_error)) from problem
    except aiohttp.ClientHttpProxyError as problem:
        reason = f"the HTTP proxy on the way to it answered {problem.status}"
        raise UpstreamUnavailable(index, url, reason) from problem
    except TimeoutError as problem:
        raise UpstreamTimeout(index, url, "it did not answer in time") from problem
    except aiohttp.TooManyRedirects as problem:
        raise UpstreamError(index, url, "it redirects in a loop") from problem
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as problem:
        raise UpstreamError(index, url, "it leads to what is no http URL") from problem
    except (aiohttp.ClientError, OSError) as problem:
        reason = f"the connection failed: {_sentence(problem)}"
        raise UpstreamUnavailable(index, url, reason) from problem
    except ValueError as problem:
        raise UpstreamError(index, url, "its URL cannot be used") from problem


def as_written(url: str) -> URL:
    """The URL of a link. One that is valid is left as it is: signatures depend on each byte."""
    return URL(url, encoded=bool(_VALID_URL.match(url)))


def _about_certificate(problem: Exception) -> str:
    if getattr(problem, "verify_code", 0) in _UNKNOWN_ISSUER:
        return "its certificate is not trusted; index.ca_file may name a file of those that are"
    reason = getattr(problem, "verify_message", "") or _sentence(problem)
    return f"its certificate is not valid: {reason}"


def _sentence(problem: BaseException) -> str:
    """What the library says, in one line; it may quote at length what upstream sent."""
    if reason := why_not_connected(problem):
        return reason
    return " ".join(str(problem).split())[:_LONGEST_REASON] or type(problem).__name__


def why_not_connected(problem: BaseException) -> str:
    """In the words of the system, where there is no connection; else empty.

    The library's own words are for programmers: they name objects of its memory.
    """
    if not isinstance(problem, aiohttp.ClientConnectorError):
        return ""
    reason = problem.os_error
    # A name that is unknown has a negative number.
    if reason.errno is not None and reason.errno > 0:
        return os.strerror(reason.errno)
    return reason.strerror or str(reason)


def worth_another_try(problem: Exception, longest_wait: float) -> bool | float:
    """Whether to ask again after this failure; a number: after so many seconds.

    stamina's protocol. What upstream asks to wait for longer than `longest_wait` seconds is not
    waited for.
    """
    return isinstance(problem, UpstreamUnavailable) and worth_the_wait(
        problem.retry_after, longest_wait
    )


def worth_the_wait(retry_after: float | None, longest_wait: float) -> bool | float:
    """Likewise, of whoever asks for so many seconds; None: for none in particular."""
    if retry_after is None:
        return True
    return retry_after if retry_after <= longest_wait else False


def retry_after_seconds(header: str | None) -> float | None:
    """RFC 9110 §10.2.3: seconds, or a date."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header.strip()[:9])
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    return max(
        0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    )


def byte_range(start: int, stop: int | None) -> str:
    """The Range header for the bytes from `start` to before `stop` (RFC 9110 §14.1.2)."""
    if start < 0:
        return f"bytes={start}"
    return f"bytes={start}-{'' if stop is None else stop - 1}"


def content_range(headers: Mapping[str, str]) -> tuple[int, int | None] | None:
    """Where a part begins, and the size of the whole where that is told (RFC 9110 §14.4)."""
    match = _CONTENT_RANGE.match(headers.get("Content-Range", ""))
    if match is None:
        return None
    return int(match[1]), int(match[2]) if match[2] != "*" else None


def combined(headers: MultiMapping[str]) -> Mapping[str, str]:
    """The same with one line for each name (RFC 9110 §5.3): names in any case."""
    return CIMultiDict((name, ", ".join(headers.getall(name))) for name in set(headers))


def validator_of(headers: Mapping[str, str]) -> str | None:
    """What to send as If-Range: a strong ETag, else the date (RFC 9110 §13.1.5)."""
    etag = headers.get("ETag", "")
    return sendable(etag if is_strong(etag) else headers.get("Last-Modified")) or None


def sendable(value: str | None) -> str | None:
    """What was sent in a header, where it can be kept and sent on; else None.

    The library passes on much that no header may hold (RFC 9110 §5.5), and servers and clients
    refuse what is long: a question that had to hold it would be refused each time.
    """
    if value is None or len(value) > _LONGEST_KEPT:
        return None
    return value if value.isascii() and value.isprintable() else None


def is_strong(validator: str | None) -> bool:
    """Whether it says that two files with it are the same to the byte (RFC 9110 §8.8.1)."""
    return validator is not None and validator.startswith('"')
