"""The machine and its place in the network: port, certificate, limits, who may ask."""

import asyncio
import platform
import resource
import socket
import sqlite3
import ssl
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import msgspec
from yarl import URL

from proxy import __version__
from proxy.doctor.findings import Finding, ok, problem, skipped, warning
from proxy.doctor.indexes import is_loopback
from proxy.doctor.settings_files import check_tokens
from proxy.errors import ConfigError, NoServer
from proxy.server import listen
from proxy.server_client import ServerAddress, ServerClient
from proxy.settings import Server, Settings
from proxy.tls import Certificate
from proxy.words import moment_in_words

_PORT, _CERTIFICATE, _ACCESS, _FILES = "port", "certificate", "access", "open files"
_SOON = timedelta(days=14)
_NAMES = ("DNS", "IP Address")
"""The kinds of names that a certificate is for."""
_FEWEST_FILES = 4096
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME: what is wrong with its dates is told in other words."""


def check_programs() -> list[Finding]:
    """What is running here, for whoever is asked for help."""
    openssl = ssl.OPENSSL_VERSION.partition(" (")[0]
    said = (
        f"wheelkeep {__version__}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, {openssl}, {platform.platform()}"
    )
    return [ok("programs", said)]


async def check_port(server: Server) -> Sequence[Finding]:
    """Whether it is free, or who answers there."""
    if server.port == 0:
        return [skipped(_PORT, "any free one is taken")]
    where = f"{server.host}:{server.port}"
    try:
        await asyncio.to_thread(_listen_for_a_moment, server)
    except ConfigError as failure:
        if not await asyncio.to_thread(_is_answered, server):
            advice = "name another by server.host and server.port"
            return [problem(_PORT, str(failure).partition(": ")[2], advice)]
        return [await _who_answers(server, where)]
    return [ok(_PORT, f"{where} is free")]


def _listen_for_a_moment(server: Server) -> None:
    for one in listen(server.host, server.port)[0]:
        one.close()


def _is_answered(server: Server) -> bool:
    address = URL(ServerAddress.of(server).url)
    with suppress(OSError), socket.create_connection((address.host, address.port), timeout=2.0):
        return True
    return False


async def _who_answers(server: Server, where: str) -> Finding:
    try:
        async with ServerClient.open(ServerAddress.of(server)) as client:
            answer = await client.ask("GET", "/stats")
    except NoServer as failure:
        advice = "stop it, or name another port by server.port"
        return problem(_PORT, f"{where} is taken: {failure.problem}", advice)
    version = ""
    with suppress(msgspec.DecodeError):  # it may ask for a token, and say so
        said = msgspec.json.decode(answer.body or b"", type=dict[str, Any])
        version = said.get("version", "")
    return ok(_PORT, f"a wheelkeep {version} answers at {where}".replace("  ", " "))


def check_certificate(server: Server) -> list[Finding]:
    """Whether the key fits, for whom it is, and for how long. Blocking."""
    if server.tls_cert is None:
        return []
    try:
        certificate = Certificate(server.tls_cert, server.tls_key)
    except ConfigError as failure:
        return [problem(_CERTIFICATE, str(failure), "serve does not start with it")]
    shown = _shown_to_a_client(certificate.context, server)
    names = [name for kind, name in shown.get("subjectAltName", ()) if kind in _NAMES]
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC)
    begins = datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notBefore"]), UTC)
    what = f"for {', '.join(names) or 'no name'}, until {ends:%Y-%m-%d}"
    left = ends - datetime.now(UTC)
    renew = "renew it; the files are looked at every minute, without a restart"
    if left <= timedelta():
        return [problem(_CERTIFICATE, f"{what}: it has expired", renew)]
    if begins > datetime.now(UTC):
        what = f"{what}: it is not valid before {moment_in_words(begins)}"
        return [problem(_CERTIFICATE, what, "is the clock right?")]
    what = f"{what} ({left.days} days left)"
    if left < _SOON:
        return [warning(_CERTIFICATE, what, renew)]
    return [ok(_CERTIFICATE, what), *_other_names(names, server)]


def _shown_to_a_client(context: ssl.SSLContext, server: Server) -> dict[str, Any]:
    """The certificate as a client reads it, by a handshake in memory."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.load_verify_locations(server.tls_cert)
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    trusting.verify_flags |= _NO_CHECK_TIME
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = trusting.wrap_bio(to_client, to_server)
    ours = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(10):
        for side in (theirs, ours):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
        if found := _peer_of(theirs):
            return found
    return {}


def _peer_of(side: ssl.SSLObject) -> dict[str, Any]:
    with suppress(ValueError):  # the handshake is not done
        return dict(side.getpeercert() or {})
    return {}


def _other_names(names: Sequence[str], server: Server) -> list[Finding]:
    host = URL(server.peer_url).host if server.peer_url.startswith("https:") else None
    if host is None or any(_fits(host, name) for name in names):
        return []
    advice = "machines that share Redis refuse it: name one of its names in server.peer_url"
    return [warning(_CERTIFICATE, f"it is not for {host}, which server.peer_url names", advice)]


def _fits(host: str, name: str) -> bool:
    is_deeper = host.count(".") != name.count(".")  # RFC 9525 §6.3: * is one label
    return host.lower() == name.lower() or (
        name.startswith("*.") and not is_deeper and fnmatchcase(host.lower(), name.lower())
    )


def check_access(settings: Settings) -> list[Finding]:
    """Who may ask and who may purge. Blocking."""
    auth, host = settings.auth, settings.server.host
    found: list[Finding] = []
    for setting in ("tokens_file", "admin_tokens_file"):
        file = getattr(auth, setting)
        if file is not None:
            found += check_tokens(file, setting)
    if auth.tokens or auth.tokens_file:
        plain = not is_loopback(host) and settings.server.tls_cert is None
        note = "; without TLS here, a proxy in front has to encrypt them" if plain else ""
        return [*found, ok(_ACCESS, f"asks for a token{note}")]
    # Whoever has set these may think that all is closed.
    asks_admins = auth.admin_tokens or auth.admin_tokens_file
    note = "; auth.admin_tokens is asked for by purging alone" if asks_admins else ""
    if is_loopback(host):
        return [*found, ok(_ACCESS, f"open to this machine ({host}){note}")]
    advice = "auth.tokens asks for one (`wheelkeep token` makes it); or listen on 127.0.0.1"
    what = f"open to everybody who reaches {host}, with the credentials of the indexes{note}"
    return [*found, warning(_ACCESS, what, advice)]


def check_open_files() -> list[Finding]:
    """How many files a server may have open. Blocking."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return [ok(_FILES, "no limit")]
    if most < _FEWEST_FILES:
        what = f"at most {most:,}: a download takes three, a client that waits one"
        return [warning(_FILES, what, "raise it: LimitNOFILE= of systemd, ulimit -Hn, nofile")]
    return [ok(_FILES, f"up to {most:,}")]
