"""Who wheelkeep is to an index: user name and password, and where they go.

Those of the configuration go to the origin of the index's own URL. Without them netrc counts,
for the host of the index and for those that `index.link_hosts` names, and never in the clear
where the index is asked over https. Whatever else an index links or redirects to is told nothing.
Credentials that a link has of its own come first; the HTTP client keeps them to their origin.
"""

import asyncio
import math
import netrc
import os
import time
from pathlib import Path

import aiohttp
from yarl import URL

from proxy.reach import is_named, origin_of, plain_host
from proxy.settings import Index
from proxy.telemetry import Telemetry
from proxy.watched import WatchedFile

UserAndPassword = tuple[str, str]

_LOOK_SECONDS = 1.0
"""How long netrc is taken to be what it was: to read it takes longer than to send a request."""


class Credentials:
    """Those of one index. Raises `ConfigError` where `password_file` cannot be used."""

    def __init__(self, index: Index, telemetry: Telemetry) -> None:
        self._index = index
        self._url = URL(index.url)
        self._telemetry = telemetry
        self._file: WatchedFile[str] | None = None
        if index.password_file is not None:
            setting = f"index.password_file of the index {index.name}"
            self._file = WatchedFile(index.password_file, _one_line, setting, telemetry)
        self._complaint = ""
        self._netrc: netrc.netrc | None = None
        self._read_at = -math.inf

    def __repr__(self) -> str:
        return f"<Credentials of {self._index.name}>"

    async def identify(
        self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Say who asks, where that may be known. A middleware of the client: at each hop anew."""
        if "Authorization" not in request.headers:
            known = self._configured()
            if known is None:
                known = await self._from_netrc(request.url)
            elif origin_of(request.url) != origin_of(self._url):
                known = None
            if known is not None:
                request.headers["Authorization"] = aiohttp.encode_basic_auth(*known)
        return await send(request)

    def _configured(self) -> UserAndPassword | None:
        user, password = self._index.username, self._index.password.get_secret_value()
        if self._file is not None:
            password = self._file.value()
        return (user, password) if user or password else None

    async def _from_netrc(self, url: URL) -> UserAndPassword | None:
        if self._url.scheme == "https" and url.scheme != "https":
            return None
        is_own = plain_host(url.raw_host or "") == plain_host(self._url.raw_host or "")
        if not is_own and not is_named(url.raw_host or "", self._index.link_hosts):
            return None
        found = await self._current_netrc()
        host = url.host or ""
        if found is None:
            return None
        # The entry for whatever host there is (`default`) is not for one that a pattern names.
        entry = found.authenticators(host) if is_own else found.hosts.get(host)
        return (entry[0] or entry[1] or "", entry[2] or "") if entry else None

    async def _current_netrc(self) -> netrc.netrc | None:
        """What netrc says; read once a second at the most."""
        now = time.monotonic()
        if now - self._read_at >= _LOOK_SECONDS:
            self._netrc = await asyncio.to_thread(self._read_netrc)
            self._read_at = now
        return self._netrc

    def _read_netrc(self) -> netrc.netrc | None:
        """What netrc says by now. One that cannot be read is told of once, and is none."""
        complaint = ""
        try:
            return netrc.netrc(_netrc_path())
        except FileNotFoundError:
            return None
        except netrc.NetrcParseError as problem:  # whose words quote what stands there
            complaint = f"line {problem.lineno} cannot be understood"
        except UnicodeDecodeError:
            complaint = "is no text"
        except (OSError, RuntimeError) as problem:  # RuntimeError: nobody's home
            complaint = str(problem)
        if complaint != self._complaint:
            self._telemetry.log.warning("netrc cannot be used", problem=complaint)
        self._complaint = complaint
        return None


def _netrc_path() -> str:
    named = os.environ.get("NETRC")
    return str(Path(named).expanduser() if named else Path.home() / ".netrc")


def _one_line(path: Path) -> str:
    password = path.read_text(encoding="utf-8").rstrip("\r\n")
    if not password or "\n" in password or "\r" in password:
        raise ValueError("must hold the password, in one line")
    return password
