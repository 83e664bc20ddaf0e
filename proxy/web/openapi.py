"""`/openapi.json`: the description of the endpoints, made of what their handlers promise.

Nothing is told here that a handler tells already (`described.py`): paths come from the routes,
words from docstrings, schemas from the types of the answers (`reports.py`, `simple/shapes.py`), the
meaning of an error from its class. It is made for the first who asks.

Specification: OpenAPI 3.1.
"""

import hashlib
import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import msgspec
from aiohttp import web

from proxy import __version__
from proxy.errors import ProxyError, StoreUnavailable, Unauthorized
from proxy.web.access import NOTE
from proxy.web.described import (
    PATH_PARAMETERS,
    REQUEST_HEADERS,
    RESPONSE_HEADERS,
    Answer,
    Promise,
    as_json,
    described,
    promise_of,
)
from proxy.web.ranges import is_known
from proxy.web.schemas import Schemas
from proxy.web.tokens import Gate

_ABOUT = """\
A caching proxy in front of PyPI and other package indexes.

Every `GET` may be a `HEAD`. Errors are answered with one sentence in plain text, some of them for \
browsers as a page; what is no error of a request (500, 503) may come from any endpoint. A client \
may name its request in `X-Request-Id`.
"""
_TAGS = {
    "simple": "The Simple API: what installers ask for.",
    "documents": "What PyPI says of projects beside the Simple API.",
    "operators": "Numbers, explanations and purging.",
    "people": "The dashboard, for browsers.",
    "monitoring": "Health, readiness and metrics: also at the root, whatever the prefix.",
}
_SCHEMES = {
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "The token as the password, with any user name.",
    },
    "bearer": {"type": "http", "scheme": "bearer"},
}
_FAILS_OF_ALL = (ProxyError, StoreUnavailable)
_OF_ALL = ("Cache-Status", "X-Request-Id")
_VALIDATED = ("ETag", "Cache-Control")
_PARAMETER = re.compile(r"\{(\w+)(?::[^}]*)?\}")


class DescriptionHandlers:
    """The handler of `/openapi.json`, which describes these routes and itself."""

    def __init__(self, routes: Sequence[web.RouteDef], gate: Gate) -> None:
        self._others = routes
        self._gate = gate

    def routes(self) -> list[web.RouteDef]:
        """The URLs served here."""
        return [web.get("/openapi.json", self.description)]

    @described(
        "operators",
        {
            200: as_json(dict[str, Any], headers=_VALIDATED),
            304: Answer("The client has it already.", {}, _VALIDATED),
        },
        headers=("If-None-Match",),
    )
    async def description(self, request: web.Request) -> web.Response:
        """The description that this is (OpenAPI 3.1)."""
        request[NOTE].route = "openapi"
        body, etag = self._made
        headers = {"ETag": f'"{etag}"', "Cache-Control": "no-cache"}
        if is_known(request.headers, etag):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type="application/json", headers=headers)

    @cached_property
    def _made(self) -> tuple[bytes, str]:
        """The description, and its ETag."""
        body = msgspec.json.encode(description_of([*self._others, *self.routes()], self._gate))
        return body, hashlib.sha256(body).hexdigest()


def description_of(routes: Sequence[web.RouteDef], gate: Gate) -> dict[str, Any]:
    """The description of these routes; a handler that promises nothing is passed over."""
    # What is at the prefix itself, without a slash, cannot be told of relative to it.
    promises = [
        (route, promise) for route in routes if route.path and (promise := promise_of(route))
    ]
    made = _Description(Schemas(promise for _, promise in promises), gate)
    for route, promise in promises:
        made.add(route, promise)
    return {
        "openapi": "3.1.0",
        "info": {"title": "wheelkeep", "version": __version__, "description": _ABOUT},
        # Relative to the description: right below any prefix, whoever adds or takes it.
        "servers": [{"url": "."}],
        "tags": [{"name": name, "description": says} for name, says in _TAGS.items()],
        "paths": made.paths,
        "components": made.components,
    }


