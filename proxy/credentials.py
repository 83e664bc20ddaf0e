"""What an index is shown: the user name and the password that are meant for it, and no others.

They go to the origin of the index's own URL, at each step of a redirect, and nowhere else.
Without any in the configuration netrc is looked at, for the index's own host and for the hosts
that its settings name: a page must not make us log in wherever it pleases.
"""

import netrc
import os
from pathlib import Path

import aiohttp
from yarl import URL

from proxy.errors import ConfigError
from proxy.reach import Reach
from proxy.settings import Index
from proxy.telemetry import Telemetry
from proxy.watched import WatchedFile


class Credentials:
    """The credentials for one index. Raises `ConfigError` where its password file is wrong."""

    def __init__(self, index: Index, reach: Reach, telemetry: Telemetry) -> None:
        self._origin = URL(index.url).origin()
        self._username = index.username
        self._password = index.password.get_secret_value()
        self._reach = reach
        self._file = (
            WatchedFile(index.password_file, _password, "index.password_file", telemetry)
            if index.password_file
            else None
        )
        self._has_own = bool(self._username or self._password or self._file)
        self._netrc = None if self._has_own else _find_netrc(telemetry)

    def __repr__(self) -> str:
        return f"<Credentials for {self._origin}>"

    def header_for(self, url: URL) -> str | None:
        """The Authorization header for a request to that URL; None: there are none for it."""
        if self._has_own:
            if url.origin() != self._origin:
                return None
            password = self._file.value() if self._file else self._password
            return aiohttp.encode_basic_auth(self._username, password)
        if self._netrc is None or not self._reach.trusts(url.host):
            return None
        found = self._netrc.value().authenticators(url.host or "")
        return aiohttp.encode_basic_auth(found[0], found[2] or "") if found else None


def _password(path: Path) -> str:
    """The first line, as secrets are written to files. Raises `ValueError`."""
    password = path.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    if not password:
        raise ValueError("is empty")
    return password


def _find_netrc(telemetry: Telemetry) -> WatchedFile[netrc.netrc] | None:
    """$NETRC or ~/.netrc. One that cannot be read is told, and is no reason not to start."""
    path = Path(os.environ.get("NETRC") or Path("~/.netrc")).expanduser()
    if not path.is_file():
        return None
    try:
        return WatchedFile(path, _read_netrc, "netrc", telemetry)
    except ConfigError as problem:
        telemetry.log.warning("netrc is not used", problem=str(problem))
        return None


def _read_netrc(path: Path) -> netrc.netrc:
    """Raises `ValueError`, which quotes nothing."""
    try:
        return netrc.netrc(str(path))
    except netrc.NetrcParseError as problem:
        raise ValueError(f"line {problem.lineno} cannot be read") from None
