"""Bytes of a project page, JSON or HTML, into a `Project`.

Forgiving a bad file, not a bad page: an entry with an unparsable version or a senseless
requires-python is passed on as it is, while a login page, cut JSON or a page of another
major version of the API raises `MalformedPage`, so it can never be taken for an empty
project. Only an entry that could not be linked to at all (no file name, a name that is no
plain file name, a URL that is not http) is left out. Links into a folder may stand on the
page of a folder alone: no index over HTTP can list what lies on this machine.

Read first: the "HTML serialization" and "JSON serialization" chapters of the Simple API.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from io import SEEK_END, BytesIO
from itertools import accumulate
from typing import IO, Any
from urllib.parse import SplitResult, parse_qsl, unquote, urljoin, urlsplit

import msgspec

from proxy.simple.model import (
    VERIFIABLE,
    File,
    Project,
    ProjectName,
    is_digest,
    is_plain_filename,
    normalize,
)
from proxy.simple.versions import versions_of

JSON_TYPES = ("application/vnd.pypi.simple.v1+json",)
HTML_TYPES = ("application/vnd.pypi.simple.v1+html", "text/html")

_DISTRIBUTION = re.compile(
    r"\.(?:whl|tar\.gz|zip|tar\.bz2|tar\.xz|tar\.z|tgz|egg|exe|msi|rpm|deb|dmg)\Z", re.IGNORECASE
)
_SEPARATORS = re.compile(r"[-_.]+")
_MOST_DIGITS = 20
# Both are several times what the longest pages have, and keep a page to some hundred megabytes.
MOST_VALUES = 3_000_000
"""Of JSON: an empty list takes 3 bytes of a page, and thirty times as many in memory."""
MOST_FILES = 150_000
"""Of a project, and the meta tags of a page."""
_LONGEST_TEXT = 4096
"""Of an anchor: longer ones are no name of a file, and no digests."""
_LISTING_TITLE = re.compile(r"\blinks for\b|\bsimple index\b", re.IGNORECASE)
_HTML_START = re.compile(rb"<html[\s>]", re.IGNORECASE)
_ANCHOR_START = re.compile(rb"<a[\s>]", re.IGNORECASE)
_ENDS_BYTES = 1 << 16
"""How much of a page is looked at to see where it begins and where it ends."""
_LARGE_BYTES = 1 << 20
_DECODED_TIMES = 6
"""How many times the memory of its bytes JSON takes when it is decoded, at the most."""
# Decimal keeps a number that we only pass on as it was written; a float would round it.
_DECODER = msgspec.json.Decoder(float_hook=Decimal)


class MalformedPage(ValueError):
    """The bytes are not a page of the Simple API, version 1."""


def parse_project(
    body: bytes, *, content_type: str, charset: str | None, url: str, project: ProjectName
) -> Project:
    """Read a project page.

    `content_type` is the bare media type; `url` the page's address after redirects, against
    which relative links resolve. Raises `MalformedPage`.
    """
    if content_type in JSON_TYPES:
        page = _from_json(body, url)
        check_name(page.document.get("name"), project)
        return page
    if content_type in HTML_TYPES:
        return _from_html(body, charset, url, project)
    raise MalformedPage(f"its Content-Type is {content_type or 'missing'}")


def parse_canonical(body: bytes) -> Project:
    """Read a page whose URLs are absolute already. Raises `MalformedPage`."""
    return _from_json(body, "")


def check_version(meta: object) -> None:
    """Raise `MalformedPage` unless `meta` claims version 1 of the API, or claims none."""
    version = meta.get("api-version", "1.0") if isinstance(meta, dict) else "1.0"
    # PEP 629: another major version is an error, another minor version is not.
    if not isinstance(version, str) or version.split(".")[0].strip() != "1":
        raise MalformedPage(f"its API version is {version}")


def check_name(name: object, project: ProjectName) -> None:
    """Raise `MalformedPage` where a document names another project than was asked for."""
    named = normalize(name) if isinstance(name, str) else None
    if named not in (None, project):
        raise MalformedPage(f"it is about another project: {named}")


def decode_json(body: bytes) -> Any:
    """Decode JSON; raise `MalformedPage` where it is none, or has more values than makes sense."""
    # What stands in texts counts as well: to look closer would cost as much as to decode it.
    if sum(map(body.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise MalformedPage(f"its JSON has more than {MOST_VALUES} values")
    if len(body) > _LARGE_BYTES:
        # The decoder is not always up to an allocation that fails, and ends the process: let this
        # one fail first. What is never touched costs nothing.
        bytes(_DECODED_TIMES * len(body))
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidOperation) as problem:
        raise MalformedPage(f"its JSON is broken: {problem}") from None


def _from_json(body: bytes, url: str) -> Project:
    page = decode_json(body)
    if not isinstance(page, dict) or not isinstance(page.get("files"), list):
        raise MalformedPage("its JSON is not a project page: there is no list of files")
    check_version(page.get("meta"))
    _check_count(len(page["files"]))
    entries = (_linkable(entry, url) for entry in page.pop("files"))
    return Project(document=page, files=tuple(File(entry) for entry in entries if entry))


def _check_count(count: int) -> None:
    if count > MOST_FILES:
        raise MalformedPage(f"it has more than {MOST_FILES} files")


def _linkable(entry: object, base_url: str) -> dict[str, Any] | None:
    """The entry with an absolute URL, or None where it cannot be linked to."""
    if not isinstance(entry, dict):
        return None
    filename, url = entry.get("filename"), entry.get("url")
    if not isinstance(filename, str) or not isinstance(url, str):
        return None
    absolute = _absolute(url, base_url)
    if absolute is None or not is_plain_filename(filename):
        return None
    entry["url"] = absolute
    return entry


# A segment of a path that means itself: nothing to decode, to resolve or to trim.
_SEGMENT = r"[A-Za-z0-9_~!$&'()*+,=:@%-][A-Za-z0-9._~!$&'()*+,=:@%-]*"
_HOST = r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*"
# Up to 64999: what is left of the ports is not worth a longer pattern.
_PORT = r":(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3})"
_PLAIN_URL = re.compile(rf"https?://{_HOST}(?:{_PORT})?(?:/{_SEGMENT})+")
_PLAIN_PATH = re.compile(rf"(?:/{_SEGMENT})+")
_PARENT = "../"


def _absolute(url: str, base_url: str) -> str | None:
    """The absolute form of a link, or None where it leads where the page must not link to."""
    # A page has thousands of links, and nearly all are of three forms that need no parser.
    base = _base(base_url)
    if (base is not None or not base_url) and _PLAIN_URL.fullmatch(url):
        return url
    if base is not None:
        if url.startswith("/") and _PLAIN_PATH.fullmatch(url):
            return base.origin + url
        above = 0
        while url.startswith(_PARENT, above * len(_PARENT)):
            above += 1
        path = "/" + url[above * len(_PARENT) :]
        if 0 < above < len(base.folders) and _PLAIN_PATH.fullmatch(path):
            return base.folders[-1 - above] + path
    return _joined(url, base_url)


@dataclass(frozen=True, slots=True)
class _Base:
    """Where the links of a page start."""

    origin: str
    folders: tuple[str, ...]
    """The page's folder and those above it, from the origin down, each without its last slash."""


