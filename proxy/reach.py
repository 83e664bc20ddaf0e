"""Where the links of an index may lead.

A page is not ours, and neither are its links: one to 169.254.169.254, or a redirect to a
machine of the private network, would have wheelkeep ask there on behalf of whoever wrote it
(server-side request forgery). So its links lead to public addresses, to networks of the kind
that the index itself lives on, to its own host, and to what `index.link_hosts` names.

That is checked at each hop. A name is checked where it is resolved, and the connector gets no
other addresses than those found good: it cannot mean one when it is checked and another when it
is connected to. An address in a URL never comes to a resolver, and is checked ahead of the
connector; so is a name that an HTTP proxy will resolve, as far as it can be resolved here.

Read first: RFC 6890 and the IANA special-purpose address registries behind `ipaddress`.
"""

import asyncio
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from cachetools import TTLCache
from yarl import URL

from proxy.errors import AnswerOfAnother, LinkRefused
from proxy.flight import Flight
from proxy.settings import Index

Address = IPv4Address | IPv6Address

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
# What browsers take for an IPv4 address (WHATWG URL §3.5): 127.1, 0x7f000001, 2130706433.
_ENDS_IN_NUMBER = re.compile(r"(?:\A|\.)(?:[0-9]+|0x[0-9a-f]*)\Z", re.ASCII | re.IGNORECASE)
_REMEMBERED_SECONDS = 60.0
_LOOK_UP_SECONDS = 2.0


class Network(Enum):
    """What kind of network an address belongs to."""

    PUBLIC = "public"
    PRIVATE = "private"
    """And whatever else is not reached from everywhere: shared, reserved, multicast."""
    LINK_LOCAL = "link-local"
    LOOPBACK = "loopback"


def network_of(address: Address) -> Network:
    """The kind of network it belongs to; of one that carries an IPv4 address, that of this."""
    if (carried := _carried(address)) is not None:
        return network_of(carried)
    # A socket that is connected to 0.0.0.0 or :: is connected to this machine.
    if address.is_loopback or address.is_unspecified:
        return Network.LOOPBACK
    if address.is_link_local:
        return Network.LINK_LOCAL
    is_unicast = address in _GLOBAL_UNICAST if address.version == 6 else not address.is_multicast
    return Network.PUBLIC if is_unicast and address.is_global else Network.PRIVATE


def literal_address(host: str) -> Address | None:
    """The address that the host of a URL is; None where it is a name.

    Raises `ValueError` for an address in a spelling that some programs take and others do not,
    or take for another one.
    """
    host = host.rstrip(".")
    with suppress(ValueError):
        return ip_address(host)
    if ":" in host or "%" in host or _ENDS_IN_NUMBER.search(host):
        raise ValueError("is an address, and spelled as none should be")
    return None


@lru_cache(1024)  # the same few hosts are asked for with each request
def plain_host(host: str) -> str:
    """The one form of a URL's host by which it is compared."""
    host = host.lower().rstrip(".")
    if ":" in host:
        host = host.strip("[]")
    with suppress(ValueError):
        return str(ip_address(host))
    return host


def origin_of(url: URL) -> tuple[str, str, int | None]:
    """Scheme, host and port (RFC 6454 §4), to be compared.

    Those of the library differ where one URL names the port that goes without saying.
    """
    return url.scheme, plain_host(url.raw_host or ""), url.port


def is_named(host: str, patterns: Iterable[str]) -> bool:
    """Whether the host of a URL matches one of `index.link_hosts`."""
    return any(fnmatchcase(plain_host(host), plain_host(pattern)) for pattern in patterns)


