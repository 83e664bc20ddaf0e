"""Pages for people in a browser: their templates, and what a browser may do with them.

Nothing of another origin, no script and no style that stands in the page itself, and all links
relative: a page is right below any prefix, behind any host name and scheme.
"""

import asyncio
import gzip
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from aiohttp import web

from proxy import __version__
from proxy.errors import NotAcceptable, ProxyError, Unauthorized
from proxy.simple.negotiate import Coding, choose_coding, prefers_json
from proxy.web import words
from proxy.web.access import NOTE, journey_of
from proxy.web.described import Answer
from proxy.web.replies import NOT_CACHED, reply
from proxy.web.static_files import StaticFiles
from proxy.words import moment_in_words, size_in_words

if TYPE_CHECKING:
    from jinja2 import Environment

_FORMATS = ("json", "html")
_PACKING_LEVEL = 4
"""A page is read once: to pack it better takes longer than to send it."""
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
_PORT = re.compile(r":\d+\Z")
SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    **NOT_CACHED,
    "Content-Security-Policy": SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept, Accept-Encoding",
}

JsonOrHtml = Annotated[
    Literal["json", "html"], msgspec.Meta(description="The form of the answer; it beats `Accept`.")
]


def json_or_html(shape: type[msgspec.Struct]) -> Answer:
    """The answer, for `described`."""
    return Answer("", {"application/json": shape, "text/html": str}, ("Vary",))


async def reply_either(report: msgspec.Struct) -> web.Response:
    """The report as JSON, where it could have been a page."""
    # As long as a page: it is written in a thread.
    answer = await asyncio.to_thread(reply, report)
    answer.headers["Vary"] = "Accept"
    return answer


def _wants_json(request: web.Request) -> bool:
    """As `?format=` says, else as Accept does. Raises `NotAcceptable`."""
    given = request.query.get("format")
    if given is not None and given not in _FORMATS:
        raise NotAcceptable(given, _FORMATS)
    if given is not None:
        return given == "json"
    return prefers_json(", ".join(request.headers.getall("Accept", [])))


class HtmlPages:
    """Renders pages. `asks_token`: whether who installs from here needs a token."""

    def __init__(self, static: StaticFiles, *, asks_token: bool) -> None:
        self._static = static
        self._asks_token = asks_token
        # A page of ten thousand files keeps a core busy for a second; installs go before.
        self._rendering = asyncio.Semaphore(1)
        # Now, for the same reason as static files are read.
        folder = files("proxy.web") / "templates"
        self._sources = {path.name: path.read_text("utf-8") for path in folder.iterdir()}

    async def answer(
        self,
        request: web.Request,
        template: str,
        *,
        depth: int = 0,
        http_status: int = 200,
        **told: Any,
    ) -> web.Response:
        """That page, which tells this. `depth`: how many slashes stand in its URL below the root's.

        To render ten thousand files takes half a second, so it is done in a thread.
        """
        base = Base.of(request, depth)
        coding = choose_coding(", ".join(request.headers.getall("Accept-Encoding", [])))
        headers = dict(_HEADERS)
        if coding is Coding.GZIP:
            headers["Content-Encoding"] = coding.value

        def make() -> bytes:
            page = self._render(template, root="../" * depth or "./", base=base, **told).encode()
            return gzip.compress(page, _PACKING_LEVEL, mtime=0) if coding is Coding.GZIP else page

        async with self._rendering:
            body = await asyncio.to_thread(make)
        return web.Response(
            body=body,
            status=http_status,
            content_type="text/html",
            charset="utf-8",
            headers=headers,
        )

    async def either(
        self,
        request: web.Request,
        make: Callable[[web.Request, bool], Awaitable[web.Response]],
        *,
        depth: int = 0,
    ) -> web.Response:
        """What `make` answers to a script or else to a person, who gets a page of what goes wrong.

        Who lacks a token is refused alike: a browser then asks for one by itself.
        Raises `NotAcceptable`, `Unauthorized`; for scripts any `ProxyError`.
        """
        is_for_scripts = _wants_json(request)
        try:
            return await make(request, is_for_scripts)
        except Unauthorized:
            raise
        except ProxyError as problem:
            if is_for_scripts:
                raise
            return await self.problem(request, problem, depth=depth)

    async def problem(
        self, request: web.Request, problem: ProxyError, *, depth: int = 0
    ) -> web.Response:
        """The page for a person who asked for something that cannot be had."""
        request[NOTE].journey = journey_of(problem) or request[NOTE].journey
        return await self.answer(
            request,
            "problem.html",
            depth=depth,
            http_status=problem.status,
            problem=str(problem),
            is_unknown=problem.status == 404,
        )

    def _render(self, template: str, **told: Any) -> str:
        static = f"{told['root']}static/{self._static.digest}/"
        return self._templates.get_template(template).render(
            **told, static=static, version=__version__, asks_token=self._asks_token
        )

    @cached_property
    def _templates(self) -> "Environment":
        """Made for the first who looks."""
        import jinja2  # noqa: PLC0415 - most workers never show a page

        environment = jinja2.Environment(
            loader=jinja2.DictLoader(self._sources),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters |= {
            "count": words.count,
            "size": size_in_words,
            "duration": words.duration,
            "percent": words.percent,
            "ago": words.ago,
            "moment": moment_in_words,
        }
        return environment


@dataclass(frozen=True, slots=True)
class Base:
    """Where a client reaches this server, by what its request says.

    A proxy in front may know better: in a browser, a script puts in what its address bar says.
    """

    scheme: str
    host: str
    path: str

    @classmethod
    def of(cls, request: web.Request, depth: int) -> "Base":
        """That of a request for a page `depth` slashes below the dashboard."""
        host = request.host if _HOST.fullmatch(request.host) else "localhost"
        path = "/".join(request.path.split("/")[: -1 - depth]) + "/"
        return cls(request.scheme, host, path)

    @property
    def url(self) -> str:
        """The dashboard's URL."""
        return f"{self.scheme}://{self.host}{self.path}"

    @property
    def hostname(self) -> str:
        """The host without the port."""
        return _PORT.sub("", self.host)

    @property
    def is_loopback(self) -> bool:
        """Whether it is the machine of whoever asks."""
        return self.hostname in ("localhost", "[::1]") or self.hostname.startswith("127.")

    @property
    def is_insecure(self) -> bool:
        """Whether installers want to be told to trust it."""
        return self.scheme == "http" and not self.is_loopback
