"""Getting in without a token, and purging from where one may not."""

import hmac

import aiohttp
import pytest
from aiohttp.test_utils import TestClient

from proxy.web import tokens
from proxy.web.tokens import hash_of
from tests.attacks.conftest import PAGE, WHEEL, server_of
from tests.attacks.verdicts import verdict
from tests.conftest import MakeProxy
from tests.fakes import FakeUpstream
from tests.raw import connection, get

TOKEN, ADMIN = "wk_client-hunter2", "wk_admin-hunter2"
BASIC = aiohttp.encode_basic_auth("me", TOKEN)


@pytest.fixture
async def closed(make_proxy: MakeProxy, upstream: FakeUpstream) -> TestClient:
    """A page is ready for those who have a token."""
    upstream.add("six", WHEEL)
    proxy = await make_proxy(auth={"tokens": [hash_of(TOKEN)], "admin_tokens": [hash_of(ADMIN)]})
    for _ in range(3):
        assert (await proxy.get(PAGE, headers={"Authorization": BASIC})).status == 200
    return proxy


ELSEWHERE = {
    "in the query": get(f"{PAGE}?token={TOKEN}"),
    "in a query of another name": get(f"{PAGE}?access_token={TOKEN}&auth={TOKEN}"),
    "in a query that says basic": get(f"{PAGE}?authorization=Basic%20{BASIC.split()[1]}"),
    "in a fragment": get(f"{PAGE}#{TOKEN}"),
    "as a user": get(f"http://me:{TOKEN}@proxy{PAGE}"),
    "as a user of no scheme": get(f"//me:{TOKEN}@proxy{PAGE}"),
    "in the host": get(PAGE).replace(b"Host: proxy", f"Host: me:{TOKEN}@proxy".encode()),
    "in a cookie": get(PAGE, f"Cookie: token={TOKEN}; Authorization={TOKEN}"),
    "for a proxy": get(PAGE, f"Proxy-Authorization: {BASIC}"),
    "under another name": get(PAGE, f"X-Authorization: {BASIC}", f"X-Api-Key: {TOKEN}"),
    "under an underlined name": get(PAGE, f"Author_ization: {BASIC}"),
    "behind a space": get(PAGE, f"Authorization : {BASIC}"),
    "in a folded line": get(PAGE, "Authorization:", f" {BASIC}"),
    "behind another one": get(PAGE, "Authorization: Bearer x", f"Authorization: {BASIC}"),
    "with another scheme": get(PAGE, f"Authorization: Token {TOKEN}"),
    "without a scheme": get(PAGE, f"Authorization: {TOKEN}"),
    "as the user": get(PAGE, f"Authorization: {aiohttp.encode_basic_auth(TOKEN, '')}"),
    "its hash": get(PAGE, f"Authorization: Bearer {hash_of(TOKEN)}"),
    "in capitals": get(PAGE, f"Authorization: Bearer {TOKEN.upper()}"),
    "with a null": get(PAGE, f"Authorization: Bearer {TOKEN}\0"),
    "but for its end": get(PAGE, f"Authorization: Bearer {TOKEN[:-1]}"),
    "and more": get(PAGE, f"Authorization: Bearer {TOKEN}x"),
    "two of them": get(PAGE, f"Authorization: Bearer {TOKEN},{TOKEN}"),
    "cut base64": get(PAGE, f"Authorization: {BASIC[:-3]}"),
    "in a body": get(PAGE, "Content-Length: 40", method="POST") + TOKEN.encode().ljust(40),
}


@pytest.mark.parametrize("request_bytes", ELSEWHERE.values(), ids=ELSEWHERE)
async def test_a_token_elsewhere_is_none(
    closed: TestClient, capsys: pytest.CaptureFixture[str], request_bytes: bytes
) -> None:
    """Nobody is let in, and neither the answer nor the log repeats it."""
    capsys.readouterr()
    async with connection(closed) as client:
        await client.send(request_bytes)
        client.writer.write_eof()
        answer = await client.rest()
    log = capsys.readouterr()

    assert answer.split(b" ")[1] in (b"400", b"401", b"405")
    assert WHEEL.encode() not in answer
    for secret in ("hunter2", TOKEN.upper(), BASIC.split()[1], hash_of(TOKEN)):
        assert secret not in log.out + log.err
        assert b" 400 " in answer or secret.encode() not in answer


