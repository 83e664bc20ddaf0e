"""Runs all checks side by side, each with a time-out, and hides what is secret in what they say."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from msgspec.structs import replace

from proxy.doctor.findings import Finding, problem
from proxy.doctor.folder import check_folder, check_tables
from proxy.doctor.indexes import check_folder_index, check_index
from proxy.doctor.machine import (
    check_access,
    check_certificate,
    check_open_files,
    check_port,
    check_programs,
)
from proxy.doctor.settings_files import check_settings
from proxy.errors import ConfigError, ProxyError, without_secrets
from proxy.settings import Settings

_SECONDS = 25.0
"""An index has ten for its page, and may be asked twice."""
_SHORTEST_SECRET = 4
_FAILED = (ConfigError, ProxyError, OSError)

Result = TypeVar("Result")
_Look = Callable[[], Awaitable[Sequence[Finding]]]
_Blocking = Callable[[], Sequence[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at, named for what it is."""

    name: str
    look: _Look


def checks_of(settings: Settings, indexes: Sequence[str] = ()) -> list[Check]:
    """All checks, in the order in which they are told. `indexes`: only these; empty: all."""
    cache = settings.cache
    first: dict[str, _Blocking] = {
        "programs": check_programs,
        "settings": partial(check_settings, settings),
        "cache folder": partial(check_folder, cache),
        "tables": partial(check_tables, cache),
    }
    checks = [Check(name, partial(asyncio.to_thread, look)) for name, look in first.items()]
    for index in settings.index:
        if indexes and index.name not in indexes:
            continue
        if index.folder is not None:
            check: _Look = partial(check_folder_index, index, index.folder)
        else:
            others = [other.url for other in settings.index if other is not index]
            check = partial(check_index, index, others, offline=cache.offline)
        checks.append(Check(f"index {index.name}", check))
    checks += _shared(settings)
    checks.append(Check("port", partial(check_port, settings.server)))
    last: dict[str, _Blocking] = {
        "certificate": partial(check_certificate, settings.server),
        "access": partial(check_access, settings),
        "open files": check_open_files,
    }
    checks += [Check(name, partial(asyncio.to_thread, look)) for name, look in last.items()]
    return checks


def _shared(settings: Settings) -> list[Check]:
    """Of what machines share; its libraries take long to load."""
    cache, found = settings.cache, []
    if cache.redis:
        from proxy.doctor.redis import check_peers, check_redis  # noqa: PLC0415

        found.append(Check("Redis", partial(check_redis, settings)))
        found.append(Check("peers", partial(check_peers, settings)))
    if cache.blobs:
        from proxy.doctor.objects import check_objects  # noqa: PLC0415

        found.append(Check("object store", partial(check_objects, cache.blobs)))
    return found


async def examine(settings: Settings, indexes: Sequence[str] = ()) -> list[Finding]:
    """What all checks find. Takes no longer than the longest of them, and that is bounded."""
    # A disk or a name server that hangs would keep the process from ending.
    asyncio.get_running_loop().set_default_executor(_LooseThreads())
    checks = checks_of(settings, indexes)
    found = await asyncio.gather(*(_look(check) for check in checks))
    hide = partial(_without, _secrets(settings))
    return [
        replace(one, found=hide(one.found), advice=hide(one.advice))
        for findings in found
        for one in findings
    ]


async def _look(check: Check) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(_SECONDS):
            return await check.look()
    except TimeoutError:
        return [problem(check.name, f"says nothing for {_SECONDS:.0f} s")]
    except _FAILED as failure:
        return [problem(check.name, str(failure))]
    except Exception as failure:  # a check that is wrong must not hide what the others found
        reason = f"could not be looked at: {type(failure).__name__}: {failure}"
        return [problem(check.name, reason)]


class _LooseThreads(ThreadPoolExecutor):
    """Threads that nobody waits for when the process ends."""

    def submit(
        self, work: Callable[..., Result], /, *arguments: Any, **keywords: Any
    ) -> Future[Result]:
        """See `Executor`."""
        future: Future[Result] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work(*arguments, **keywords))
            except BaseException as failure:
                future.set_exception(failure)

        threading.Thread(target=run, daemon=True).start()
        return future


def _secrets(settings: Settings) -> set[str]:
    """Every secret of the settings, as it may stand in what a library says.

    One of three letters is in any sentence, and would make all of them unreadable.
    """
    found = {index.password.get_secret_value() for index in settings.index}
    for url in (settings.cache.redis, *(index.proxy for index in settings.index)):
        password = _password(url)
        found |= {password, unquote(password)}
    return {secret for secret in found if len(secret) >= _SHORTEST_SECRET}


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:
        return ""


def _without(secrets: Iterable[str], text: str) -> str:
    text = without_secrets(text)
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
