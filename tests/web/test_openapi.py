"""The description of the endpoints: it is valid, whole, and true of what is configured."""

import inspect
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from proxy import errors
from proxy.errors import BadRequest
from proxy.reports import Why
from proxy.settings import load
from proxy.simple.shapes import SimpleList, SimpleProject
from proxy.telemetry import Telemetry
from proxy.web.described import Answer, described
from proxy.web.openapi import description_of
from proxy.web.peers import PEER_PATH
from proxy.web.tokens import Gate, hash_of
from tests.conftest import MakeProxy
from tests.fakes import JSON, FakeUpstream
from tests.servers import RedisServer

NOT_DESCRIBED = {PEER_PATH, "/pypi"}
"""For other machines of the same fleet alone: no promise to anybody; and a prefix by itself."""
TOKEN = {"tokens": [hash_of("secret")]}
BEARER = {"Authorization": "Bearer secret"}


async def described_by(proxy: TestClient, path: str = "/openapi.json") -> dict[str, Any]:
    answer = await proxy.get(path, headers=BEARER)
    assert (answer.status, answer.content_type) == (200, "application/json")
    return await answer.json()


def operations(description: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    }


@pytest.mark.parametrize("auth", [{}, TOKEN], ids=["open", "closed"])
async def test_it_is_valid(make_proxy: MakeProxy, auth: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(await described_by(await make_proxy(auth=auth))).validate()


async def test_each_endpoint_is_described_and_no_other(
    make_proxy: MakeProxy, redis: RedisServer
) -> None:
    """Of a server that has all of them, below a prefix."""
    proxy = await make_proxy(redis=redis.url, server={"base_path": "/pypi"})
    routes = proxy.app.router.routes() if proxy.app else ()
    there = {(route.method, route.resource.canonical) for route in routes if route.resource}
    below = {
        (method, path.removeprefix("/pypi"))
        for method, path in there
        if path.startswith("/pypi") and path not in NOT_DESCRIBED
    }

    assert set(operations(await described_by(proxy, "/pypi/openapi.json"))) == below
    assert {path for _, path in there if not path.startswith("/pypi")} <= {
        *NOT_DESCRIBED,
        "/healthz",
        "/readyz",
        "/metrics",
    }


async def test_every_word_is_there(proxy: TestClient) -> None:
    """Of endpoints, parameters, answers and fields; names of operations are theirs alone."""
    told = await described_by(proxy)
    found = operations(told).values()
    names = [operation["operationId"] for operation in found]

    assert len(set(names)) == len(names)
    assert all(operation["summary"] for operation in found)
    assert all(one["description"] for one in told["components"]["parameters"].values())
    assert all(one["description"] for one in told["components"]["responses"].values())
    stats = told["components"]["schemas"]["Stats"]["properties"]
    assert stats["blobs"]["description"] == "Files on this machine's disk."
    file = told["components"]["schemas"]["SimpleFile"]["properties"]
    assert "PEP 714" in file["core-metadata"]["description"]


def test_routes_of_the_framework_s_own_making() -> None:
    """A parameter with a pattern has a plain name; what has no path relative to us is left out."""

    @described("operators", {200: Answer()}, fails=(BadRequest,), is_for_people=True)
    async def file(_: web.Request) -> web.Response:
        """A file."""
        raise AssertionError

    gate = Gate(load().auth, (), Telemetry())
    routes = [web.get("/static/{filename:.+}", file), web.get("", file)]
    told = description_of(routes, gate)
    reference = told["paths"]["/static/{filename}"]["get"]["responses"]["400"]["$ref"]

    assert set(told["paths"]) == {"/static/{filename}"}
    answer = told["components"]["responses"][reference.rpartition("/")[2]]
    assert set(answer["content"]) == {"text/plain", "text/html"}


async def test_errors_are_told_by_their_status_and_sentence(proxy: TestClient) -> None:
    """Whichever of them an endpoint may end in."""
    told = await described_by(proxy)
    answers = told["paths"]["/simple/{project}/"]["get"]["responses"]
    shared = told["components"]["responses"]

    def says(status: int) -> str:
        return shared[answers[str(status)]["$ref"].rpartition("/")[2]]["description"]

    first_line = (inspect.getdoc(errors.ProjectNotFound) or "").partition("\n")[0]
    assert says(404).startswith(first_line)
    assert "configuration does not have" in says(404)
    assert (says(504), "401" in answers) == ("The index did not answer in time.", False)


@pytest.mark.parametrize(
    ("auth", "asking", "open_paths"),
    [
        ({}, set(), {"/simple/", "/stats", "/cache/"}),
        ({"admin_tokens": TOKEN["tokens"]}, {"/cache/", "/cache/{project}"}, {"/simple/"}),
        (TOKEN, {"/simple/", "/stats", "/healthz", "/openapi.json"}, {"/cache/"}),
        ({**TOKEN, "open_monitoring": True}, {"/simple/", "/stats"}, {"/healthz", "/metrics"}),
    ],
)
async def test_tokens_are_described_where_they_are_asked_for(
    make_proxy: MakeProxy, auth: dict[str, Any], asking: set[str], open_paths: set[str]
) -> None:
    """And so is the answer to who has none."""
    told = await described_by(await make_proxy(auth=auth))
    found = {path: one for (_, path), one in operations(told).items()}

    assert {path for path in asking if found[path]["security"]} == asking
    assert not [path for path in open_paths if found[path]["security"]]
    assert all("401" in one["responses"] for one in found.values() if one["security"])
    assert "401" not in found["/readyz" if auth != TOKEN else "/cache/"]["responses"]
    assert ("securitySchemes" in told["components"]) == bool(auth)


async def test_it_is_asked_for_again_by_its_etag(proxy: TestClient) -> None:
    """A client that has it gets 304."""
    etag = (await proxy.get("/openapi.json")).headers["ETag"]
    again = await proxy.get("/openapi.json", headers={"If-None-Match": etag})

    assert (again.status, await again.read()) == (304, b"")


async def test_the_shapes_are_those_of_the_answers(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """Of pages, the list, and why."""
    upstream.add("six", "six-1.0.tar.gz", yanked="broken", **{"core-metadata": {"sha256": "00"}})
    upstream.pages["six"]["project-status"] = {"status": "archived", "reason": "done"}
    accept = {"Accept": JSON}
    page = await (await proxy.get("/simple/six/", headers=accept)).read()
    listing = await (await proxy.get("/simple/", headers=accept)).read()
    why = await (await proxy.get("/why/six?format=json")).read()

    (file,) = msgspec.json.decode(page, type=SimpleProject).files
    assert (file.yanked, file.core_metadata) == ("broken", {"sha256": "00"})
    assert msgspec.json.decode(listing, type=SimpleList).projects[0].name == "six"
    assert msgspec.json.decode(why, type=Why).status is not None
