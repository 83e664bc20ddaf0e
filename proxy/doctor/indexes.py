"""The indexes: each is asked for one small page, by the client that the server has for it.

That is the project `pip`, or for an index whose names are reserved one of these names: a name
that is for another index is not told to it. Where it does not have the project, its list of
projects is opened and not read.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp
from yarl import URL

from proxy.doctor.findings import Finding, ok, problem, skipped, warning
from proxy.doctor.overheard import Overheard
from proxy.errors import ProjectNotFound, UpstreamError, UpstreamTimeout
from proxy.folder import Folder
from proxy.reach import Network, literal_address, network_of
from proxy.sessions import proxy_for
from proxy.settings import Index
from proxy.simple.model import ProjectName, normalize
from proxy.simple.parse import JSON_TYPES, MalformedPage, parse_project
from proxy.upstream import NewPage
from proxy.upstream_http import HttpUpstream
from proxy.words import counted, seconds_in_words

_SLOW_SECONDS = 2.0
_SKEWED = timedelta(seconds=60)
_ANYTHING = ProjectName("pip")
_MADE_UP = "wheelkeep-doctor"


async def check_index(index: Index, others: Sequence[str], *, offline: bool) -> Sequence[Finding]:
    """One over HTTP. `others`: the URLs of the other indexes. Raises `ConfigError`."""
    name = f"index {index.name}"
    if offline:
        return [skipped(name, f"{index.url} is not asked while cache.offline is set")]
    overheard = Overheard(name)
    async with HttpUpstream.open(index, overheard.telemetry, others=others) as upstream:
        try:
            asked = await _ask(upstream)
        except UpstreamError as failure:
            found = [problem(name, f"{index.url}: {failure.problem}", _advice(failure, index))]
        else:
            found = _judged(name, index, asked)
    return [*found, *_in_the_clear(name, index), *overheard.warnings]


async def check_folder_index(index: Index, folder: Path) -> Sequence[Finding]:
    """A folder of wheels."""
    name = f"index {index.name}"
    try:
        scan = await asyncio.to_thread(Folder(folder).scan)
    except OSError as failure:
        where = failure.filename or folder
        return [problem(name, f"{where} cannot be read: {failure.strerror}", "see index.url")]
    files = sum(len(found) for found in scan.values())
    if not files:
        return [warning(name, f"{folder} has no wheels and no source distributions")]
    projects = counted(len(scan), "project")
    return [ok(name, f"{counted(files, 'file')} of {projects} in {folder}")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What an index answered. `page` None: it does not have the project."""

    project: ProjectName
    page: NewPage | None
    has_list: bool
    seconds: float
    """Until the first answer, with the connection made."""
    again_seconds: float
    """Until the second one."""


async def _ask(upstream: HttpUpstream) -> _Asked:
    """Raises `UpstreamError`."""
    project = _project_of(upstream.index)
    begun = time.monotonic()
    page = await _page(upstream, project)
    between = time.monotonic()
    has_list = False
    if page is None:
        has_list = await _has_list(upstream)
    else:
        await upstream.page(project, page.validators)
    return _Asked(
        project=project,
        page=page,
        has_list=has_list,
        seconds=between - begun,
        again_seconds=time.monotonic() - between,
    )


def _project_of(index: Index) -> ProjectName:
    """A name that the index may be asked for."""
    if "*" in index.projects:
        return _ANYTHING
    plain = [one for one in index.projects if not set(one) & set("*?")]
    pattern = (plain or index.projects)[0]
    name = pattern.replace("*", _MADE_UP).replace("?", "x")
    return normalize(name) or _ANYTHING


async def _page(upstream: HttpUpstream, project: ProjectName) -> NewPage | None:
    try:
        answer = await upstream.page(project)
    except ProjectNotFound:
        return None
    assert isinstance(answer, NewPage), "304 is accepted only where validators were sent"
    return answer


async def _has_list(upstream: HttpUpstream) -> bool:
    """Whether there is anything at its own address. That may be large, and is not read."""
    try:
        async with upstream.file(upstream.index.url) as stream, aclosing(stream.chunks) as chunks:
            async for _ in chunks:
                return True
    except UpstreamError:
        return False
    return False