@lru_cache(64)
def _base(url: str) -> _Base | None:
    """What a page's address means for its links; None where that takes a parser each time."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    origin = f"{parts.scheme}://{parts.netloc}"
    folder, _, _ = parts.path.rpartition("/")
    is_plain = parts.scheme in ("http", "https") and bool(parts.hostname)
    if not is_plain or (folder and not _PLAIN_PATH.fullmatch(folder)):
        return None
    return _Base(origin, tuple(accumulate(folder.split("/")[1:], "{}/{}".format, initial=origin)))


def _joined(url: str, base_url: str) -> str | None:
    """The absolute form of any link."""
    try:
        # What we wrote ourselves stays: of `a ;` that was `a `, and would be another the next time.
        absolute = urljoin(base_url, url.strip()) if base_url else url
        return absolute if _may_link(urlsplit(absolute), urlsplit(base_url).scheme) else None
    except ValueError:
        return None


def _may_link(link: SplitResult, page_scheme: str) -> bool:
    """Whether a page may link there: one over HTTP to HTTP, that of a folder to its files.

    What we wrote ourselves has no address, and was judged when it was read first. Raises
    `ValueError` on a port that is no number.
    """
    if link.scheme == "file":
        return page_scheme in ("file", "") and not link.netloc
    is_http = link.scheme in ("http", "https") and bool(link.hostname) and link.port != 0
    return is_http and page_scheme != "file"


# --- HTML ---------------------------------------------------------------------------------


class Anchor:
    """One link of an HTML page."""

    __slots__ = ("attributes", "text")

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self.attributes = attributes
        self.text = ""


class PageTarget:
    """What lxml's parser reports to: collects links and meta tags, builds no tree."""

    def __init__(self, on_anchor: Callable[[Anchor], None]) -> None:
        self.meta: list[tuple[str, str]] = []
        self.base_href: str | None = None
        self.heading = ""
        self._on_anchor = on_anchor
        self._anchor: Anchor | None = None
        self._in_heading = False

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Called by lxml."""
        if tag == "a":
            self._finish_anchor()
            if "href" in attributes:
                self._anchor = Anchor(dict(attributes))
        elif tag == "meta" and "name" in attributes and len(self.meta) < MOST_FILES:
            self.meta.append((attributes["name"].lower(), attributes.get("content", "")))
        elif tag == "base" and self.base_href is None:
            self.base_href = attributes.get("href")
        elif tag in ("title", "h1"):
            self._in_heading = True

    def data(self, text: str) -> None:
        """Called by lxml, possibly several times for one text."""
        if self._anchor is not None:
            # It may come in millions of pieces.
            if len(self._anchor.text) < _LONGEST_TEXT:
                self._anchor.text += text
        elif self._in_heading and len(self.heading) < 1000:
            self.heading += text

    def end(self, tag: str) -> None:
        """Called by lxml."""
        if tag == "a":
            self._finish_anchor()
        elif tag in ("title", "h1"):
            self._in_heading = False
            self.heading += " "

    def close(self) -> None:
        """Called by lxml at the end of the page."""
        self._finish_anchor()

    def value(self, name: str) -> str | None:
        """The content of the first meta tag of that name."""
        return next((content for key, content in self.meta if key == name), None)

    @property
    def serial(self) -> int | None:
        """The serial number of the page, where it is one."""
        text = self.value("pypi:last-serial") or ""
        return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else None

    @property
    def is_headed_as_listing(self) -> bool:
        """Whether the page says of itself that it is a page of the Simple API."""
        return self.value("pypi:repository-version") is not None or bool(
            _LISTING_TITLE.search(self.heading)
        )

    def _finish_anchor(self) -> None:
        if self._anchor is not None:
            self._on_anchor(self._anchor)
            self._anchor = None


def read_html(page: IO[bytes], target: PageTarget, charset: str | None) -> None:
    """Have what stands in a page reported to `target`; an unknown charset is taken for UTF-8.

    It is read in pieces, none of which is kept. Raises `MalformedPage`.
    """
    _check_end(page)
    from lxml import etree  # noqa: PLC0415 - most indexes answer in JSON

    anything: Any = target  # the stubs ask for targets that they cannot describe
    try:
        parser = etree.HTMLParser(target=anything, encoding=charset or "utf-8")
    except (LookupError, ValueError):
        parser = etree.HTMLParser(target=anything, encoding="utf-8")
    try:
        # Not fed: a parser that is fed keeps all that it was given to the end.
        etree.parse(page, parser)
    except MalformedPage:
        raise
    except (etree.LxmlError, AssertionError, ValueError) as problem:
        raise MalformedPage(f"its HTML cannot be read: {problem}") from None


def _check_end(page: IO[bytes]) -> None:
    """A page that was cut, by a wrong Content-Length say, ends in most cases in what it tells of.

    Sloppy pages are whole without the tag that ends them, and pieces of HTML without closing links.
    """
    is_document = _HTML_START.search(page.read(_ENDS_BYTES)) is not None
    page.seek(max(0, page.seek(0, SEEK_END) - _ENDS_BYTES))
    end = page.read()
    page.seek(0)
    last = end[end.rfind(b"<") :] if b"<" in end else b""
    if last and b">" not in last:
        raise MalformedPage("it ends in the middle of a tag")
    if is_document and _ANCHOR_START.match(last):
        raise MalformedPage("it ends in the middle of a link")


def _from_html(body: bytes, charset: str | None, url: str, project: ProjectName) -> Project:
    anchors: list[Anchor] = []

    def note(anchor: Anchor) -> None:
        _check_count(len(anchors) + 1)
        anchors.append(anchor)

    target = PageTarget(note)
    read_html(BytesIO(body), target, charset)
    check_version({"api-version": target.value("pypi:repository-version") or "1.0"})
    base_url = _absolute(target.base_href or "", url) or url
    entries = [entry for anchor in anchors if (entry := _entry(anchor, base_url))]
    if not target.is_headed_as_listing and not any(
        _is_distribution_of(project, entry["filename"]) for entry in entries
    ):
        raise MalformedPage("its HTML is not a project page: it names no file of a project")
    files = tuple(File(entry) for entry in entries)
    return Project(document=_document(target, project, files), files=files)


def _is_distribution_of(project: ProjectName, filename: str) -> bool:
    """Whether it is called like a file of that project; a login page may offer files, too."""
    name = _SEPARATORS.sub("-", filename).lower()
    return bool(_DISTRIBUTION.search(filename)) and name.startswith(f"{project}-")


def _document(target: PageTarget, project: ProjectName, files: tuple[File, ...]) -> dict[str, Any]:
    """The keys of the JSON form that HTML can tell."""
    # PEP 700 makes `versions` and each file's `size` mandatory from 1.1 on, and HTML has no size.
    meta: dict[str, Any] = {"api-version": "1.0"}
    if (serial := target.serial) is not None:
        meta["_last-serial"] = serial
    if tracks := [content for name, content in target.meta if name == "pypi:tracks"]:
        meta["tracks"] = tracks
    document: dict[str, Any] = {"meta": meta, "name": str(project), "versions": versions_of(files)}
    if others := [content for name, content in target.meta if name == "pypi:alternate-locations"]:
        document["alternate-locations"] = others
    if status := target.value("pypi:project-status"):
        reason = target.value("pypi:project-status-reason")
        document["project-status"] = {"status": status} | ({"reason": reason} if reason else {})
    return document


def _entry(anchor: Anchor, base_url: str) -> dict[str, Any] | None:
    """The JSON object of one anchor, or None where it links to no file."""
    attributes = anchor.attributes
    absolute = _absolute(attributes["href"], base_url)
    if absolute is None:
        return None
    url, _, fragment = absolute.partition("#")
    filename = _filename(url, anchor.text.strip())
    if not is_plain_filename(filename):
        return None
    entry: dict[str, Any] = {"filename": filename, "url": url, "hashes": _hashes(fragment)}
    if "data-requires-python" in attributes:
        entry["requires-python"] = attributes["data-requires-python"]
    if "data-yanked" in attributes:
        entry["yanked"] = attributes["data-yanked"] or True
    metadata = attributes.get("data-core-metadata", attributes.get("data-dist-info-metadata"))
    if metadata is not None and metadata.lower() != "false":
        claim = _hashes(metadata) or True
        entry |= {"core-metadata": claim, "data-dist-info-metadata": claim}
    if "data-gpg-sig" in attributes:
        entry["gpg-sig"] = attributes["data-gpg-sig"].lower() == "true"
    if provenance := attributes.get("data-provenance"):
        entry["provenance"] = provenance
    return entry


def _filename(url: str, text: str) -> str:
    """PEP 503: the last component of the URL's path; the text, where only that is a file's."""
    from_url = unquote(urlsplit(url).path.rpartition("/")[2])
    if _DISTRIBUTION.search(text) and not _DISTRIBUTION.search(from_url):
        return text
    return from_url


def _hashes(text: str) -> dict[str, str]:
    """`sha256=abc…` into a mapping; what is no digest of a known algorithm is left out."""
    if len(text) > _LONGEST_TEXT:
        return {}
    return {
        name.lower(): value.lower()
        for name, value in parse_qsl(text)
        if name.lower() in VERIFIABLE and is_digest(name.lower(), value.lower())
    }
