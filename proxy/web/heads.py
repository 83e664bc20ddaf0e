"""Heads of requests, read for the hot path: only those that leave no doubt. Pure.

RFC 9112 §2 to §6. What is not plainly right is not read at all, and the framework has the whole
connection from there on: so both ways through wheelkeep see the same requests in the same bytes.
Heads are remembered, and their fields apart: a client sends the same with all its requests.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from proxy.errors import NotAcceptable
from proxy.simple.negotiate import choose_coding, choose_format
from proxy.web.access import agent_of, request_id_of
from proxy.web.ready import representation_tag
from proxy.web.tokens import hash_in

LONGEST_HEAD_BYTES = 4 << 10
"""Longer heads are the framework's."""
END = b"\r\n\r\n"
_METHODS = (b"GET ", b"HEAD ")
_VERSION = b"HTTP/1.1\r"

_LINE = re.compile(rb"(GET|HEAD) (/[!-~]*) HTTP/1\.1\r\n")
_FIELD = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*((?:[!-~](?:[\t -~]*[!-~])?)?)[ \t]*\r\n"
)
_TARGET = re.compile(rb"/[!-~]*")
_PATH = re.compile(r"/[!\"$->@-~]*")
_FIELD_BEGUN = re.compile(rb"[\t -~]*\r?")
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]+")
_MOST_FIELDS = 100
# What changes how much is read of a connection, or whose it is from then on.
_FRAMING = frozenset(
    {"content-length", "transfer-encoding", "upgrade", "expect", "trailer", "http2-settings"}
)
# aiohttp takes the one for the other, as browsers and curl once sent it to proxies.
_CONNECTION = ("connection", "proxy-connection")
# What a ready answer knows nothing of.
_UNREADY = frozenset({"range", "if-range", "if-match", "if-unmodified-since", "te", "cdn-loop"})
_ONCE = frozenset({"authorization", "host", "if-none-match", "user-agent", "x-request-id"})
_TRACE = ("traceparent", "tracestate")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the first line of a request says."""

    method: str
    target: str


@dataclass(frozen=True, slots=True)
class Fields:
    """What the fields of a request say, as far as a ready answer depends on them."""

    is_plain: bool
    """Whether a ready answer may be the right one."""
    representation: str | None
    """See `ready.representation_tag`; None where there is none that the client takes."""
    if_none_match: str | None
    token_hash: str | None
    agent: str
    request_id: str | None
    trace: tuple[tuple[str, str], ...]
    """The headers that say which trace it is of."""


def is_plain_target(target: str) -> bool:
    """Whether a head that is read can ask for that target, and for a path alone."""
    return len(target) <= LONGEST_HEAD_BYTES and _PATH.fullmatch(target) is not None


@lru_cache(4096)
def read_head(head: bytes) -> tuple[Asked, Fields] | None:
    """A whole head; None where it is not plainly that of a GET or a HEAD, and of nothing else."""
    line = _LINE.match(head)
    if line is None:
        return None
    fields = read_fields(head[line.end() :])
    if fields is None:
        return None
    return Asked(method=line[1].decode("ascii"), target=line[2].decode("ascii")), fields


def may_become_one(beginning: bytes) -> bool:
    """Whether a head that can be read may begin so: the rest of it has not come yet.

    What can be no such head need not be waited for, and the framework says at once that it is bad.
    """
    if len(beginning) > LONGEST_HEAD_BYTES:
        return False
    line = _LINE.match(beginning)
    if line is None:
        return _may_become_line(beginning)
    at = line.end()
    while field := _FIELD.match(beginning, at):
        at = field.end()
    return _FIELD_BEGUN.fullmatch(beginning, at) is not None


def _may_become_line(beginning: bytes) -> bool:
    method = next((one for one in _METHODS if beginning.startswith(one)), None)
    if method is None:
        return any(one.startswith(beginning) for one in _METHODS)
    target, space, version = beginning.removeprefix(method).partition(b" ")
    return not (target or space) or (
        _TARGET.fullmatch(target) is not None and _VERSION.startswith(version)
    )


@lru_cache(512)
def read_fields(block: bytes) -> Fields | None:
    """The fields of a request, up to the empty line; None where it may not end there."""
    fields = _split(block)
    if fields is None or _FRAMING & fields.keys():
        return None
    if any(
        [value.lower() for value in fields.get(name, [])] not in ([], ["keep-alive"])
        for name in _CONNECTION
    ):
        return None
    is_plain = not _UNREADY & fields.keys() and len(fields.get("host", [])) == 1
    is_plain = is_plain and all(len(fields.get(name, [])) <= 1 for name in _ONCE)
    is_plain = is_plain and _HOST.fullmatch(fields["host"][0]) is not None

    def one(name: str) -> str | None:
        return fields.get(name, [None])[0]

    authorization, request_id = one("authorization"), one("x-request-id")
    return Fields(
        is_plain=is_plain,
        representation=_representation(fields),
        if_none_match=one("if-none-match"),
        token_hash=None if authorization is None else hash_in(authorization),
        agent=agent_of(one("user-agent") or ""),
        request_id=None if request_id is None else request_id_of(request_id),
        trace=tuple((name, fields[name][0]) for name in _TRACE if name in fields),
    )


def _split(block: bytes) -> dict[str, list[str]] | None:
    fields: dict[str, list[str]] = {}
    at, count, end = 0, 0, len(block) - 2
    while at < end:
        match = _FIELD.match(block, at)
        count += 1
        if match is None or count > _MOST_FIELDS:
            return None
        fields.setdefault(match[1].decode("ascii").lower(), []).append(match[2].decode("ascii"))
        at = match.end()
    return fields if block[at:] == b"\r\n" else None


def _representation(fields: dict[str, list[str]]) -> str | None:
    accept, encodings = (", ".join(fields.get(name, [])) for name in ("accept", "accept-encoding"))
    try:
        return representation_tag(choose_format(accept), choose_coding(encodings))
    except NotAcceptable:
        return None
