"""A running wheelkeep, as the commands ask it.

One that runs on this machine is found by the settings: its certificate is for the name that
clients know it by, and it is asked by an address of this machine, so it is known by the
certificate itself. One that is named by its URL is reached like any other server: by the proxy
and the trusted certificates of the environment, and with what netrc holds for it.
"""

import hashlib
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Self, TypeVar

import aiohttp
import msgspec
from yarl import URL

from proxy.errors import ConfigError, NoServer, ServerRefused
from proxy.journey import CACHE_NAME, read_cache_status
from proxy.reports import Health, History, Overview, Purged, Span, Stats
from proxy.settings import TOKEN_VARIABLE, Server
from proxy.transport import USER_AGENT, why_not_connected

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=90.0)
"""A server may take a minute to forget all pages of a large Redis."""
_SHORT_TIMEOUT = aiohttp.ClientTimeout(total=30.0, sock_connect=5.0)
"""What is only read from memory or one database."""
_LONGEST_SENTENCE = 300
_LARGEST_BODY_BYTES = 16 << 20
_END_OF_CERTIFICATE = "-----END CERTIFICATE-----"

Shape = TypeVar("Shape")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """Where a server is, and what is shown to it.

    `url` has its base path and neither credentials nor a slash at its end. `certificate`: the
    file (PEM) with the one that it must show; None: one that is trusted.
    """

    url: str
    token: str = field(default="", repr=False)
    certificate: Path | None = None
    is_own: bool = False
    """Whether it is the one of this machine's settings."""

    @classmethod
    def of(cls, server: Server, token: str = "") -> Self:
        """The one that these settings are of, on this machine. Raises `ConfigError`."""
        if server.port == 0:
            raise ConfigError("server.port: is 0, any free one; name the server with --server")
        host = _reachable(server.host)
        shown = f"[{host}]" if ":" in host else host
        return cls(
            url=f"{server.scheme}://{shown}:{server.port}{server.base_path}",
            token=token,
            certificate=server.tls_cert,
            is_own=True,
        )

    @classmethod
    def named(cls, given: str, token: str = "") -> Self:
        """The one at that URL, which may be that of its index. Raises `ConfigError`.

        `token` wins over one in the URL: `https://any-name:TOKEN@HOST`.
        """
        try:
            url = URL(given)
        except ValueError:  # whose words quote parts of it
            raise ConfigError("--server: is not a URL") from None
        if url.scheme not in ("http", "https") or not url.host or url.query_string or url.fragment:
            raise ConfigError("--server: must be like http://127.0.0.1:3141 or https://HOST/BASE")
        plain = str(url.with_user(None)).rstrip("/").removesuffix("/simple")
        return cls(url=plain, token=token or url.password or url.user or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAnswer:
    """What a wheelkeep answered."""

    status: int
    reason: str
    """The words behind the status; they may be empty."""
    body: bytes | None
    """None: it is larger than anything that is asked for here."""


class ServerClient:
    """Asks one server. Open it with `open`."""

    def __init__(self, address: ServerAddress, session: aiohttp.ClientSession) -> None:
        self.url = address.url
        self._session = session
        self._trust = _trust(address)

    def __repr__(self) -> str:
        return f"<ServerClient of {self.url}>"

    @classmethod
    @asynccontextmanager
    async def open(cls, address: ServerAddress) -> AsyncIterator[Self]:
        """A client for that server; nothing is sent yet. Raises `ConfigError`."""
        async with aiohttp.ClientSession(
            headers={"User-Agent": USER_AGENT},
            timeout=_TIMEOUT,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=not address.is_own,
            middlewares=[showing(address)] if address.token else [],
        ) as session:
            yield cls(address, session)

    async def health(self) -> Health:
        """`/healthz`. Raises `NoServer`, `ServerRefused`."""
        return await self._read("/healthz", Health)

    async def stats(self) -> Stats:
        """`/stats`. Raises `NoServer`, `ServerRefused`."""
        return await self._read("/stats", Stats)

    async def overview(self) -> Overview:
        """`/stats/overview`. Raises `NoServer`, `ServerRefused`."""
        return await self._read("/stats/overview", Overview)

    async def history(self, span: Span) -> History:
        """`/stats/history`. Raises `NoServer`, `ServerRefused`."""
        return await self._read(f"/stats/history?span={span}", History)

    async def purge(self, project: str | None = None) -> int:
        """Have it forget the project's pages, or all; how many that were.

        Raises `NoServer`, `ServerRefused`.
        """
        answer = await self.ask("DELETE", f"/cache/{project or ''}")
        return self._decoded(answer, Purged).purged

    async def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        limits: aiohttp.ClientTimeout = _TIMEOUT,
    ) -> ServerAnswer:
        """What it answers, whatever the status; `path` is below its base path: `/healthz`.

        Raises `NoServer`, also where no wheelkeep answers.
        """
        url = f"{self.url}{path}"
        try:
            async with self._session.request(
                method, url, headers=headers, timeout=limits, ssl=self._trust
            ) as response:
                if not _is_wheelkeep(response):
                    said = f"what answers there ({response.status}) is no wheelkeep"
                    raise NoServer(self.url, said)
                return ServerAnswer(
                    status=response.status,
                    reason=response.reason or "",
                    body=await body_of(response, _LARGEST_BODY_BYTES),
                )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as problem:
            raise NoServer(self.url, _why_none(problem)) from problem

    async def _read(self, path: str, shape: type[Shape]) -> Shape:
        wanted = {"Accept": "application/json"}
        return self._decoded(await self.ask("GET", path, wanted, _SHORT_TIMEOUT), shape)

    def _decoded(self, answer: ServerAnswer, shape: type[Shape]) -> Shape:
        """What a 200 tells. Raises `ServerRefused` for any other, and for what cannot be read."""
        if answer.body is None:
            raise ServerRefused(self.url, answer.status, "its answer is too large to be one")
        if answer.status != 200:
            words = " ".join(answer.body.decode(errors="replace").split())[:_LONGEST_SENTENCE]
            words = words or answer.reason
            if answer.status == 401:
                # Its own words are for clients, which have no such flag.
                words = f"{words.rstrip('.')}; give it by --token, or in {TOKEN_VARIABLE}"
            raise ServerRefused(self.url, answer.status, words)
        try:
            return msgspec.json.decode(answer.body, type=shape)
        except msgspec.DecodeError as problem:
            reason = "its answer is that of another version of wheelkeep"
            raise ServerRefused(self.url, answer.status, reason) from problem


