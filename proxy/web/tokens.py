"""Who may ask: tokens as pip, uv, Poetry and netrc send them, and who may purge.

A token comes as the password of basic authentication, whatever the user name (RFC 7617), or as
a bearer token (RFC 6750). Only the sha256 of each is known here. A token has so many bits that
guessing is hopeless and its plain sha256 gives nothing away.
"""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Iterable
from pathlib import Path

from aiohttp import web
from yarl import URL

from proxy.errors import Forbidden, Unauthorized
from proxy.setting_types import token_hash
from proxy.settings import Auth
from proxy.telemetry import Telemetry
from proxy.watched import WatchedFile

PREFIX = "wk_"
"""By which scanners of secrets, and people, recognise a token."""
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
_SHOWN_DIGITS = 8


def new_token() -> str:
    """A token nobody can guess, made of characters that need no escaping in a URL."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(token: str) -> str:
    """What the configuration knows a token by."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


class TokenSet:
    """Hashes of tokens: those of the configuration, and those that stand in a file by now."""

    def __init__(
        self, hashes: Iterable[str], file: Path | None, setting: str, telemetry: Telemetry
    ) -> None:
        self._hashes = tuple(hashes)
        self._file = WatchedFile(file, read_hashes, setting, telemetry) if file else None

    @property
    def is_given(self) -> bool:
        """Whether there is to be such a set; an empty file lets nobody in."""
        return bool(self._hashes) or self._file is not None

    def __contains__(self, hashed: str) -> bool:
        # All are compared, so that time tells nothing of which one it was near to.
        known = (*self._hashes, *(self._file.value() if self._file else ()))
        return sum(hmac.compare_digest(hashed, one) for one in known) > 0


class Gate:
    """Lets requests in. `open_paths` are those that need no token."""

    def __init__(self, settings: Auth, open_paths: Iterable[str], telemetry: Telemetry) -> None:
        self._tokens = TokenSet(
            settings.tokens, settings.tokens_file, "auth.tokens_file", telemetry
        )
        self._admins = TokenSet(
            settings.admin_tokens, settings.admin_tokens_file, "auth.admin_tokens_file", telemetry
        )
        self._open_paths = frozenset(open_paths)
        self.is_closed = self._tokens.is_given
        """Whether a token is asked for at all."""

    @property
    def asks_admins(self) -> bool:
        """Whether purging asks for a token, wherever one comes from."""
        return self._admins.is_given

    def is_open_at(self, path: str) -> bool:
        """Whether no token is asked for at that path, as its route has it."""
        return path in self._open_paths

    def __repr__(self) -> str:
        return f"<Gate, {'closed' if self.is_closed else 'open'}>"

    def check(self, request: web.Request) -> str | None:
        """Let the request in; the first digits of its token's sha256 where it has a known one.

        Raises `Unauthorized`.
        """
        hashed = _hash_given(request)
        known = self.known(hashed)
        resource = request.match_info.route.resource
        is_open = resource is not None and resource.canonical in self._open_paths
        if known is None and self.is_closed and not is_open:
            raise Unauthorized(was_given=hashed is not None)
        return known

    def known(self, hashed: str | None) -> str | None:
        """The first digits of the sha256 of a token that lets its bearer in; else None."""
        if hashed is not None and (hashed in self._tokens or hashed in self._admins):
            return hashed[:_SHOWN_DIGITS]
        return None

    def may_purge(self, request: web.Request) -> bool:
        """Whether `check_may_purge` lets it."""
        try:
            self.check_may_purge(request)
        except (Forbidden, Unauthorized):
            return False
        return True

    def check_may_purge(self, request: web.Request) -> None:
        """Let the request purge: by an admin token, or where there is none, from this machine.

        Raises `Unauthorized`, `Forbidden`.
        """
        if self._admins.is_given:
            hashed = _hash_given(request)
            if hashed is None or hashed not in self._admins:
                if hashed is not None and hashed in self._tokens:
                    raise Forbidden("Purging asks for one of auth.admin_tokens.")
                raise Unauthorized(was_given=hashed is not None)
            return
        # A proxy on this machine is local, and whoever asks through it is not.
        if not _is_loopback(request.remote or "") or any(
            name in request.headers for name in _FORWARDED
        ):
            raise Forbidden(
                "Without auth.admin_tokens, purging is allowed from the loopback address only, "
                "and by no proxy."
            )
        if not _is_of_this_server(request):
            raise Forbidden(
                "Without auth.admin_tokens, purging is asked of localhost or 127.0.0.1 by name, "
                "and by no page of another site."
            )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_of_this_server(request: web.Request) -> bool:
    """Whether a browser that sends this shows a page of ours, if it is a browser at all.

    A page of another site may have its own name lead to the loopback address (DNS rebinding), so
    the name counts by which we were asked.
    """
    try:
        host = URL(f"http://{request.host}").host or ""
    except ValueError:
        return False
    origin = request.headers.get("Origin")
    return (
        _is_loopback(host)
        and (origin is None or origin.partition("://")[2] == request.host)
        and request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
    )


def _hash_given(request: web.Request) -> str | None:
    return hash_in(request.headers.get("Authorization", ""))


def hash_in(authorization: str) -> str | None:
    """The sha256 of the token in that header; None where there is none to be read."""
    token = token_in(authorization)
    return None if token is None else hash_of(token)


def token_in(authorization: str) -> str | None:
    """The token in that header; None where there is none to be read."""
    scheme, _, value = authorization.strip().partition(" ")
    match scheme.lower():
        case "bearer":
            return value.strip() or None
        case "basic":
            try:
                pair = base64.b64decode(value.strip(), validate=True)
            except (binascii.Error, ValueError):
                return None
            password = pair.partition(b":")[2]
            return password.decode(errors="surrogateescape") or None
    return None


def read_hashes(path: Path) -> tuple[str, ...]:
    """One sha256 a line; what follows it is for people. Raises `ValueError`."""
    hashes = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            hashes.append(token_hash(words[0]))
        except ValueError as problem:
            raise ValueError(f"line {number} {problem}") from None
    return tuple(hashes)