def _judged(name: str, index: Index, asked: _Asked) -> list[Finding]:
    way = _way(index)
    timing = f"{seconds_in_words(asked.seconds)}, then {seconds_in_words(asked.again_seconds)}"
    if asked.page is None:
        return [_without_project(name, index, asked, f"{timing}{way}")]
    page = asked.page
    try:
        content = parse_project(
            page.body,
            content_type=page.content_type,
            charset=page.charset,
            url=page.url,
            project=asked.project,
        )
    except MalformedPage as wrong:
        what = f"{index.url} answers what is no page of the Simple API: {wrong}"
        return [problem(name, what, "index.url must be the address of its /simple/ page")]
    form = "JSON" if page.content_type in JSON_TYPES else "HTML"
    files = counted(len(content.files), "file")
    found = [ok(name, f"{index.url}: {form}, {files} of {asked.project}; {timing}{way}")]
    if asked.again_seconds > _SLOW_SECONDS:
        what = f"a page takes {seconds_in_words(asked.again_seconds)}"
        found.append(warning(name, what, "a longer cache.page_ttl has it asked less often"))
    return [*found, *_clock(page)]


def _without_project(name: str, index: Index, asked: _Asked, timing: str) -> Finding:
    if not asked.has_list:
        what = f"{index.url} has neither the project {asked.project} nor a list of projects"
        return warning(name, what, "is index.url the address of its /simple/ page?")
    if asked.project in {normalize(pattern) for pattern in index.projects}:
        what = f"{index.url} has no project {asked.project}, and the name is reserved for it"
        return warning(name, what, "nobody else is asked for that name: correct index.projects?")
    return ok(name, f"{index.url} answers, and has no project {asked.project}; {timing}")


def _way(index: Index) -> str:
    """By which HTTP proxy it was asked, as the end of a sentence."""
    try:
        proxy = proxy_for(URL(index.url), index.proxy)
    except ValueError:
        return ""
    return f"; by the HTTP proxy {proxy.host}:{proxy.port}" if proxy else ""


def _clock(page: NewPage) -> list[Finding]:
    """Whether our clock and the index's agree."""
    try:
        then = parsedate_to_datetime(page.headers.get("Date", ""))
        age = timedelta(seconds=int(page.headers.get("Age", "0")))
    except (ValueError, OverflowError):
        return []
    skew = datetime.now(UTC) - (then.replace(tzinfo=then.tzinfo or UTC) + age)
    if abs(skew) < _SKEWED:
        return []
    direction = "ahead of" if skew > timedelta() else "behind"
    what = f"this clock is {seconds_in_words(abs(skew).total_seconds())} {direction} the index's"
    return [warning("clock", what, "have it set by NTP: ages of files and pages depend on it")]


def _in_the_clear(name: str, index: Index) -> list[Finding]:
    url = URL(index.url)
    has_password = index.password.get_secret_value() or index.password_file is not None
    if url.scheme != "http" or not has_password or is_loopback(url.host or ""):
        return []
    return [warning(name, "the password goes over the network in the clear", "use an https URL")]


def is_loopback(host: str) -> bool:
    """Whether that host is this machine, by its name or address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = literal_address(host)
    except ValueError:
        return False
    return address is not None and address.is_loopback and network_of(address) is Network.LOOPBACK


def _advice(failure: UpstreamError, index: Index) -> str:
    if failure.answered in (401, 403, 407):
        if index.username or index.password_file is not None or index.password.get_secret_value():
            return "the username or password of this index is not right, or may not read it"
        return "give it username and password (or password_file), or an entry in netrc"
    if failure.answered is not None and failure.answered >= 500:
        return "the index itself is out of order; stale pages are served meanwhile"
    match failure.__cause__:
        case aiohttp.ClientConnectorCertificateError():
            return "nothing is taken from it before that is put right"
        case aiohttp.ClientConnectorDNSError():
            return "its name is not known here: look at index.url, and at DNS"
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return "look at index.proxy, HTTPS_PROXY and NO_PROXY"
        case aiohttp.ClientConnectorError():
            return "nobody listens there, or a firewall is in between; index.proxy names a proxy"
    if isinstance(failure, UpstreamTimeout):
        return "a firewall may drop what is sent there; index.proxy names a proxy"
    return ""
