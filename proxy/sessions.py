"""The HTTP clients of one index: where they may go, by which proxy, whom they trust and tell.

Each request passes three steps at each hop, so a redirect starts over: the proxy is chosen, the
way is checked (`reach.py`), and the index is told who asks (`credentials.py`).
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractResolver
from cachetools import LRUCache
from yarl import URL

from proxy.connector import PER_HOST, Connector
from proxy.credentials import Credentials
from proxy.errors import ConfigError, UpstreamError
from proxy.reach import GuardingResolver, Reach, origin_of
from proxy.settings import Index
from proxy.telemetry import Telemetry
from proxy.traces import Traces
from proxy.transport import LONGEST_HEAD_BYTES, LOOP_HEADER, USER_AGENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """Two clients: pages must not wait until one of many long downloads is done."""

    pages: aiohttp.ClientSession
    files: aiohttp.ClientSession
    loading: asyncio.Task[ssl.SSLContext]

    async def trusted(self) -> ssl.SSLContext:
        """What each request is to be given as its `ssl`."""
        return await asyncio.shield(self.loading)


@asynccontextmanager
async def open_sessions(
    index: Index,
    telemetry: Telemetry,
    others: Iterable[str] = (),
    resolver: AbstractResolver | None = None,
    mark: str = "",
) -> AsyncIterator[Sessions]:
    """The clients for an index, closed in the end.

    `others` are the URLs of the other indexes, to which it may not forward. `resolver` is what
    resolves names, the system's without one. `mark`: what each request says in its CDN-Loop
    (RFC 8586), so that we know our own where an index leads back to us. Raises `ConfigError`
    where `ca_file` or `password_file` cannot be used.
    """
    async with AsyncExitStack() as stack:
        # The system has so many certificates that the server begins without them. The first
        # request waits for what is left to load.
        loading = asyncio.create_task(asyncio.to_thread(trusting, index))
        stack.callback(loading.cancel)
        if index.ca_file is not None:
            await loading  # since that one may be wrong
        credentials = await asyncio.to_thread(Credentials, index, telemetry)
        resolver = resolver or aiohttp.DefaultResolver()
        reach = Reach(index, resolver, others)
        guarding = GuardingResolver(resolver, reach)
        stack.push_async_callback(guarding.close)
        stack.push_async_callback(reach.close)
        steps: tuple[aiohttp.ClientMiddlewareType, ...] = (
            _ProxyChoice(index).choose,
            reach.check,
            credentials.identify,
        )
        if index.traceparent:
            steps = (*steps, _TraceHeaders(index, telemetry.traces).tell)

        async def new() -> aiohttp.ClientSession:
            return await stack.enter_async_context(_new_session(guarding, steps, mark))

        yield Sessions(pages=await new(), files=await new(), loading=loading)


def trusting(index: Index) -> ssl.SSLContext:
    """TLS that trusts the system's certificates (SSL_CERT_FILE, SSL_CERT_DIR) and `ca_file`.

    Blocking. Raises `ConfigError`.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if index.ca_file is not None:
        where = f"index.ca_file of the index {index.name}: {index.ca_file}"
        try:
            context.load_verify_locations(index.ca_file)
        except ssl.SSLError:
            raise ConfigError(f"{where}: holds no certificate (PEM)") from None
        except OSError as problem:
            raise ConfigError(f"{where}: {problem.strerror}") from None
    return context


def proxy_for(url: URL, setting: str) -> URL | None:
    """The HTTP proxy on the way to a URL: that of `index.proxy`, else of the environment.

    Raises `ValueError` where the environment names what is none.
    """
    if setting:
        return None if setting == "none" else URL(setting)
    host = url.host or ""
    if proxy_bypass(host) or proxy_bypass(f"{host}:{url.port}"):
        return None
    proxies = getproxies()
    named = proxies.get(url.scheme) or proxies.get("all")
    if not named:
        return None
    proxy = URL(named if "://" in named else f"http://{named}")
    if proxy.scheme not in ("http", "https") or not proxy.host:
        raise ValueError("must be like http://proxy.example:3128")
    return proxy


_REMEMBERED_ORIGINS = 256


class _ProxyChoice:
    """Which way the requests for an index go. Their proxy's credentials stay in its URL."""

    def __init__(self, index: Index) -> None:
        self._index = index
        # To read the environment takes as long as to send a request.
        self._chosen: LRUCache[URL, URL | None] = LRUCache(_REMEMBERED_ORIGINS)

    def _choose(self, origin: URL) -> URL | None:
        if origin not in self._chosen:
            self._chosen[origin] = proxy_for(origin, self._index.proxy)
        return self._chosen[origin]

    async def choose(
        self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        try:
            proxy = self._choose(request.url.origin())
        except ValueError:
            reason = "the environment names a proxy for it that is no HTTP proxy"
            raise UpstreamError(self._index.name, str(request.url), reason) from None
        request.update_proxy(proxy, None, None)
        return await send(request)


class _TraceHeaders:
    """Tells an index which trace a question is of, and no other host that it leads to."""

    def __init__(self, index: Index, traces: Traces) -> None:
        self._origin = origin_of(URL(index.url))
        self._traces = traces

    async def tell(
        self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if origin_of(request.url) == self._origin:
            request.headers.update(self._traces.headers())
        return await send(request)


def _new_session(
    resolver: AbstractResolver,
    steps: tuple[aiohttp.ClientMiddlewareType, ...],
    mark: str,
) -> aiohttp.ClientSession:
    own = {LOOP_HEADER: mark} if mark else {}
    return aiohttp.ClientSession(
        # Without a bound over all hosts: one that is slow must not keep the others waiting.
        connector=Connector(limit=0, limit_per_host=PER_HOST, resolver=resolver),
        headers={"User-Agent": USER_AGENT, **own},
        cookie_jar=aiohttp.DummyCookieJar(),
        # Signed addresses and security policies outgrow the default of 8 kB.
        max_line_size=LONGEST_HEAD_BYTES,
        max_field_size=LONGEST_HEAD_BYTES,
        middlewares=steps,
        # It would send what netrc holds to whichever host is linked to.
        trust_env=False,
    )