class _Description:
    """Grows by one endpoint after the other; what many of them say is said once."""

    def __init__(self, schemas: Schemas, gate: Gate) -> None:
        self._schemas = schemas
        self._gate = gate
        self.paths: dict[str, dict[str, Any]] = {}
        self.components: dict[str, dict[str, Any]] = {
            "schemas": schemas.components,
            "parameters": {},
            "headers": {},
            "responses": {},
        }
        if gate.is_closed or gate.asks_admins:
            self.components["securitySchemes"] = _SCHEMES

    def add(self, route: web.RouteDef, promise: Promise) -> None:
        """One more endpoint."""
        operation = self._operation(route, promise)
        # How much a parameter takes in is aiohttp's to say.
        methods = self.paths.setdefault(_PARAMETER.sub(r"{\1}", route.path), {})
        methods[route.method.lower()] = operation
        if route.method == "GET":
            # An error has the same words, of which only the length is told.
            methods["head"] = operation | {
                "operationId": f"{operation['operationId']}_head",
                "summary": f"{operation['summary']}: the head alone",
                "responses": {
                    status: {key: value for key, value in answer.items() if key != "content"}
                    for status, answer in operation["responses"].items()
                },
            }

    def _operation(self, route: web.RouteDef, promise: Promise) -> dict[str, Any]:
        words, _, more = inspect.cleandoc(route.handler.__doc__ or "").partition("\n\n")
        summary = " ".join(words.split())
        if promise.is_for_admins:
            asks = self._gate.asks_admins
        else:
            asks = self._gate.is_closed and not self._gate.is_open_at(route.path)
        responses = {
            status: self._response(answer, summary) for status, answer in promise.answers.items()
        }
        fails = (*promise.fails, *_FAILS_OF_ALL, *((Unauthorized,) if asks else ()))
        errors = self._errors(fails, is_for_people=promise.is_for_people)
        responses = dict(errors) | responses
        operation: dict[str, Any] = {
            "operationId": _identifier(route),
            "tags": [promise.tag],
            "summary": summary.removesuffix("."),
            "parameters": list(self._parameters(route.path, promise)),
            "responses": {str(status): responses[status] for status in sorted(responses)},
            "security": [{name: []} for name in _SCHEMES] if asks else [],
        }
        return operation | ({"description": more} if more else {})

    def _parameters(self, path: str, promise: Promise) -> Iterator[dict[str, Any]]:
        for name in _PARAMETER.findall(path):
            yield self._shared("parameters", name, PATH_PARAMETERS[name], "path", required=True)
        for name, shape in promise.query.items():
            yield {"name": name, "in": "query", **self._schemas.with_words(shape)}
        for name in promise.headers:
            yield self._shared("parameters", name, REQUEST_HEADERS[name], "header")

    def _response(self, answer: Answer, otherwise: str) -> dict[str, Any]:
        """An answer; `otherwise` is what it means where it does not say so itself."""
        response: dict[str, Any] = {
            "description": answer.says or otherwise,
            "headers": {
                name: self._shared("headers", name, RESPONSE_HEADERS[name], required=True)
                for name in (*_OF_ALL, *answer.headers)
            },
        }
        if answer.bodies:
            response["content"] = {
                # A body that is no text has no schema (OpenAPI 3.1, "Considerations for File …").
                media_type: {} if shape is bytes else {"schema": self._schemas.of(shape)}
                for media_type, shape in answer.bodies.items()
            }
        return response

    def _errors(
        self, fails: Iterable[type[ProxyError]], *, is_for_people: bool
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """The answers that tell of these; those of one status are one."""
        by_status: dict[int, list[type[ProxyError]]] = {}
        for error in fails:
            by_status.setdefault(error.status, []).append(error)
        for status, errors in by_status.items():
            bodies = {"text/plain": str}
            name = "Or".join(error.__name__ for error in errors)
            if is_for_people:
                name, bodies = f"{name}ForPeople", {"text/plain": str, "text/html": str}
            says = (inspect.cleandoc(error.__doc__ or "").partition("\n\n")[0] for error in errors)
            words = " Or: ".join(" ".join(one.split()) for one in says)
            challenge = ("WWW-Authenticate",) if status == Unauthorized.status else ()
            answer = self._response(Answer(words, bodies, challenge), "")
            self.components["responses"][name] = answer
            yield status, {"$ref": f"#/components/responses/{name}"}

    def _shared(
        self, kind: str, name: str, shape: Any, place: str = "", *, required: bool = False
    ) -> dict[str, str]:
        """A reference to a parameter or header of that name, which is the same everywhere."""
        told = self._schemas.with_words(shape)
        if place:
            told |= {"name": name, "in": place}
        if required:
            told["required"] = True
        self.components[kind][name] = told
        return {"$ref": f"#/components/{kind}/{name}"}


def _identifier(route: web.RouteDef) -> str:
    """`get_simple_project`; a slash at the end tells two paths apart."""
    words = re.sub(r"\W+", "_", route.path).strip("_") or "root"
    return f"{route.method.lower()}_{words}{'_' if route.path.endswith('/') else ''}"