async def body_of(response: aiohttp.ClientResponse, most_bytes: int) -> bytes | None:
    """All of the body; None where it is larger than that. Unpacked bytes are counted."""
    body = bytearray()
    async for data in response.content.iter_any():
        body += data
        if len(body) > most_bytes:
            response.close()
            return None
    return bytes(body)


def showing(address: ServerAddress) -> aiohttp.ClientMiddlewareType:
    """Shows the token to that server, and to none that it redirects to."""
    origin = URL(address.url).origin()

    async def show(
        request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if request.url.origin() == origin:
            # As a header of the session it would not go together with what netrc holds.
            request.headers["Authorization"] = f"Bearer {address.token}"
        return await send(request)

    return show


def _reachable(host: str) -> str:
    """Where one that listens on that address is asked on its own machine."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "::1" if address.version == 6 else "127.0.0.1"


def _trust(address: ServerAddress) -> aiohttp.Fingerprint | ssl.SSLContext | bool:
    """What a request is to be given as its `ssl`. Raises `ConfigError`."""
    if not address.url.startswith("https:"):
        return True
    if address.certificate is None:
        return ssl.create_default_context()
    try:
        first, end, _ = address.certificate.read_text().partition(_END_OF_CERTIFICATE)
        shown = ssl.PEM_cert_to_DER_cert(first[first.index("-----BEGIN") :] + end)
    except OSError as problem:
        raise ConfigError(
            f"server.tls_cert: {address.certificate} cannot be read: {problem.strerror}"
        ) from None
    except ValueError:
        raise ConfigError(
            f"server.tls_cert: {address.certificate} has no certificates (PEM) that can be read"
        ) from None
    return aiohttp.Fingerprint(hashlib.sha256(shown).digest())


def _why_none(problem: Exception) -> str:
    match problem:
        case aiohttp.ServerFingerprintMismatch():
            return "it shows another certificate than that of server.tls_cert"
        case aiohttp.ClientConnectorCertificateError():
            return "its certificate is not trusted; SSL_CERT_FILE may name those that are"
        case TimeoutError():
            return "it did not answer in time"
        case _:
            return why_not_connected(problem) or str(problem) or type(problem).__name__


def _is_wheelkeep(response: aiohttp.ClientResponse) -> bool:
    if response.headers.get("Server") == CACHE_NAME:
        return True
    # A proxy in front of it may have put its own name in the place of ours.
    return read_cache_status(response.headers.getall("Cache-Status", [])) is not None
