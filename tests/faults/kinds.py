"""All kinds of what is fetched from an index, and how each is asked for and recognised."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.test_utils import TestClient

from tests.faults.scripted import JSON, ScriptedUpstream, answer
from tests.wheels import metadata, wheel

WHEEL = "six-1.0-py3-none-any.whl"
UNHASHED_METADATA = "six-1.1-py3-none-any.whl"
UNHASHED = "six-1.2.tar.gz"
_CONTENTS = {
    WHEEL: wheel("six", "1.0", padding=200_000),
    UNHASHED_METADATA: wheel("six", "1.1"),
    UNHASHED: bytes(range(256)) * 400,
}
_SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n"
_PROVENANCE = {"version": 1, "attestation_bundles": []}
_PROJECT_JSON = {"info": {"name": "six", "version": "1.0"}, "urls": [], "releases": {"1.0": []}}
_HTML_NAME = "html-1.0.tar.gz"


@dataclass(frozen=True)
class Given:
    """What a client was given. No body: the answer was cut."""

    status: int
    body: bytes | None
    headers: dict[str, str]

    @property
    def is_cut(self) -> bool:
        return self.body is None

    @property
    def text(self) -> str:
        return (self.body or b"").decode(errors="replace")

    @property
    def is_stale(self) -> bool:
        return "hit; ttl=-" in self.headers.get("Cache-Status", "")


@dataclass(frozen=True)
class Kind:
    """One kind: where a client asks for it, where its index has it, and what is right."""

    name: str
    url: str
    path: str
    is_right: Callable[[bytes], bool]
    content_type: str = "application/octet-stream"
    right: bytes = b""
    """What the index has there."""

    async def ask(self, proxy: TestClient) -> Given:
        return await ask(proxy, self.url)

    @property
    def is_vouched_for(self) -> bool:
        """Whether a hash, or its own form, tells what is right from what is cut."""
        return not self.name.startswith("unhashed") and self.name != "signature"


async def ask(proxy: TestClient, url: str) -> Given:
    """Fetch it as a client that would rather have JSON."""
    async with proxy.get(url, headers={"Accept": f"{JSON}, */*;q=0.1"}) as response:
        try:
            body = await response.read()
        except aiohttp.ClientPayloadError:
            body = None
        return Given(response.status, body, dict(response.headers))


async def ask_all(proxy: TestClient, kinds: Iterable[Kind]) -> dict[Kind, Given]:
    """Ask for all of them at once."""
    kinds = list(kinds)
    given = await asyncio.gather(*(kind.ask(proxy) for kind in kinds))
    return dict(zip(kinds, given, strict=True))


def lists(*filenames: str) -> Callable[[bytes], bool]:
    """Whether a JSON page has these files and no others."""

    def is_right(body: bytes) -> bool:
        return [file["filename"] for file in json.loads(body)["files"]] == list(filenames)

    return is_right


def _html(*names: str) -> bytes:
    links = "".join(
        f'<a href="/packages/{one}#sha256={hashlib.sha256(one.encode()).hexdigest()}">{one}</a>'
        for one in names
    )
    return f"<!DOCTYPE html><html><body>{links}</body></html>".encode()


def stock(upstream: ScriptedUpstream) -> dict[str, Kind]:
    """Give the index one of each kind."""
    root = upstream.root
    text = metadata("six", "1.0")
    claim = {"sha256": hashlib.sha256(text).hexdigest()}
    provenance = f"{root}/integrity/six/1.0/{WHEEL}/provenance"
    sha256s = {
        WHEEL: upstream.add(
            "six", WHEEL, _CONTENTS[WHEEL],
            **{"core-metadata": claim, "gpg-sig": True, "provenance": provenance},
        ),
        UNHASHED_METADATA: upstream.add(
            "six", UNHASHED_METADATA, _CONTENTS[UNHASHED_METADATA], **{"core-metadata": True}
        ),
    }  # fmt: skip
    upstream.add("six", UNHASHED, _CONTENTS[UNHASHED], hashes={})
    upstream.add("json-page", "json_page-1.0.tar.gz", b"x")
    page = json.dumps(upstream.pages["json-page"]).encode()
    names: dict[str, Any] = {"meta": {"api-version": "1.1"}, "projects": [{"name": "six"}]}

    def beside(filename: str, suffix: str = "") -> tuple[str, str]:
        url = f"/files/six/{sha256s.get(filename, '-')}/{filename}{suffix}"
        return url, upstream.path_of(filename) + suffix

    def document(path: str) -> tuple[str, str]:
        return path, path

    is_list = lists("json_page-1.0.tar.gz")
    kinds = [
        Kind("JSON page", *document("/simple/json-page/"), is_list, JSON, page),
        Kind(
            "HTML page", *document("/simple/html/"), lists(_HTML_NAME), "text/html",
            _html(_HTML_NAME),
        ),
        Kind(
            "project list", *document("/simple/"),
            lambda body: json.loads(body)["projects"] == [{"name": "six"}], JSON,
            json.dumps(names).encode(),
        ),
        Kind("file", *beside(WHEEL), _CONTENTS[WHEEL].__eq__, right=_CONTENTS[WHEEL]),
        Kind("unhashed file", *beside(UNHASHED), _CONTENTS[UNHASHED].__eq__,
             right=_CONTENTS[UNHASHED]),
        Kind("metadata", *beside(WHEEL, ".metadata"), text.__eq__, right=text),
        Kind(
            "unhashed metadata", *beside(UNHASHED_METADATA, ".metadata"),
            metadata("six", "1.1").__eq__, right=metadata("six", "1.1"),
        ),
        Kind("signature", *beside(WHEEL, ".asc"), _SIGNATURE.__eq__, right=_SIGNATURE),
        Kind(
            "project JSON", *document("/pypi/six/json"),
            lambda body: json.loads(body) == _PROJECT_JSON, "application/json",
            json.dumps(_PROJECT_JSON).encode(),
        ),
        Kind(
            "provenance", *document(f"/integrity/six/1.0/{WHEEL}/provenance"),
            lambda body: json.loads(body) == _PROVENANCE, "application/json",
            json.dumps(_PROVENANCE).encode(),
        ),
    ]  # fmt: skip
    for kind in kinds:
        upstream.whole_answers[kind.path] = answer(kind.right, f"Content-Type: {kind.content_type}")
    return {kind.name: kind for kind in kinds}
