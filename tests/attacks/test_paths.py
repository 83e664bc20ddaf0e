"""Targets that are to lead somewhere else: out of a folder, into a header, to another index."""

from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient

from tests.attacks.requests import LINES, TARGETS
from tests.fakes import FakeUpstream
from tests.raw import connection, get

SHA256 = "a" * 64
HOSTILE = (
    *("..", ".", "%2e%2e", "..%2f..%2f..%2fetc%2fpasswd", "..%5c..%5cetc", "%2fetc%2fpasswd"),
    *("a%00.zip", "%00", "a%0d%0aX-Bad:%20y", "a%0aX-Bad:%20y", "%c0%ae%c0%ae", "%e0%80%ae"),
    *(
        "%ef%bc%8e%ef%bc%8e",
        "%E2%80%AE.zip",
        "%E2%80%A8",
        "%ff%fe",
        "%252e%252e",
        "%252f",
        "%u002e",
    ),
    *(
        "\\..\\..\\etc",
        "~root",
        "c:%5cwindows",
        "%5c%5chost%5cshare",
        "%20",
        "%09",
        "%7f",
        "%1b[31m",
    ),
    *(
        "<script>",
        "%3Cscript%3E",
        "'%22",
        "{project}",
        "${jndi:ldap://x}",
        "$(id)",
        "`id`",
        "|id",
        ";id",
    ),
    *(
        "x" * 256,
        "x" * 4000,
        "%C5%9B" * 90,
        "a:b",
        "a@b",
        "a*b",
        "[a]",
        "-",
        "--",
        "_",
        ".hidden",
        "+",
    ),
)
PLACES = (
    "/simple/{}/",
    "/simple/six/{}",
    "/simple/{}/six/",
    "/index/{}/simple/six/",
    "/index/pypi/simple/{}/",
    "/{}/simple/six/",
    "/files/{}/" + SHA256 + "/six-1.0.zip",
    "/files/six/{}/six-1.0.zip",
    "/files/six/" + SHA256 + "/{}",
    "/files/six/-/{}",
    "/files/six/-/{}.metadata",
    "/files/six/-/six-1.0.zip?index={}",
    "/files/six/-/{}/six-1.0.zip",
    "/peer/six/" + SHA256 + "/{}",
    "/peer/{}/" + SHA256 + "/six-1.0.zip",
    "/pypi/{}/json",
    "/pypi/six/{}/json",
    "/integrity/six/{}/six-1.0.zip/provenance",
    "/integrity/six/1.0/{}/provenance",
    "/why/{}",
    "/static/{}/style.css",
    "/static/x/{}",
    "/projects/{}",
    "/{}",
)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file that is nobody's business."""
    secret = tmp_path / "secret.zip"
    secret.write_text("root:hunter2")
    return secret


@pytest.mark.parametrize("place", PLACES)
async def test_no_segment_of_a_path_leads_elsewhere(
    proxy: TestClient, upstream: FakeUpstream, outside: Path, place: str
) -> None:
    """It is no such thing, or one that is not here; the connection goes on, and no file is made."""
    upstream.add("six", "six-1.0.zip")
    before = _files(outside.parent)
    climbing = f"..%2f..%2f..%2f..%2f..%2f{str(outside).lstrip('/').replace('/', '%2f')}"
    async with connection(proxy) as client:
        for hostile in (*HOSTILE, climbing, str(outside), str(outside).replace("/", "%2f")):
            answer = await client.ask(get(place.format(hostile)))
            assert answer.status in (200, 301, 400, 401, 403, 404), (hostile, answer.body[:200])
            assert "x-bad" not in answer.headers
            assert b"hunter2" not in answer.body
            if answer.status == 301:
                assert set(answer.headers["location"]) <= set(_LOCATION), answer.headers["location"]
            if answer.headers.get("content-type", "").startswith("text/html"):
                assert b"<script>" not in answer.body
        assert (await client.ask(get("/healthz"))).status == 200
    asked = {request.path for request in upstream.requests}

    assert _files(outside.parent) == before
    assert all("/../" not in path and "\0" not in path for path in asked)
    assert all(
        path.startswith(("/simple/", "/pypi/", "/integrity/", "/packages/")) for path in asked
    )


_LOCATION = "abcdefghijklmnopqrstuvwxyz0123456789-./"


def _files(folder: Path) -> set[Path]:
    """Those beside the cache, and in it those that are no part of it."""
    kinds = {".sqlite", ".sqlite-wal", ".sqlite-shm", ".lock"}
    return {
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in kinds
        if "cache" not in path.relative_to(folder).parts[:1]
    }


async def test_a_redirect_stays_here(proxy: TestClient) -> None:
    """However a target is written, and whatever host the client names."""
    tricks = [
        *("//evil.example/simple/Six", "/simple/Six?//evil.example", "/simple/Six?x=%0d%0aX-Bad:y"),
        *("/simple/Six/..//evil.example", "/simple/Six;//evil", "/simple/%2f%2fevil.example"),
        *("/index/pypi/simple/Six", "/pypi/Six/json", "/simple", "/simple/Six/"),
    ]
    for target in (*tricks, *TARGETS):
        async with connection(proxy) as client:
            request = get(target, "X-Forwarded-Host: evil.example", "X-Forwarded-Prefix: /evil")
            answer = await client.ask(request.replace(b"Host: proxy", b"Host: evil.example"))
            assert "x-bad" not in answer.headers
            if answer.status in (301, 302, 307, 308):
                location, _, _ = answer.headers["location"].partition("?")
                assert ":" not in location
                assert not location.startswith("/")


async def test_a_strange_line_asks_nobody(proxy: TestClient, upstream: FakeUpstream) -> None:
    """wheelkeep is no forward proxy: whoever is named in a target, only the index is asked."""
    for request in LINES.values():
        async with connection(proxy) as client:
            await client.send(request)
            client.writer.write_eof()
            assert b"root:" not in await client.rest()
    assert {request.path for request in upstream.requests} == {"/simple/six/"}
