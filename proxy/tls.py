"""The certificate that clients are shown, and the one that takes its place.

Certificates live for weeks and servers for months: the files are looked at every minute, and
connections that begin later are shown what they hold by then. A connection takes its context
whole when the client's first message has come, so nobody ever meets the new certificate with the
old key.
"""

import asyncio
import ssl
from pathlib import Path
from typing import Self

import structlog

from proxy.errors import ConfigError
from proxy.settings import Server
from proxy.watched import Identity, identity_of

HANDSHAKE_SECONDS = 10.0
"""How long a client may take until its connection is encrypted."""
SHUTDOWN_SECONDS = 2.0
"""How long it may take to say goodbye: many never do."""
LOOK_SECONDS = 60.0

_OF_THE_CERTIFICATE = ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK")


class Certificate:
    """A certificate with its key. `context` is what the server listens with, for ever.

    `cert` is a file (PEM) with the certificate and those between it and the root; the key is
    in `key`, or in the same file where that is None. Reads them, and raises `ConfigError`.
    """

    def __init__(self, cert: Path, key: Path | None) -> None:
        self._cert, self._key = cert, key
        self._log = structlog.get_logger("wheelkeep")
        self._state = self._look_at_files()
        self.context = self._current = _load(cert, key)
        self.context.sni_callback = self._choose

    def __repr__(self) -> str:
        return f"<Certificate of {self._cert}>"

    @classmethod
    def of(cls, server: Server) -> Self | None:
        """What these settings name; None where clients speak plain HTTP. See `__init__`."""
        return cls(server.tls_cert, server.tls_key) if server.tls_cert is not None else None

    async def keep_up(self) -> None:
        """Look at the files every `LOOK_SECONDS`. Never ends."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Take what the files hold, where they have changed and are right. Blocking."""
        state = self._look_at_files()
        if state == self._state:
            return
        self._state = state  # what is wrong is told once, and tried again when it changes
        try:
            self._current = _load(self._cert, self._key)
        except ConfigError as problem:
            self._log.error("new certificate not taken; the old one stays", problem=str(problem))
        else:
            self._log.info("new certificate taken", file=str(self._cert))

    def _choose(self, tls: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called with the first message of each client, also of one that names no server."""
        tls.context = self._current

    def _look_at_files(self) -> list[Identity | int | None]:
        return [_state_of(path) for path in (self._cert, self._key) if path is not None]


def _state_of(path: Path) -> Identity | int | None:
    """Differs when the file has changed, or became readable."""
    try:
        return identity_of(path.stat())
    except OSError as problem:
        return problem.errno


class _HasPassPhraseError(Exception):
    """The key is encrypted."""


def _refuse_pass_phrase() -> str:
    # Without this, OpenSSL would ask on the terminal, and wait there.
    raise _HasPassPhraseError


def _load(cert: Path, key: Path | None) -> ssl.SSLContext:
    """A context of its own for that pair. Raises `ConfigError`, which names key and file."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _check_certificates(cert)
    where = f"server.tls_key: {key}" if key is not None else f"server.tls_cert: {cert}"
    try:
        context.load_cert_chain(cert, key, password=_refuse_pass_phrase)
    except OSError as problem:  # which an `SSLError` is, too
        reason = getattr(problem, "reason", None)
        if not isinstance(problem, ssl.SSLError):
            text = f"{where} cannot be read: {problem.strerror}"
        elif reason in _OF_THE_CERTIFICATE:
            text = f"server.tls_cert: {cert}: {reason.replace('_', ' ').lower()}"
        elif reason == "KEY_VALUES_MISMATCH":
            text = f"{where}: the key does not belong to the certificate in {cert}"
        else:
            elsewhere = "" if key is not None else "; name its file in server.tls_key"
            text = f"{where} has no private key (PEM) that can be read{elsewhere}"
        raise ConfigError(text) from problem
    except _HasPassPhraseError:
        raise ConfigError(f"{where}: the key has a pass phrase; store it without one") from None
    return context


def _check_certificates(path: Path) -> None:
    """Raise `ConfigError` where they are no certificates: `load_cert_chain` names no culprit."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except ssl.SSLError as problem:
        raise ConfigError(
            f"server.tls_cert: {path} has no certificates (PEM) that can be read"
        ) from problem
    except OSError as problem:
        raise ConfigError(
            f"server.tls_cert: {path} cannot be read: {problem.strerror}"
        ) from problem