@pytest.mark.parametrize("first", [PAGE, "/healthz"])
async def test_a_token_is_for_one_request(closed: TestClient, first: str) -> None:
    """Not for those that come behind it over the same connection, in whatever pieces."""
    good, bad = get(first, f"Authorization: {BASIC}"), get(PAGE)
    for pieces in ([good, bad, good], [good + bad + good], [good + bad[:20], bad[20:] + good]):
        said = await verdict(server_of(closed), pieces)
        assert [answer.status.split(" ")[1] for answer in said.answers] == ["200", "401", "200"]


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each known one is compared, by a comparison that takes equally long, also behind a match."""
    compared: list[str] = []

    def counting(one: str, other: str) -> bool:
        compared.append(other)
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", counting)
    known = [hash_of(str(number)) for number in range(5)]
    kept = tokens.TokenSet(known, None, "auth.tokens", None)  # type: ignore[arg-type]
    for given in (known[0], known[4], hash_of("x")):
        compared.clear()
        assert (given in kept) is (given in known)
        assert compared == known


PURGES = {
    "without a token": {},
    "of a client": {"Authorization": f"Bearer {TOKEN}"},
    "by another method": {"Authorization": f"Bearer {TOKEN}", "X-HTTP-Method-Override": "DELETE"},
    "from here, it says": {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"},
}


@pytest.mark.parametrize("headers", PURGES.values(), ids=PURGES)
@pytest.mark.parametrize("path", ["/cache/", "/cache/six", "/cache/%73ix", "/cache/SIX"])
async def test_a_purge_without_the_right(
    closed: TestClient, upstream: FakeUpstream, headers: dict[str, str], path: str
) -> None:
    """Nothing is forgotten."""
    asked = upstream.count(PAGE)
    for method in ("DELETE", "POST", "GET", "PUT"):
        answer = await closed.request(method, path, headers=headers)
        assert answer.status in (401, 403, 404, 405)
    await closed.get(PAGE, headers={"Authorization": BASIC})

    assert upstream.count(PAGE) == asked


HOSTS_OF_OTHERS = (
    *("evil.example", "evil.example:3141", "127.0.0.1.evil.example", "localhost.evil.example"),
    *("127.0.0.1@evil.example", "evil.example#127.0.0.1", "evil.example/127.0.0.1", "10.0.0.1", ""),
    *(
        "[::2]",
        "0x7f000002.evil.example",
        "evil.example:80@localhost.evil",
        "localhost,evil.example",
    ),
)
PAGES_OF_OTHERS = (
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1.evil.example"},
    {"Origin": "http://localhost:1"},
    {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "Same-Origin, cross-site"},
)


async def test_a_page_of_another_site_cannot_purge(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """Also where its name leads to this machine (DNS rebinding): wheelkeep is open to this one."""
    upstream.add("six", WHEEL)
    await proxy.get(PAGE)
    odd = [{"Host": host} for host in HOSTS_OF_OTHERS] + list(PAGES_OF_OTHERS)
    for headers in odd:
        lines = [f"{name}: {value}" for name, value in ({"Host": "127.0.0.1"} | headers).items()]
        request = "\r\n".join(["DELETE /cache/six HTTP/1.1", *lines, "", ""]).encode()
        async with connection(proxy) as client:
            answer = await client.ask(request)
        assert answer.status in (400, 403), headers
        assert "access-control-allow-origin" not in answer.headers
    await proxy.get(PAGE)

    assert upstream.count(PAGE) == 1
    assert (await proxy.delete("/cache/six")).status == 200


@pytest.mark.parametrize("path", ["/cache/six", "/cache/", PAGE, "/stats"])
async def test_no_other_site_is_let_ask_beforehand(proxy: TestClient, path: str) -> None:
    """A browser asks by OPTIONS first, and nothing allows it."""
    answer = await proxy.options(
        path,
        headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "DELETE"},
    )

    assert answer.status == 405
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
