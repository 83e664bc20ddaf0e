"""Answers that are not framed as HTTP says, or barely: nothing wrong is taken for whole."""

import asyncio

import pytest
from aiohttp.test_utils import TestClient

from tests.fakes import a_moment
from tests.faults.kinds import Kind, stock
from tests.faults.meeting import Fault, meet, rightly
from tests.faults.scripted import Line, Script, ScriptedUpstream, chunked, head, says

CHUNKS = "Transfer-Encoding: chunked"


def with_length(length: str) -> Fault:
    """Some other Content-Length, or several."""
    return lambda kind: says(
        head(f"Content-Type: {kind.content_type}", f"Content-Length: {length}") + kind.right,
        then_closes=True,
    )


def typed(kind: Kind, *fields: str, status: str = "200 OK") -> bytes:
    return head(f"Content-Type: {kind.content_type}", *fields, status=status)


def in_chunks(change) -> Fault:
    """Chunks, changed."""
    return lambda kind: says(
        typed(kind, CHUNKS) + change(chunked(kind.right[:20], kind.right[20:]), kind),
        then_closes=True,
    )


def whole(change) -> Fault:
    """The whole right answer, changed."""
    return lambda kind: says(change(rightly(kind)), then_closes=True)


def with_fields(*fields: bytes) -> Fault:
    return whole(lambda data: data.replace(b"\r\n", b"\r\n" + b"".join(fields), 1))


def with_status_line(line: bytes) -> Fault:
    return whole(lambda data: line + data[data.index(b"\r\n") :])


def unasked(status: str) -> Fault:
    return lambda kind: says(
        typed(kind, f"Content-Length: {len(kind.right)}", status=status) + kind.right,
        then_closes=True,
    )


