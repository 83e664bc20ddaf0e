"""Ready answers ahead of the framework: the same answers, in whatever bytes a question comes."""

import asyncio
import contextlib
import inspect
import json
import re
from collections import Counter, deque
from pathlib import Path
from unittest.mock import Mock

import pytest
from aiohttp import ClientPayloadError
from aiohttp.test_utils import TestClient
from aiohttp.web_protocol import RequestHandler
from structlog.testing import capture_logs

from proxy.app import READY_ANSWERS
from proxy.web import hotpath
from proxy.web.answers import ReadyAnswers
from proxy.web.hotpath import HotProtocol
from proxy.web.tokens import hash_of
from tests.conftest import MakeProxy
from tests.fakes import Clock, FakeUpstream, a_moment
from tests.raw import connection, get

JSON = "Accept: application/vnd.pypi.simple.v1+json"
WHEEL = "six-1.0-py3-none-any.whl"
METADATA = b"Metadata-Version: 2.1\nName: six\nVersion: 1.0\n"


class Counted:
    """Ready answers, and how many of them were given."""

    def __init__(self, answers: ReadyAnswers, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given = 0
        answer = answers.answer

        def counting(*asked: object) -> object:
            found = answer(*asked)  # type: ignore[arg-type]
            self.given += found is not None
            return found

        monkeypatch.setattr(ReadyAnswers, "answer", lambda _, *asked: counting(*asked))


class Both:
    """wheelkeep with the hot path and without, over one cache, asked in the same bytes."""

    def __init__(self, hot: TestClient, plain: TestClient, counted: Counted) -> None:
        self.hot = hot
        self.plain = plain
        self.counted = counted

    async def warm(self, *requests: bytes) -> None:
        """Ask as often as it takes to have an answer ready."""
        async with connection(self.hot) as client, connection(self.plain) as other:
            for request in requests:
                is_head = request.startswith(b"HEAD")
                for _ in range(3):
                    await client.ask(request, is_head=is_head)
                    await other.ask(request, is_head=is_head)
        self.counted.given = 0


@pytest.fixture
async def both(
    make_proxy: MakeProxy, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> Both:
    upstream.add("six", WHEEL, **{"core-metadata": {"sha256": hash_of(METADATA.decode())}})
    upstream.files[f"{upstream.path_of(WHEEL)}.metadata"] = METADATA
    upstream.page_headers["X-PyPI-Last-Serial"] = "7"
    hot = await make_proxy(server={"hot_path": True})
    plain = await make_proxy(server={"hot_path": False})
    return Both(hot, plain, Counted(hot.app[READY_ANSWERS], monkeypatch))


async def link(client: TestClient) -> str:
    """The path of the wheel."""
    answer = await client.get("/simple/six/", headers={"Accept": JSON.partition(": ")[2]})
    return "/" + json.loads(await answer.read())["files"][0]["url"].removeprefix("../../")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("beside", ["page", "", ".metadata"])
@pytest.mark.parametrize(
    "lines",
    [
        (),
        (JSON,),
        (JSON, "Accept-Encoding: gzip"),
        ("Accept: text/html;q=0.5, application/vnd.pypi.simple.v1+html",),
        ("Accept: text/html", f"{JSON};q=0.9"),
        (JSON, "X-Request-Id: mine", "User-Agent: pip/26.3 {...}", "Connection: keep-alive"),
        (JSON, "If-None-Match: *", "Accept-Encoding: gzip, deflate"),
    ],
)
async def test_a_ready_answer_is_the_one_that_the_framework_gives(
    both: Both, method: str, beside: str, lines: tuple[str, ...]
) -> None:
    """Status, every header and every byte."""
    target = "/simple/six/" if beside == "page" else await link(both.hot) + beside
    request = get(target, *lines, method=method)
    await both.warm(request)
    async with connection(both.hot) as client, connection(both.plain) as other:
        ready = await client.ask(request, is_head=method == "HEAD")
        composed = await other.ask(request, is_head=method == "HEAD")

    assert both.counted.given == 1
    assert ready.lasting == composed.lasting
    assert ready.headers.keys() == composed.headers.keys()
    assert ready.headers["cache-status"] == composed.headers["cache-status"]


async def test_a_request_may_arrive_in_any_pieces(both: Both) -> None:
    """Also one byte at a time, and with the beginning of the next one behind it."""
    request = get("/simple/six/", JSON)
    await both.warm(request)
    async with connection(both.hot) as client:
        whole = (await client.ask(request)).lasting
        for at in range(1, len(request)):
            assert (await client.ask(request[:at], request[at:])).lasting == whole
        pieces = [request[at : at + 1] for at in range(len(request))]
        assert (await client.ask(*pieces)).lasting == whole
        await client.send(request + request[:9])
        assert (await client.answer()).lasting == whole
        assert (await client.ask(request[9:])).lasting == whole

    assert both.counted.given == len(request) + 3


async def test_pipelined_requests_are_answered_in_their_order(both: Both) -> None:
    """What is ready does not overtake what is not."""
    ready, unready = get("/simple/six/", JSON), get("/healthz")
    await both.warm(ready)
    async with connection(both.hot) as client:
        await client.send(ready + unready + ready + ready + get("/nowhere") + ready)
        answers = [await client.answer() for _ in range(6)]

    assert [answer.status for answer in answers] == [200, 200, 200, 200, 404, 200]
    assert [b"six" in answer.body for answer in answers] == [True, False, True, True, False, True]


async def test_what_is_ready_waits_for_what_was_asked_before(
    both: Both, upstream: FakeUpstream
) -> None:
    """Also when it is asked for while aiohttp is at work, and has nothing else to do."""
    upstream.add("attrs", "attrs-1.0.tar.gz")
    ready = get("/simple/six/", JSON)
    await both.warm(ready)
    upstream.gate = asyncio.Event()
    async with connection(both.hot) as client:
        await client.send(get("/simple/attrs/", JSON))
        await upstream.until_asked("/simple/attrs/")
        await client.send(ready)
        await a_moment()
        upstream.gate.set()
        first, second = await client.answer(), await client.answer()

    assert (b"attrs-1.0" in first.body, b"six" in second.body) == (True, True)


PAGE = "/simple/six/"
STRANGE = {
    "a range": get(PAGE, "Range: bytes=0-3"),
    "HTTP/1.0": get(PAGE).replace(b"1.1", b"1.0"),
    "the last one": get(PAGE, "Connection: close"),
    "no host": b"GET /simple/six/ HTTP/1.1\r\n\r\n",
    "two hosts": get(PAGE, "Host: other"),
    "an odd host": get(PAGE).replace(b"Host: proxy", b"Host: a b"),
    "an absolute URL": get("http://proxy/simple/six/"),
    "a body": get(PAGE, "Content-Length: 5") + b"GET /",
    "a body in chunks": get(PAGE, "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "both lengths": get(PAGE, "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "a length that is none": get(PAGE, "Content-Length: x"),
    "a body of nothing": get(PAGE, "Content-Length: 0"),
    "an expectation": get(PAGE, "Expect: something"),
    "an upgrade": get(PAGE, "Connection: upgrade", "Upgrade: h2c"),
    "line feeds alone": get(PAGE).replace(b"\r\n", b"\n") + b"\r\n\r\n",
    "a folded field": get(PAGE, "X-Long: a", " b"),
    "a field without a name": get(PAGE, ": x"),
    "a space before the colon": get(PAGE, "Accept : text/html"),
    "a field without a colon": get(PAGE, "Accept"),
    "a null in a field": get(PAGE, "X-Odd: a\0b"),
    "a byte that is no text": get(PAGE)[:-2] + b"X-Odd: \xff\r\n\r\n",
    "a tab between": get(PAGE).replace(b"GET ", b"GET\t"),
    "two spaces": get(PAGE).replace(b"GET ", b"GET  "),
    "no path": get("").replace(b"GET  ", b"GET "),
    "lower case": get(PAGE, method="get"),
    "another method": get(PAGE, method="POST"),
    "a method like ours": get(PAGE, method="GETS"),
    "a later version": get(PAGE).replace(b"1.1", b"1.2"),
    "another protocol": get(PAGE).replace(b"HTTP", b"HTCP"),
    "an empty line first": b"\r\n" + get(PAGE),
    "a null in the path": get("/simple/six\0/"),
    "a path that is no text": get(PAGE).replace(b"six", b"s\xffx"),
    "a query": get(PAGE + "?format=application/vnd.pypi.simple.v1%2Bhtml"),
    "nothing acceptable": get(PAGE, "Accept: image/png"),
    "two of a kind": get(PAGE, 'If-None-Match: "x"', "If-None-Match: *"),
    "too many fields": get(PAGE, *(f"X-{number}: x" for number in range(150))),
    "a long field": get(PAGE, "X-Long: " + "x" * 12_000),
    "a field that is too long": get(PAGE, "X-Long: " + "x" * 20_000),
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 300 + b"\r\n\r\n",
    "no HTTP at all": b"hello\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", STRANGE.values(), ids=STRANGE)
async def test_the_same_bytes_get_the_same_verdict(both: Both, request_bytes: bytes) -> None:
    """Whatever is unusual: by both ways, and what follows it on the connection as well."""
    plain = get(PAGE)
    await both.warm(plain)
    said = []
    for server in (both.hot, both.plain):
        async with connection(server) as client:
            await client.send(plain)
            await client.send(request_bytes)
            with contextlib.suppress(ConnectionResetError):  # the server may have hung up by now
                await client.send(get("/healthz", "Connection: close"))
            said.append(_told(await client.rest()))

    assert said[0] == said[1]


def _told(answers: bytes) -> list[bytes]:
    """The status lines, in their order."""
    return re.findall(rb"HTTP/1\.[01] \d+ [^\r]*", answers)


async def test_a_head_cannot_begin_inside_another(both: Both) -> None:
    """The rest of a head that is the framework's is its too, also where it looks like a request."""
    plain = get(PAGE)
    await both.warm(plain)
    async with connection(both.hot) as client:
        await client.send(b"GET /healthz HTTP/1.1\r\nHost: proxy\r\nX-Odd: \xff")
        await client.send(plain)
        first = await client.answer()

    assert b"six" not in first.body
    assert both.counted.given == 0


@pytest.mark.parametrize("target", [PAGE, "/healthz", "/nowhere"])
@pytest.mark.parametrize("count", [1, 3])
async def test_a_client_that_has_said_all_gets_its_answers(
    both: Both, target: str, count: int
) -> None:
    """Half-closed connections: the sending side is shut, and the answers still come."""
    await both.warm(get(PAGE))
    async with connection(both.hot) as client:
        client.writer.write(get(target) * count)
        client.writer.write_eof()
        answers = _told(await client.rest())

    assert len(answers) == count


async def test_who_asks_a_thousand_times_at_once_lets_others_go_first(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Now and then, and has all its answers nevertheless, half-closed too."""
    count = 1000
    await both.warm(get(PAGE))
    rounds, given = [0], Counter[int]()
    answer = ReadyAnswers.answer

    def noting(*asked: object) -> object:
        given[rounds[0]] += 1
        return answer(*asked)  # type: ignore[arg-type]

    async def go_round() -> None:
        while True:
            rounds[0] += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(ReadyAnswers, "answer", noting)
    going = asyncio.ensure_future(go_round())
    async with connection(both.hot) as client:
        client.writer.write(get(PAGE) * count + get(PAGE)[:10])
        client.writer.write(get(PAGE)[10:])
        client.writer.write_eof()
        answers = _told(await client.rest())
    going.cancel()

    assert len(answers) == both.counted.given == count + 1
    assert max(given.values()) <= 2 * 64


async def test_a_client_that_says_nothing_and_leaves(both: Both) -> None:
    """The connection is closed at once."""
    async with connection(both.hot) as client:
        client.writer.write_eof()
        assert await client.rest() == b""


async def test_a_slow_reader_holds_up_nobody_and_gets_everything(
    both: Both, upstream: FakeUpstream
) -> None:
    """More answers than its buffers take, asked for at once."""
    for number in range(2000):
        upstream.add("many", f"many-1.{number}.tar.gz", content=b"x")
    request, count = get("/simple/many/", JSON), 120
    await both.warm(request, get(PAGE))
    async with connection(both.hot) as slow, connection(both.hot) as other:
        slow.reader._transport.pause_reading()  # type: ignore[attr-defined]
        slow.writer.write(request * count)
        for _ in range(20):
            assert (await other.ask(get(PAGE))).status == 200
        slow.reader._transport.resume_reading()  # type: ignore[attr-defined]
        answers = [await slow.answer() for _ in range(count)]

    assert len({answer.body for answer in answers}) == 1
    assert len(answers[0].body) > 100_000


async def test_idle_connections_are_closed_and_busy_ones_are_not(
    make_proxy: MakeProxy, upstream: FakeUpstream
) -> None:
    """A ready answer counts as activity."""
    upstream.add("six", WHEEL)
    client = await make_proxy(keepalive_timeout=0.6)
    async with connection(client) as busy:
        for _ in range(12):
            assert (await busy.ask(get(PAGE))).status == 200
            await asyncio.sleep(0.2)
        assert await busy.rest() == b""


# --- what is ready is right ---------------------------------------------------------------


@pytest.fixture
async def counted(
    proxy: TestClient, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> Counted:
    upstream.add("six", WHEEL)
    counted = Counted(proxy.app[READY_ANSWERS], monkeypatch)
    for _ in range(3):
        await proxy.get(PAGE)
    assert counted.given
    counted.given = 0
    return counted


async def test_a_page_that_is_stale_is_not_ready(
    proxy: TestClient, upstream: FakeUpstream, counted: Counted, clock: Clock
) -> None:
    """It is asked for anew, and what is new is served."""
    clock.advance(days=1)
    upstream.add("six", "six-2.0.tar.gz")
    page = await (await proxy.get(PAGE)).text()

    assert "six-2.0.tar.gz" in page
    assert counted.given == 0


async def test_age_and_ttl_are_those_of_now(
    proxy: TestClient, counted: Counted, clock: Clock
) -> None:
    """Heads are made anew each second."""
    clock.advance(seconds=7)
    answer = await proxy.get(PAGE)

    assert counted.given == 1
    assert answer.headers["Age"] == "7"
    assert "ttl=593" in answer.headers["Cache-Status"]


@pytest.mark.parametrize("path", ["/cache/six", "/cache/"])
async def test_a_purged_page_is_not_ready(
    proxy: TestClient, upstream: FakeUpstream, counted: Counted, path: str
) -> None:
    """From the answer to the purge on."""
    asked = upstream.count("/simple/six/")
    assert (await proxy.delete(path)).status == 200
    answer = await proxy.get(PAGE)

    assert counted.given == 0
    assert answer.headers["Cache-Status"].startswith("wheelkeep; fwd=miss")
    assert upstream.count("/simple/six/") == asked + 1


async def test_what_another_process_purges_is_not_ready(
    make_proxy: MakeProxy, proxy: TestClient, counted: Counted
) -> None:
    """At once: the two share a folder."""
    other = await make_proxy()
    assert (await other.delete("/cache/six")).status == 200
    answer = await proxy.get(PAGE)

    assert counted.given == 0
    assert "fwd=miss" in answer.headers["Cache-Status"]


async def test_a_file_that_comes_of_age_is_shown_in_that_second(
    make_proxy: MakeProxy,
    upstream: FakeUpstream,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And not before, however often the page was asked for."""
    upstream.add("six", WHEEL, **{"upload-time": "2026-11-24T11:00:00Z"})
    client = await make_proxy(policy={"min_age": "61m"})
    counted = Counted(client.app[READY_ANSWERS], monkeypatch)
    for _ in range(2):
        assert WHEEL not in await (await client.get(PAGE)).text()
    assert counted.given == 1
    clock.advance(seconds=60)

    assert WHEEL in await (await client.get(PAGE)).text()


async def test_what_policy_hides_is_not_ready(
    make_proxy: MakeProxy, proxy: TestClient, upstream: FakeUpstream
) -> None:
    """Also where it was yanked after it had been served."""
    upstream.add("six", WHEEL)
    client = await make_proxy(policy={"hide_yanked": True}, page_ttl="1m")
    path = await link(client)
    for _ in range(3):
        assert (await client.get(path)).status == 200
    upstream.pages["six"]["files"][0]["yanked"] = "broken"
    assert (await client.delete("/cache/six")).status == 200

    assert (await client.get(path)).status == 403


async def test_without_a_token_nothing_is_ready(
    make_proxy: MakeProxy, upstream: FakeUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also not for a token that was taken back, or for none."""
    upstream.add("six", WHEEL)
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{hash_of('wk_1')}\n")
    monkeypatch.setattr("proxy.watched._LOOK_SECONDS", 0.0)
    client = await make_proxy(auth={"tokens_file": str(tokens)})
    counted = Counted(client.app[READY_ANSWERS], monkeypatch)
    with_token = {"Authorization": "Bearer wk_1"}
    for _ in range(2):
        answer = await client.get(PAGE, headers=with_token)
        assert answer.headers["Cache-Control"].startswith("private")
    assert counted.given == 1
    assert (await client.get(PAGE)).status == 401
    assert (await client.get(PAGE, headers={"Authorization": "Bearer wk_2"})).status == 401
    tokens.write_text(f"{hash_of('wk_3')}\n")

    assert (await client.get(PAGE, headers=with_token)).status == 401
    assert counted.given == 1


async def test_ready_answers_are_counted_and_logged_like_others(
    proxy: TestClient, counted: Counted, capsys: pytest.CaptureFixture[str]
) -> None:
    """In /metrics, in /stats and in the access log."""
    capsys.readouterr()
    await proxy.get(PAGE, headers={"X-Request-Id": "one-more", "User-Agent": "pip/26.3 {}"})
    text = await (await proxy.get("/metrics")).text()
    stats = await (await proxy.get("/stats")).json()

    assert counted.given == 1
    assert 'wheelkeep_requests_total{outcome="hit",route="page",status="200"} 3.0' in text
    assert 'wheelkeep_request_seconds_count{route="page"} 4.0' in text
    assert stats["hits"] == 3
    (line,) = (one for one in capsys.readouterr().out.splitlines() if "id=one-more" in one)
    assert f"path={PAGE}" in line
    assert "agent=pip/26.3 " in line
    assert "cache=hit" in line
    assert "client=127.0.0.1" in line


async def test_several_indexes_that_were_asked_are_all_watched(
    make_proxy: MakeProxy,
    upstream: FakeUpstream,
    other_upstream: FakeUpstream,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A page of the second index is ready only as long as the first one does not have it."""
    other_upstream.add("six", "six-0.1.tar.gz")
    index = [{"name": "one", "url": upstream.url}, {"name": "two", "url": other_upstream.url}]
    client = await make_proxy(index=index)
    counted = Counted(client.app[READY_ANSWERS], monkeypatch)
    for _ in range(2):
        await client.get(PAGE)
    assert counted.given == 1
    upstream.add("six", WHEEL)
    clock.advance(minutes=2)

    assert WHEEL in await (await client.get(PAGE)).text()


@pytest.mark.parametrize("beside", ["", ".metadata"])
async def test_a_small_file_is_ready_from_its_second_question_on(both: Both, beside: str) -> None:
    """What has just been fetched and verified need not be read again."""
    path = await link(both.hot) + beside
    await both.hot.get(PAGE)  # its page is believed from here on
    both.counted.given = 0
    cold = await both.hot.get(path)
    assert "fwd=miss" in cold.headers["Cache-Status"]
    assert both.counted.given == 0
    ready = await both.hot.get(path)

    assert both.counted.given == 1
    assert ready.headers["Cache-Status"] == "wheelkeep; hit"
    assert await ready.read() == await cold.read()


async def test_what_turns_out_to_be_wrong_is_not_ready(both: Both, upstream: FakeUpstream) -> None:
    """However often it is asked for."""
    path = await link(both.hot) + ".metadata"
    await both.hot.get(PAGE)
    upstream.files[f"{upstream.path_of(WHEEL)}.metadata"] = METADATA.swapcase()
    both.counted.given = 0
    for _ in range(3):
        with contextlib.suppress(ClientPayloadError):
            answer = await both.hot.get(path)
            assert await answer.read() != METADATA.swapcase()

    assert both.counted.given == 0


class Written(asyncio.Transport):
    """A transport whose bytes go nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None: ...


async def test_the_first_request_of_a_connection_need_not_wait(both: Both) -> None:
    """It may come before the framework has begun to wait for one: loops differ in that."""
    await both.warm(get(PAGE))
    transport, protocol = Written(), both.hot.server.runner.server()
    protocol.connection_made(transport)
    protocol.data_received(get(PAGE))
    assert both.counted.given == 1
    assert transport.data.startswith(b"HTTP/1.1 200 OK")
    await asyncio.sleep(0)
    protocol.data_received(get(PAGE))
    protocol.connection_lost(None)

    assert both.counted.given == 2


async def test_a_client_that_leaves_as_soon_as_it_has_its_answer(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end comes when aiohttp has answered, and does not wait for more yet."""
    logged = HotProtocol.log_access

    def leaving(self: HotProtocol, *answered: object) -> None:
        logged(self, *answered)
        if not self.eof_received() and self.transport is not None:
            self.transport.close()

    monkeypatch.setattr(HotProtocol, "log_access", leaving)
    async with connection(both.hot) as client:
        assert (await client.ask(get("/healthz"))).status == 200
        assert await client.rest() == b""


def test_a_client_that_is_gone_when_its_ready_answer_is_written() -> None:
    """aiohttp, which would stumble over a connection that is lost, is not given the rest."""
    ready, unready = get("/simple/six/"), get("/healthz")
    given: list[bytes] = []

    class Leaving(HotProtocol):
        __slots__ = ()

        def _is_answered(self, head: bytes) -> bool:
            if head == ready:
                transport.is_closing.return_value = True
            return head == ready

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RequestHandler, "data_received", lambda _, data: given.append(data))
        protocol = Leaving.__new__(Leaving)
        protocol._held, protocol._is_foreign, protocol._is_unreadable = b"", False, False
        protocol._messages = deque()
        protocol.transport = transport = Mock(is_closing=Mock(return_value=False))
        protocol.data_received(ready + unready + ready + unready)

    assert given == []


async def test_pipelined_requests_are_handed_on_in_one_piece(
    proxy: TestClient, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiohttp takes up a few of them at once: one by one, it would have to take thousands."""
    given: list[bytes] = []
    hand_on = RequestHandler.data_received
    monkeypatch.setattr(
        RequestHandler,
        "data_received",
        lambda self, data: (given.append(data), hand_on(self, data)),
    )
    crowd = get("/healthz") * 500
    async with connection(proxy) as client:
        await client.send(crowd)
        for _ in range(500):
            assert (await client.answer()).status == 200

    assert max(map(len, given)) > 40 * len(get("/healthz"))
    assert len([data for data in given if data]) < 50


async def test_an_aiohttp_that_it_does_not_fit_answers_all_the_same(
    make_proxy: MakeProxy, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the framework alone: a release of aiohttp may call its inner things anew."""
    upstream.add("six", WHEEL, b"content")
    monkeypatch.setattr(hotpath, "_INNER_NAMES", ("_waiter", "_called_otherwise"))
    with capture_logs() as logged:
        proxy = await make_proxy()
        answer = await proxy.get("/simple/six/")

    assert answer.status == 200
    assert not isinstance(proxy.server.runner, hotpath.HotRunner)  # type: ignore[attr-defined]
    (warning,) = [line for line in logged if "hot_path" in line["event"]]
    assert warning["missing"] == ["_called_otherwise"]


def test_all_that_it_knows_of_aiohttp_is_looked_for() -> None:
    """Each inner name that it uses and that is not its own."""
    used = set(re.findall(r"\bself\.(_\w+)", inspect.getsource(HotProtocol)))
    own = {*HotProtocol.__slots__, *vars(HotProtocol)}

    assert used - own == set(hotpath._INNER_NAMES)
