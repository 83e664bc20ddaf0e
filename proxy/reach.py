"""Where an index may lead us: its links and redirects must not reach into our own network.

Whoever writes a page of an index chooses what this machine connects to. So an address that is
not public is connected to only where

* the index itself lives on such a network: one on loopback may lead to loopback, one in a private
  network to private addresses; or
* it is the host of the index's own URL, or `index.link_hosts` names the host.

Names are judged by what they resolve to, and those very addresses are then connected to, so a
name cannot mean something else a moment later. Through an HTTP proxy it is the proxy that
resolves: names are judged as far as they are known here.
"""

import asyncio
import time
from enum import Enum
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from socket import AddressFamily

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from proxy.errors import LinkRefused
from proxy.settings import Index

Address = IPv4Address | IPv6Address

_HOME_SECONDS = 60.0
"""How long it is believed where the index lives."""
# Addresses of IPv4 in those of IPv6 (RFC 6052): what connects there reaches the IPv4 host.
_NAT64 = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")


class Network(Enum):
    """What kind of network an address is in."""

    PUBLIC = "the internet"
    LOOPBACK = "this machine"
    LINK_LOCAL = "the local link"
    PRIVATE = "a private network"
    NOWHERE = "no network that files come from"


def network_of(address: Address) -> Network:
    """The kind of network an address is in; that of the IPv4 address in it, where there is one."""
    if isinstance(address, IPv6Address) and (inner := _inner(address)) is not None:
        return network_of(inner)
    if address.is_loopback:
        return Network.LOOPBACK
    if address.is_link_local:
        return Network.LINK_LOCAL
    if isinstance(address, IPv6Address) and address.is_site_local:
        return Network.PRIVATE
    if address.is_multicast or address.is_unspecified or address.is_reserved:
        return Network.NOWHERE
    # "This network" (RFC 1122 §3.2.1.3): many systems take it for themselves.
    if isinstance(address, IPv4Address) and address.packed[0] == 0:
        return Network.NOWHERE
    return Network.PUBLIC if address.is_global else Network.PRIVATE


def _inner(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    # The second, since ::1 is loopback and no IPv4 address (RFC 4291 §2.5.5.1).
    is_compatible = 1 < int(address) < 1 << 32
    if address in _NAT64 or address in _NAT64_LOCAL or is_compatible:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


class Reach:
    """What one index may lead to. `resolver` looks names up."""

    def __init__(self, index: Index, resolver: AbstractResolver) -> None:
        self._index = index
        self._home = _plain(URL(index.url).host)
        self._trusted = tuple(_plain(pattern) for pattern in index.link_hosts)
        self._proxies: set[str] = set()
        self._resolver = resolver
        self._lives_on: frozenset[Network] = frozenset()
        self._looked_at: float | None = None
        self._looking = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Reach of {self._index.name}>"

    def trusts(self, host: str | None) -> bool:
        """Whether the host is the index's own, or named in its settings."""
        name = _plain(host)
        return name == self._home or any(fnmatchcase(name, pattern) for pattern in self._trusted)

    async def check(self, url: URL, proxy: URL | None) -> None:
        """Judge what is asked for next, also after a redirect. Raises `LinkRefused`.

        `proxy` is what the request goes through. Names that we resolve ourselves are judged then.
        """
        if proxy is not None and proxy.host is not None:
            self._proxies.add(_plain(proxy.host))
        if url.scheme not in ("http", "https"):
            raise LinkRefused(self._index.name, str(url), f"it leads to a {url.scheme} URL")
        if self.trusts(url.host):
            return
        host = _plain(url.host)
        if (literal := _literal(host)) is not None:
            await self._check_network(host, network_of(literal))
        elif proxy is not None or host in self._proxies:
            try:
                found = await self._resolver.resolve(host, 0, AddressFamily.AF_UNSPEC)
            except OSError:
                return  # it is the proxy's business
            await self.allowed(host, found)

    async def allowed(self, host: str, found: list[ResolveResult]) -> list[ResolveResult]:
        """Those addresses of a host that may be connected to. Raises `LinkRefused`."""
        if self.trusts(host):
            return found
        networks = [network_of(_address(one)) for one in found]
        lives_on = await self._networks_of_home()
        allowed = [one for one, network in zip(found, networks, strict=True) if network in lives_on]
        if found and not allowed:
            await self._check_network(host, networks[0])
        return allowed

    def is_proxy(self, host: str) -> bool:
        """Whether requests go through that host."""
        return _plain(host) in self._proxies

    async def _check_network(self, host: str, network: Network) -> None:
        if network not in await self._networks_of_home():
            raise LinkRefused(
                self._index.name,
                host,
                f"it leads to {host}, in {network.value}, which index.link_hosts does not name",
            )

    async def _networks_of_home(self) -> frozenset[Network]:
        """What the index may lead to by where it lives itself."""
        async with self._looking:
            now = time.monotonic()
            if self._looked_at is None or now - self._looked_at > _HOME_SECONDS:
                self._lives_on = await self._look_up_home()
                self._looked_at = now
            return self._lives_on | {Network.PUBLIC}

    async def _look_up_home(self) -> frozenset[Network]:
        if (literal := _literal(self._home)) is not None:
            return frozenset({network_of(literal)})
        try:
            found = await self._resolver.resolve(self._home, 0, AddressFamily.AF_UNSPEC)
        except OSError:
            return self._lives_on  # known only to a proxy, or for the moment not at all
        return frozenset(network_of(_address(one)) for one in found) - {Network.NOWHERE}


class GuardedResolver(AbstractResolver):
    """Looks names up for connections of one index, and gives out what it may lead to."""

    def __init__(self, reach: Reach, resolver: AbstractResolver) -> None:
        self._reach = reach
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AddressFamily.AF_INET
    ) -> list[ResolveResult]:
        """See `AbstractResolver`. Raises `LinkRefused`."""
        found = await self._resolver.resolve(host, port, family)
        return found if self._reach.is_proxy(host) else await self._reach.allowed(host, found)

    async def close(self) -> None:
        """See `AbstractResolver`."""
        await self._resolver.close()


def new_resolver() -> AbstractResolver:
    """What looks names up: the system's resolver."""
    return aiohttp.DefaultResolver()


def _plain(host: str | None) -> str:
    """A host as it can be compared: `EXAMPLE.com.` is `example.com`."""
    return (host or "").lower().rstrip(".")


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _address(found: ResolveResult) -> Address:
    return ip_address(found["host"].partition("%")[0])