LENGTHS = {
    "too large": lambda kind: with_length(str(len(kind.right) + 1))(kind),
    "too small": lambda kind: with_length(str(len(kind.right) // 2))(kind),
    "nothing": with_length("0"),
    "negative": with_length("-1"),
    "signed": lambda kind: with_length(f"+{len(kind.right)}")(kind),
    "no number": with_length("many"),
    "empty": with_length(""),
    "in hexadecimal": lambda kind: with_length(hex(len(kind.right)))(kind),
    "beyond 64 bits": with_length("9" * 30),
    "two different": lambda kind: with_length(f"{len(kind.right)}\r\nContent-Length: 5")(kind),
    "two different, the small one first": lambda kind: with_length(
        f"5\r\nContent-Length: {len(kind.right)}"
    )(kind),
    "two the same": lambda kind: with_length(
        f"{len(kind.right)}\r\nContent-Length: {len(kind.right)}"
    )(kind),
    "a list": lambda kind: with_length(f"{len(kind.right)}, {len(kind.right)}")(kind),
    "and chunks": lambda kind: says(
        typed(kind, "Content-Length: 5", CHUNKS) + chunked(kind.right), then_closes=True
    ),
    "and chunks that are none": lambda kind: says(
        typed(kind, f"Content-Length: {len(kind.right)}", CHUNKS) + kind.right, then_closes=True
    ),
}
CHUNKED = {
    "right": in_chunks(lambda data, _: data),
    "with trailers": in_chunks(lambda data, _: data[:-2] + b"X-Sum: 1\r\n\r\n"),
    "with an extension": in_chunks(lambda data, _: data.replace(b"14\r\n", b"14;a=b\r\n", 1)),
    "with a long extension": in_chunks(
        lambda data, _: data.replace(b"14\r\n", b"14;" + b"a" * 500_000 + b"\r\n", 1)
    ),
    "without a last one": in_chunks(lambda data, _: data[:-5]),
    "without the last line": in_chunks(lambda data, _: data[:-2]),
    "without any": in_chunks(lambda _, kind: kind.right),
    "ended early": in_chunks(lambda data, _: data[:26] + b"0\r\n\r\n"),
    "of a negative size": in_chunks(lambda data, _: b"-" + data),
    "of a huge size": in_chunks(lambda data, _: data.replace(b"14\r\n", b"f" * 15 + b"\r\n", 1)),
    "of a size beyond 64 bits": in_chunks(
        lambda data, _: data.replace(b"14\r\n", b"f" * 40 + b"\r\n", 1)
    ),
    "of no size": in_chunks(lambda data, _: data.replace(b"14\r\n", b"\r\n", 1)),
    "of a size that is no number": in_chunks(lambda data, _: data.replace(b"14\r\n", b"xy\r\n", 1)),
    "of a size with an underscore": in_chunks(
        lambda data, _: data.replace(b"14\r\n", b"1_4\r\n", 1)
    ),
    "of a size that is too small": in_chunks(lambda data, _: data.replace(b"14\r\n", b"13\r\n", 1)),
    "of a size that is too large": in_chunks(lambda data, _: data.replace(b"14\r\n", b"15\r\n", 1)),
    "with bare line feeds": in_chunks(lambda data, _: data.replace(b"14\r\n", b"14\n", 1)),
    "named twice": lambda kind: says(
        typed(kind, CHUNKS, CHUNKS) + chunked(kind.right), then_closes=True
    ),
    "inside another coding": lambda kind: says(
        typed(kind, "Transfer-Encoding: gzip, chunked") + chunked(kind.right), then_closes=True
    ),
    "of a coding that nobody knows": lambda kind: says(
        typed(kind, "Transfer-Encoding: cow") + kind.right, then_closes=True
    ),
    "that are not the last coding": lambda kind: says(
        typed(kind, "Transfer-Encoding: chunked, identity") + chunked(kind.right), then_closes=True
    ),
}
STATUS_LINES = {
    "HTTP/1.0": with_status_line(b"HTTP/1.0 200 OK"),
    "HTTP/1.0 that stays": whole(
        lambda data: data.replace(
            b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", 1
        )
    ),
    "HTTP/0.9": lambda kind: says(kind.right, then_closes=True),
    "HTTP/2": with_status_line(b"HTTP/2 200 OK"),
    "HTTP/3.7": with_status_line(b"HTTP/3.7 200 OK"),
    "HTTP/1.10": with_status_line(b"HTTP/1.10 200 OK"),
    "another protocol": with_status_line(b"ICY 200 OK"),
    "a banner": lambda _: says(b"220 mail.example ESMTP\r\n"),
    "TLS": lambda _: says(b"\x15\x03\x01\x00\x02\x02\x46", then_closes=True),
    "no reason": with_status_line(b"HTTP/1.1 200"),
    "no status": with_status_line(b"HTTP/1.1"),
    "a status of words": with_status_line(b"HTTP/1.1 fine OK"),
    "a status of two digits": with_status_line(b"HTTP/1.1 20 OK"),
    "a status of four digits": with_status_line(b"HTTP/1.1 2000 OK"),
    "a status below all": with_status_line(b"HTTP/1.1 000 OK"),
    "a status beyond all": with_status_line(b"HTTP/1.1 999 OK"),
    "a negative status": with_status_line(b"HTTP/1.1 -200 OK"),
    "a reason of a megabyte": with_status_line(b"HTTP/1.1 200 " + b"O" * (1 << 20)),
    "a reason of bytes": with_status_line(b"HTTP/1.1 200 \xff\xfe\x80"),
    "NUL": with_status_line(b"HTTP/1.1 200 O\0K"),
    "empty lines before": whole(lambda data: b"\r\n\r\n\r\n" + data),
    "junk before": whole(lambda data: b"junk\r\n" + data),
    "100 before": whole(lambda data: head(status="100 Continue") + data),
    "103 before": whole(lambda data: head("Link: </style.css>", status="103 Early Hints") + data),
    "twenty 1xx before": whole(lambda data: head(status="102 Processing") * 20 + data),
    "101": unasked("101 Switching Protocols"),
}
UNASKED = {
    status: unasked(status)
    for status in (
        "201 Created",
        "202 Accepted",
        "203 Non-Authoritative Information",
        "204 No Content",
        "205 Reset Content",
        "206 Partial Content",
        "207 Multi-Status",
        "226 IM Used",
        "300 Multiple Choices",
        "304 Not Modified",
        "305 Use Proxy",
    )
}
FIELDS = {
    "a line of a megabyte": with_fields(b"X-Long: " + b"a" * (1 << 20) + b"\r\n"),
    "a name of a megabyte": with_fields(b"a" * (1 << 20) + b": long\r\n"),
    "ten thousand": with_fields(*(b"X-%d: 1\r\n" % number for number in range(10_000))),
    "two hundred": with_fields(*(b"X-%d: 1\r\n" % number for number in range(200))),
    "NUL": with_fields(b"X-Nul: a\0b\r\n"),
    "NUL in those that are kept": with_fields(
        b'ETag: "a\0b"\r\nLast-Modified: \0\r\nX-PyPI-Last-Serial: 1\0\r\n'
    ),
    "controls in those that are kept": with_fields(
        b'ETag: "a\x01\x7fb"\r\nLast-Modified: \x02\r\nX-PyPI-Last-Serial: 1\x08\r\n'
    ),
    "bare CR in those that are kept": with_fields(
        b'ETag: "a\rb"\r\nX-PyPI-Last-Serial: 1\rX-Evil: 1\r\n'
    ),
    "folded ones that are kept": with_fields(
        b'ETag: "a\r\n b"\r\nX-PyPI-Last-Serial: 1\r\n\tX-Evil: 1\r\n'
    ),
    "long ones that are kept": with_fields(
        b'ETag: "' + b"a" * 60_000 + b'"\r\nX-PyPI-Last-Serial: ' + b"1" * 60_000 + b"\r\n"
    ),
    "bytes beyond ASCII": with_fields(b'ETag: "\xff"\r\nX-PyPI-Last-Serial: \xe4\r\n'),
    "no colon": with_fields(b"nonsense\r\n"),
    "no name": with_fields(b": nameless\r\n"),
    "a space before the colon": with_fields(b"X-Space : 1\r\n"),
    "a folded one first": with_fields(b" folded: 1\r\n"),
    "bare line feeds": whole(lambda data: data.replace(b"\r\n", b"\n")),
    "no Content-Type": lambda kind: says(
        head(f"Content-Length: {len(kind.right)}") + kind.right, then_closes=True
    ),
    "an empty Content-Type": lambda kind: says(
        head("Content-Type:", f"Content-Length: {len(kind.right)}") + kind.right, then_closes=True
    ),
    "a Content-Type that is none": lambda kind: says(
        head("Content-Type: ;;;=", f"Content-Length: {len(kind.right)}") + kind.right,
        then_closes=True,
    ),
    "two Content-Types": with_fields(b"Content-Type: text/plain\r\n"),
    "Upgrade": with_fields(b"Upgrade: h2c\r\nConnection: Upgrade\r\n"),
    "cookies": with_fields(b"Set-Cookie: a=b\r\n" * 50),
}
BEHIND = {
    "garbage": whole(lambda data: data + b"garbage" * 100),
    "garbage, and it stays": lambda kind: says(rightly(kind) + b"garbage\r\n\r\n"),
    "empty lines": lambda kind: says(rightly(kind) + b"\r\n\r\n"),
    "a megabyte of garbage": whole(lambda data: data + bytes(1 << 20)),
    "the same answer again": lambda kind: says(rightly(kind) * 2),
    "another answer": lambda kind: says(rightly(kind) + head("Content-Length: 0", status="404 No")),
}  # fmt: skip
FAULTS = {
    f"{group}: {name}": fault
    for group, faults in {
        "Content-Length": LENGTHS,
        "chunks": CHUNKED,
        "status line": STATUS_LINES,
        "unasked": UNASKED,
        "fields": FIELDS,
        "behind": BEHIND,
    }.items()
    for name, fault in faults.items()
}
OTHER_BYTES = {
    "chunks: ended early",
    "chunks: of a size that is too large",
    "chunks: that are not the last coding",
}
"""Whole answers, by the letter of HTTP, and not the right ones: only their content can tell."""


@pytest.mark.parametrize("name", FAULTS)
async def test_framing(
    proxy: TestClient, upstream: ScriptedUpstream, without_pauses: None, name: str
) -> None:
    kinds = stock(upstream).values()
    if name in OTHER_BYTES:
        kinds = [kind for kind in kinds if kind.is_vouched_for]
    await meet(proxy, upstream, kinds, FAULTS[name])


# --- what goes wrong while somebody reads -------------------------------------------------


def meanwhile(*pieces: bytes, again: bytes = b"") -> Fault:
    """The head and the first chunk; a moment later these pieces; then the last one for ever."""

    def fault(kind: Kind) -> Script:
        async def script(line: Line) -> None:
            await line.send(typed(kind, CHUNKS) + chunked(kind.right[:20], is_ended=False))
            for piece in pieces:
                await a_moment(0.1)
                await line.send(piece)
            while again:
                await a_moment(0.1)
                await line.send(again)
            await line.silence()

        return script

    return fault


BREAKS = {
    "no size of a chunk": meanwhile(b"zz\r\n"),
    "too long a trailer": meanwhile(b"0\r\nX: " + b"a" * 70_000),
    "too many trailers": meanwhile(b"0\r\n" + b"X: a\r\n" * 1_000),
}
ENDLESS = {
    "the extension of a chunk": meanwhile(b"5;a=", again=b"aaaa"),
    "a trailer": meanwhile(b"0\r\nX: ", again=b"a"),
    "trailers": meanwhile(b"0\r\n", again=b"X: a\r\n"),
}


@pytest.mark.parametrize("fault", BREAKS.values(), ids=BREAKS)
async def test_framing_that_breaks_while_somebody_reads(
    proxy: TestClient, upstream: ScriptedUpstream, without_pauses: None, fault: Fault
) -> None:
    """Nobody waits for what will not come."""
    async with asyncio.timeout(90):
        await meet(proxy, upstream, stock(upstream).values(), fault)


@pytest.mark.parametrize("fault", ENDLESS.values(), ids=ENDLESS)
async def test_framing_without_end(
    proxy: TestClient,
    upstream: ScriptedUpstream,
    without_pauses: None,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
) -> None:
    """Bytes that are none of the file's are as good as silence."""
    monkeypatch.setattr("proxy.bodies.SILENCE_SECONDS", 0.5)
    kinds = [kind for kind in stock(upstream).values() if kind.path.startswith("/packages/")]
    async with asyncio.timeout(90):
        await meet(proxy, upstream, kinds, fault)


async def test_interim_answers_without_end(
    proxy: TestClient, upstream: ScriptedUpstream, without_pauses: None
) -> None:
    """They end the connection, ahead of any deadline: to read them all keeps everybody waiting."""

    async def script(line: Line) -> None:
        while True:
            await line.send(head(status="102 Processing") * 1_000)

    first = await meet(proxy, upstream, stock(upstream).values(), lambda _: script)
    assert "interim" in first["JSON page"].text


async def test_a_few_interim_answers_are_as_good_as_none(
    proxy: TestClient, upstream: ScriptedUpstream
) -> None:
    """Early hints, above all."""
    hints = head("Link: </style.css>", status="103 Early Hints") * 10
    for given in (
        await meet(
            proxy, upstream, stock(upstream).values(), lambda kind: says(hints + rightly(kind))
        )
    ).values():
        assert given.status == 200
