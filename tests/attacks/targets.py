"""What must hold for any bytes whatever: the tests try it for seconds, the fuzzer for hours.

Each raises `AssertionError` where it does not hold; anything else that is raised is a defect too.
"""

import asyncio
import io
from typing import Any
from unittest.mock import Mock

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser
from aiohttp.web_protocol import RequestHandler
from yarl import URL

from proxy.app import LONGEST_HEAD_BYTES
from proxy.errors import BadRequest, NotAcceptable, ProjectNotFound
from proxy.simple.content import canonical, read_canonical
from proxy.simple.list_html import read_html_list
from proxy.simple.model import Project, ProjectName, is_plain_filename, normalize
from proxy.simple.negotiate import Coding, Format, choose_coding, choose_format
from proxy.simple.parse import MalformedPage, parse_project
from proxy.simple.render import View, render_project
from proxy.simple.wheel import MissingBytes, Pieces, UnreadableWheel, read_metadata
from proxy.web import heads
from proxy.web.files import names_in
from proxy.web.heads import Fields, _split, may_become_one, read_head
from tests.fakes import HTML, JSON

NAME = ProjectName("six")
ADDRESS = "http://index/simple/six/"


# --- heads of requests --------------------------------------------------------------------


def head(data: bytes) -> bool:
    """What is read of a head is what aiohttp reads, unless it is left to aiohttp to refuse.

    Says whether it was read.
    """
    read = read_head(data) if len(data) <= heads.LONGEST_HEAD_BYTES else None
    if read is None:
        return False
    for at in range(0, len(data), max(1, len(data) // 7)):
        assert may_become_one(data[:at])
    asked, fields = read
    try:
        messages = _by_aiohttp(data)
    except HttpProcessingError:
        assert not fields.is_plain, "it would have been answered"
        return True
    assert len(messages) == 1, "one head is one request"
    message, payload = messages[0]
    assert (message.method, message.path) == (asked.method, asked.target)
    assert (message.version, message.should_close, message.upgrade) == ((1, 1), False, False)
    assert payload.is_eof()
    assert not message.chunked
    given = [(name.lower(), value) for name, value in message.headers.items()]
    block = data[data.index(b"\r\n") + 2 :]
    ours = [(name, value) for name, values in (_split(block) or {}).items() for value in values]
    assert sorted(given) == sorted(ours)
    _fields_agree(fields, dict(given))
    return True


def _fields_agree(fields: Fields, given: dict[str, str]) -> None:
    if fields.is_plain:
        assert fields.if_none_match == given.get("if-none-match")
        assert fields.request_id in (None, given.get("x-request-id"))
        assert "host" in given


def _by_aiohttp(data: bytes) -> list[tuple[Any, Any]]:
    protocol = Mock(spec=RequestHandler)
    loop = Mock(spec=asyncio.AbstractEventLoop)
    parser = HttpRequestParser(
        protocol,
        loop,
        2**16,
        max_line_size=LONGEST_HEAD_BYTES,
        max_field_size=LONGEST_HEAD_BYTES,
    )
    messages, _, _ = parser.feed_data(data)
    return list(messages)


# --- negotiation --------------------------------------------------------------------------


def negotiation(accept: str, encoding: str) -> None:
    """There is an answer that the client takes, or an orderly refusal."""
    assert choose_coding(encoding) in Coding
    try:
        chosen = choose_format(accept)
    except NotAcceptable:
        return
    said = f",{accept.lower()},".replace(" ", "")
    main, _, _sub = chosen.value.partition("/")
    latest = chosen.value.replace(".v1+", ".latest+")
    assert (
        not said.strip(",")
        or chosen is Format.HTML
        or any(name in said for name in (chosen.value, latest, f"{main}/*", "*/*"))
    ), (accept, chosen)


# --- targets and names --------------------------------------------------------------------


def file_target(path: str) -> None:
    """Names in a path to a file are names, or it is refused; none leads to another folder."""
    segments = URL(path, encoded=True).path.split("/")
    if len(segments) != 5:
        return
    request = Mock(
        match_info=dict(zip(("project", "sha256", "filename"), segments[2:], strict=True))
    )
    try:
        project, sha256, filename = names_in(request)
    except (BadRequest, ProjectNotFound):
        return
    assert normalize(project) == project
    assert sha256 is None or (len(sha256) == 64 and set(sha256) <= set("0123456789abcdef"))
    assert is_plain_filename(filename)
    assert not {"/", "\\", "\0", "\r", "\n"} & set(project + filename)
    assert filename not in (".", "..")


# --- pages --------------------------------------------------------------------------------


def json_page(data: bytes) -> Project | None:
    """It is malformed, or what is read of it can be written and read again; None: malformed."""
    return _page(data, JSON)


def html_page(data: bytes) -> Project | None:
    """Likewise."""
    return _page(data, HTML)


def _page(data: bytes, content_type: str) -> Project | None:
    try:
        project = parse_project(
            data, content_type=content_type, charset=None, url=ADDRESS, project=NAME
        )
    except MalformedPage:
        return None
    kept = read_canonical(canonical(project))
    assert [file.entry for file in kept.files] == [file.entry for file in project.files]
    for format in Format:
        for view in (View(None), View("pypi")):
            page = render_project(project, NAME, "pypi", view, format)
            assert page == render_project(kept, NAME, "pypi", view, format)
            _leads_back(page, project, view, format)
    return project


def _leads_back(page: bytes, project: Project, view: View, format: Format) -> None:
    """Whoever follows a link of the page that we write asks for the file that stands there."""
    where = (
        "http://host/simple/six/" if view.index is None else "http://host/index/pypi/simple/six/"
    )
    again = parse_project(
        page,
        content_type=JSON if format is Format.JSON else HTML,
        charset="utf-8",
        url=where,
        project=NAME,
    )
    names = [file.filename for file in project.files]
    if format is Format.JSON:
        assert [file.filename for file in again.files] == names
    for file, before in zip(again.files, project.files, strict=True):
        target = URL(file.url, encoded=True)
        assert (target.scheme, target.host) == ("http", "host")
        _, files, name, sha256, filename = target.path.split("/")
        assert (files, name, sha256) == ("files", "six", before.sha256 or "-")
        assert filename == before.filename


def html_list(data: bytes) -> None:
    """A project list is read, or malformed."""
    try:
        read_html_list(io.BytesIO(data), None, ADDRESS, lambda *_: None)
    except MalformedPage:
        pass


# --- wheels -------------------------------------------------------------------------------


def wheel(data: bytes, size: int) -> None:
    """Metadata is read out of any tail, or it is said why not; and no more than makes sense."""
    pieces = Pieces(max(size, len(data)))
    pieces.add(max(size, len(data)) - len(data), data)
    try:
        metadata = read_metadata(pieces, "six-1.0-py3-none-any.whl")
    except (UnreadableWheel, MissingBytes):
        return
    assert b"metadata-version:" in metadata.lower()
