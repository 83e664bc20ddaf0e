"""By which proxy an index is asked, and whose certificates are trusted."""

import asyncio
import base64
import ssl
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from yarl import URL

from proxy.errors import ConfigError, UpstreamError, UpstreamUnavailable
from proxy.sessions import proxy_for, trusting
from proxy.settings import Index
from proxy.simple.model import ProjectName
from proxy.telemetry import Telemetry
from proxy.upstream import NewPage
from proxy.upstream_http import HttpUpstream
from tests.fakes import FakeUpstream
from tests.network import ForwardProxy

SIX = ProjectName("six")
PAGE = "/simple/six/"
ELSEWHERE = "/packages/six-1.0.tar.gz"


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
async def secure(authority: trustme.CA) -> AsyncIterator[FakeUpstream]:
    """An index over https, whose certificate nobody trusts who was not told to."""
    fake = await served(authority.issue_cert("127.0.0.1"))
    yield fake
    await fake.stop()


@pytest.fixture
async def forward() -> AsyncIterator[ForwardProxy]:
    async with ForwardProxy().running() as made:
        yield made


async def served(certificate: trustme.LeafCert) -> FakeUpstream:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    fake = FakeUpstream()
    fake.add("six", "six-1.0.tar.gz")
    await fake.start(context)
    return fake


async def page_of(upstream: FakeUpstream, **settings: object) -> NewPage:
    index = Index.model_validate({"name": "pypi", "url": upstream.url} | settings)
    async with HttpUpstream.open(index, Telemetry()) as subject:
        page = await subject.page(SIX)
        assert isinstance(page, NewPage)
        return page


