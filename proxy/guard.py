"""Around one question to an index: it is left alone while it fails, and asked again in a deadline.

Each kind of questions has a breaker of its own at each host: what fails beside the project pages (a
provenance may lie at a host of its own) says nothing of them.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

import stamina
from cachetools import LRUCache
from yarl import URL

from proxy.breaker import Breaker
from proxy.errors import (
    AnswerOfAnother,
    ProjectNotFound,
    ProxyError,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
    forget_frames,
)
from proxy.settings import Index
from proxy.simple.model import ProjectName
from proxy.telemetry import Telemetry
from proxy.traces import Span
from proxy.transport import worth_another_try
from proxy.upstream import NewPage, Unchanged

_ATTEMPTS = 3
_REMEMBERED_BREAKERS = 64

Ask = Callable[[], Awaitable[Unchanged | NewPage]]


class Guard:
    """Lets questions to one index through."""

    def __init__(self, index: Index, telemetry: Telemetry) -> None:
        self._name = index.name
        self._origin = URL(index.url).origin()
        self._telemetry = telemetry
        self._breakers: LRUCache[tuple[URL, str], Breaker] = LRUCache(_REMEMBERED_BREAKERS)
        self.pages = _new_breaker()
        """Of the project pages."""

    def breaker_of(self, url: str, kind: str) -> Breaker:
        """That of one kind of documents at one host."""
        try:
            origin = URL(url).origin()
        except ValueError:
            origin = self._origin
        return self._breakers.setdefault((origin, kind), _new_breaker())

    async def ask(
        self, url: str, project: ProjectName, deadline: float, ask: Ask, breaker: Breaker
    ) -> Unchanged | NewPage:
        """What `ask` says, in so many seconds. Raises `UpstreamError`, `ProjectNotFound`."""
        if not breaker.allows(time.monotonic()):
            wait = breaker.seconds_left(time.monotonic())
            raise UpstreamUnavailable(
                self._name, url, f"it failed repeatedly and is asked again in {wait:.0f} s"
            )
        facts = {"wheelkeep.index": self._name, "wheelkeep.project": project}
        try:
            with self._telemetry.traces.span("ask index", facts) as span:
                async with asyncio.timeout(deadline):
                    answer = await self._retrying(deadline, ask, span)
        except TimeoutError as problem:
            late = UpstreamTimeout(self._name, url, f"no answer in {deadline:.0f} s")
            self._failed(late, project, breaker)
            raise late from problem
        except UpstreamUnavailable as problem:
            self._failed(problem, project, breaker)
            raise
        except (AnswerOfAnother, ProjectNotFound) as problem:
            breaker.succeeded()
            # The retries keep that one until the collector comes by, and it the frames above.
            forget_frames(problem)
            raise ProjectNotFound(project) from problem
        except ProxyError as problem:
            breaker.succeeded()
            if isinstance(problem, UpstreamError):
                self._telemetry.upstream.failed(self._name, "page", problem, project)
            raise
        breaker.succeeded()
        return answer

    def _failed(self, problem: UpstreamUnavailable, project: ProjectName, breaker: Breaker) -> None:
        breaker.failed(time.monotonic(), problem.problem)
        self._telemetry.upstream.failed(self._name, "page", problem, project)

    @staticmethod
    async def _retrying(deadline: float, ask: Ask, span: Span) -> Unchanged | NewPage:
        async for attempt in stamina.retry_context(
            on=partial(worth_another_try, longest_wait=deadline),
            attempts=_ATTEMPTS,
            timeout=deadline,
            wait_initial=0.1,
            wait_max=1.0,
            wait_jitter=0.2,
        ):
            if attempt.num > 1:
                span.event("retry", {"http.request.resend_count": attempt.num - 1})
            with attempt:
                return await ask()
        raise AssertionError("stamina gives up by raising")


def _new_breaker() -> Breaker:
    return Breaker(threshold=5, first_pause=1.0, longest_pause=30.0)