class Reach:
    """Lets the requests for one index go where its links may lead, and no others.

    `check` is a middleware of the HTTP client, `GuardingResolver` stands in its connector; both
    raise `LinkRefused` ahead of any connection. `others` are the URLs of the other indexes.
    """

    def __init__(
        self, index: Index, resolver: AbstractResolver, others: Iterable[str] = ()
    ) -> None:
        self._index = index.name
        self._url = str(URL(index.url))
        self._others = [str(URL(other)) for other in others]
        self._host = plain_host(URL(index.url).raw_host or "")
        self._link_hosts = index.link_hosts
        self._names = _Names(resolver)
        self._home: frozenset[Network] = frozenset()
        self._proxies: set[str] = set()

    def __repr__(self) -> str:
        return f"<Reach of {self._index}: {self._host}, {', '.join(self._link_hosts)}>"

    async def close(self) -> None:
        """Stop what is under way."""
        await self._names.close()

    async def check(
        self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Refuse a hop that the resolver would not see, or not be able to tell."""
        url = request.url
        if url.scheme not in ("http", "https"):
            raise aiohttp.NonHttpUrlClientError(url)
        self._check_is_no_other(str(url))
        if request.proxy is not None:
            self._proxies.add(plain_host(request.proxy.raw_host or ""))
        await self._check_host(url.raw_host or "", is_proxied=request.proxy is not None)
        return await send(request)

    async def only_allowed(self, host: str, found: list[ResolveResult]) -> list[ResolveResult]:
        """Those addresses of a host that may be connected to. Raises `LinkRefused`: none."""
        if self._is_trusted(host) or plain_host(host) in self._proxies:
            return found
        if not found:
            raise OSError("it has no address")
        allowed = [one for one in found if await self._may_reach(ip_address(one["host"]))]
        if not allowed:
            raise self._refused(host, network_of(ip_address(found[0]["host"])))
        return allowed

    def _check_is_no_other(self, url: str) -> None:
        """Some indexes forward to another what they do not have, private names among it."""
        other = next((other for other in self._others if url.startswith(other)), None)
        if other is not None and not url.startswith(self._url):
            raise AnswerOfAnother(self._index, other)

    async def _check_host(self, host: str, *, is_proxied: bool) -> None:
        if self._is_trusted(host):
            return
        try:
            address = literal_address(host)
        except ValueError as problem:
            raise LinkRefused(self._index, host, f"its host {problem}") from None
        # All are asked for: the proxy takes whichever it likes, and to the proxy's own name the
        # resolver gives all.
        if address is not None:
            reached: tuple[Address, ...] = (address,)
        elif is_proxied or plain_host(host) in self._proxies:
            reached = await self._names.addresses(host)
        else:
            return
        for one in reached:
            if not await self._may_reach(one):
                raise self._refused(host, network_of(one))

    def _is_trusted(self, host: str) -> bool:
        return plain_host(host) == self._host or is_named(host, self._link_hosts)

    async def _may_reach(self, address: Address) -> bool:
        network = network_of(address)
        return network is Network.PUBLIC or network in await self._networks_of_index()

    async def _networks_of_index(self) -> frozenset[Network]:
        """The kinds of network that the index lives on; as last known while it has no address."""
        own = literal_address(self._host)
        addresses = (own,) if own is not None else await self._names.addresses(self._host)
        if addresses:
            self._home = frozenset(map(network_of, addresses))
        return self._home

    def _refused(self, host: str, network: Network) -> LinkRefused:
        reason = f"its address is {network.value}, and index.link_hosts does not name the host"
        return LinkRefused(self._index, host, reason)


class GuardingResolver(AbstractResolver):
    """Resolves names into those of their addresses that may be connected to."""

    def __init__(self, resolver: AbstractResolver, reach: Reach) -> None:
        self._resolver = resolver
        self._reach = reach

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See `AbstractResolver`. Raises `LinkRefused`."""
        found = await self._resolver.resolve(host, port, family)
        return await self._reach.only_allowed(host, found)

    async def close(self) -> None:
        """See `AbstractResolver`."""
        await self._resolver.close()


class _Names:
    """What names mean here, where nothing is to be connected to; remembered for a while."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver
        self._known: TTLCache[str, tuple[Address, ...]] = TTLCache(1000, _REMEMBERED_SECONDS)
        # Where nobody resolves names, each question holds a thread until it is given up.
        self._flight: Flight[tuple[Address, ...]] = Flight()

    async def addresses(self, host: str) -> tuple[Address, ...]:
        """All that are known for it, none where it cannot be resolved here."""
        known = self._known.get(host)
        if known is None:
            known = await self._flight.join(host, partial(self._look_up, host))
            self._known[host] = known
        return known

    async def close(self) -> None:
        await self._flight.close()

    async def _look_up(self, host: str) -> tuple[Address, ...]:
        try:
            async with asyncio.timeout(_LOOK_UP_SECONDS):
                found = await self._resolver.resolve(host, 0, socket.AF_UNSPEC)
        except (OSError, UnicodeError):  # UnicodeError: a label that no name has
            return ()
        return tuple(ip_address(one["host"]) for one in found)


def _carried(address: Address) -> IPv4Address | None:
    """The IPv4 address that one of IPv6 stands for (RFC 4291 §2.5.5.2, RFC 3056, RFC 6052)."""
    if not isinstance(address, IPv6Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