# --- proxies ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "environment", "url", "expected"),
    [
        ("", {}, "https://pypi.org/", None),
        ("", {"HTTPS_PROXY": "http://a:1"}, "https://pypi.org/", "http://a:1"),
        ("", {"https_proxy": "http://a:1"}, "https://pypi.org/", "http://a:1"),
        ("", {"HTTPS_PROXY": "a:1"}, "https://pypi.org/", "http://a:1"),
        ("", {"HTTPS_PROXY": "https://a:1"}, "https://pypi.org/", "https://a:1"),
        ("", {"HTTPS_PROXY": "http://a:1"}, "http://pypi.org/", None),
        ("", {"HTTP_PROXY": "http://a:1"}, "http://pypi.org/", "http://a:1"),
        ("", {"ALL_PROXY": "http://a:1"}, "http://pypi.org/", "http://a:1"),
        ("", {"ALL_PROXY": "http://a:1", "NO_PROXY": "pypi.org"}, "https://pypi.org/", None),
        ("", {"ALL_PROXY": "http://a:1", "NO_PROXY": ".org"}, "https://pypi.org/", None),
        ("", {"ALL_PROXY": "http://a:1", "NO_PROXY": "*"}, "https://pypi.org/", None),
        ("", {"ALL_PROXY": "http://a:1", "NO_PROXY": "b:80, ::1"}, "http://b/", None),
        ("", {"ALL_PROXY": "http://a:1", "NO_PROXY": "b:80, ::1"}, "http://b:8/", "http://a:1"),
        ("", {"ALL_PROXY": "http://a:1", "NO_PROXY": "b:80, ::1"}, "http://[::1]:8/", None),
        ("none", {"ALL_PROXY": "http://a:1"}, "https://pypi.org/", None),
        ("http://u:p@b:2", {"ALL_PROXY": "http://a:1"}, "https://pypi.org/", "http://u:p@b:2"),
        ("http://b:2", {"NO_PROXY": "pypi.org"}, "https://pypi.org/", "http://b:2"),
    ],
)
def test_which_proxy(
    setting: str,
    environment: dict[str, str],
    url: str,
    expected: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That of the index before those of the environment; NO_PROXY is about the latter."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert proxy_for(URL(url), setting) == (URL(expected) if expected else None)


async def test_an_index_behind_the_companys_proxy(
    upstream: FakeUpstream, forward: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked by it where the environment says so; not with "none", nor where NO_PROXY says so."""
    upstream.add("six", "six-1.0.tar.gz")
    monkeypatch.setenv("HTTP_PROXY", forward.url)
    await page_of(upstream)
    assert forward.asked == [f"GET {upstream.root}{PAGE}"]
    await page_of(upstream, proxy="none")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    await page_of(upstream)
    assert len(forward.asked) == 1
    await page_of(upstream, proxy=forward.url)
    assert len(forward.asked) == 2


async def test_a_secure_index_behind_a_proxy(
    secure: FakeUpstream, forward: ForwardProxy, monkeypatch: pytest.MonkeyPatch, ca_file: Path
) -> None:
    """It is tunnelled to (RFC 9110 §9.3.6), and its certificate is what counts."""
    monkeypatch.setenv("HTTPS_PROXY", forward.url)
    await page_of(secure, ca_file=str(ca_file))
    assert forward.asked == [f"CONNECT {URL(secure.root).authority}"]
    with pytest.raises(UpstreamError, match=r"not trusted; index\.ca_file"):
        await page_of(secure)


@pytest.mark.parametrize("from_environment", [True, False])
async def test_the_proxys_credentials_are_for_the_proxy(
    secure: FakeUpstream,
    upstream: FakeUpstream,
    forward: ForwardProxy,
    monkeypatch: pytest.MonkeyPatch,
    ca_file: Path,
    from_environment: bool,
) -> None:
    """The index does not see them, nor the proxy those for a secure index."""
    upstream.add("six", "six-1.0.tar.gz")
    proxy = forward.url.replace("//", "//us:p%40ss@")
    if from_environment:
        monkeypatch.setenv("ALL_PROXY", proxy)
    for index in (secure, upstream):
        own = {"username": "index", "password": "secret"} if index is secure else {}
        given = {} if from_environment else {"proxy": proxy}
        await page_of(index, ca_file=str(ca_file), **own, **given)
    sent = f"Proxy-Authorization: Basic {base64.b64encode(b'us:p@ss').decode()}"
    assert [head.count(sent) for head in forward.heads] == [1, 1]
    assert "\r\nAuthorization" not in forward.heads[0]
    assert "Proxy-Authorization" not in secure.requests[0].headers


async def test_each_step_of_a_redirect_has_its_own_way(
    secure: FakeUpstream,
    upstream: FakeUpstream,
    forward: ForwardProxy,
    monkeypatch: pytest.MonkeyPatch,
    ca_file: Path,
) -> None:
    """From where the proxy stands to where none does."""

    async def move(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"{secure.root}{PAGE}"})

    upstream.handlers[PAGE] = move
    monkeypatch.setenv("HTTP_PROXY", forward.url)
    await page_of(upstream, ca_file=str(ca_file))

    assert forward.asked == [f"GET {upstream.root}{PAGE}"]
    assert secure.count(PAGE) == 1


async def test_a_proxy_that_does_not_let_us_through(
    secure: FakeUpstream, forward: ForwardProxy
) -> None:
    """Its answer is told as the proxy's, not as the index's, and without its credentials."""
    forward.answers_with = 407
    with pytest.raises(UpstreamUnavailable, match="HTTP proxy on the way to it answered 407") as no:
        await page_of(secure, proxy=forward.url.replace("//", "//us:secret@"))

    assert "secret" not in str(no.value)


async def test_a_proxy_of_another_kind(
    upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment may name what is none: told so, and not gone around."""
    for proxy in ("socks5://us:secret@127.0.0.1:1", "http://us:secret@:1:2", "http://"):
        monkeypatch.setenv("ALL_PROXY", proxy)
        with pytest.raises(UpstreamError, match="no HTTP proxy") as raised:
            await page_of(upstream)
        assert "secret" not in str(raised.value)
    assert not upstream.requests


# --- certificates -----------------------------------------------------------------------------


async def test_a_certificate_that_is_not_trusted(secure: FakeUpstream) -> None:
    """Is told as such, with the remedy; to ask again would not help."""
    with pytest.raises(UpstreamError, match=r"certificate is not trusted; index\.ca_file") as no:
        await page_of(secure)

    assert not isinstance(no.value, UpstreamUnavailable)
    assert not secure.requests


async def test_certificates_of_an_index(
    secure: FakeUpstream, ca_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those in its `ca_file` are trusted beside those of the system, which OpenSSL's variables
    name.
    """
    await page_of(secure, ca_file=str(ca_file))
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    await page_of(secure)
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    await page_of(secure, ca_file=str(other))


async def test_certificates_that_take_long_to_load(
    secure: FakeUpstream, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server begins without those of the system; a request waits for them, and none is lost
    with one that gives up.
    """
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    goes_on = threading.Event()

    def slowly(index: Index) -> ssl.SSLContext:
        goes_on.wait(10)
        return trusting(index)

    monkeypatch.setattr("proxy.sessions.trusting", slowly)
    async with HttpUpstream.open(Index(name="pypi", url=secure.url), Telemetry()) as subject:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await subject.page(SIX)
        assert not secure.requests
        goes_on.set()
        assert isinstance(await subject.page(SIX), NewPage)


@pytest.mark.parametrize(("host", "is_old"), [("other.example", False), ("127.0.0.1", True)])
async def test_a_certificate_that_is_wrong(
    authority: trustme.CA, ca_file: Path, host: str, is_old: bool
) -> None:
    """Of another host, or past its time: more trust would be no remedy, and is not proposed."""
    end = datetime.now(UTC) - timedelta(days=1) if is_old else None
    fake = await served(authority.issue_cert(host, not_after=end))
    with pytest.raises(UpstreamError, match="certificate is not valid: ") as raised:
        await page_of(fake, ca_file=str(ca_file))
    await fake.stop()

    assert ("expired" if is_old else "127.0.0.1") in raised.value.problem
    assert "ca_file" not in str(raised.value)


@pytest.mark.parametrize("content", [None, "", "no certificate", "-----BEGIN CERTIFICATE-----\nx"])
async def test_a_ca_file_must_be_right(
    upstream: FakeUpstream, tmp_path: Path, content: str | None
) -> None:
    """Otherwise nothing starts, and one line names the setting and the file."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)

    with pytest.raises(
        ConfigError, match=r"\Aindex\.ca_file of the index pypi: .*ca\.pem: (No such|holds no)"
    ):
        await page_of(upstream, ca_file=str(path))
