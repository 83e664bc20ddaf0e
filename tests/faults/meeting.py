"""Every kind of what is fetched meets one fault, and then an index that is well again."""

from collections.abc import Callable, Iterable

from aiohttp.test_utils import TestClient

from tests.faults.kinds import Given, Kind, ask_all
from tests.faults.scripted import Script, ScriptedUpstream, answer

Fault = Callable[[Kind], Script]
"""Answers a request for that kind wrongly."""


def rightly(kind: Kind, *fields: str) -> bytes:
    """The whole answer that its index gives, with further fields."""
    return answer(kind.right, f"Content-Type: {kind.content_type}", *fields)


def is_told(given: Given) -> bool:
    """Whether the client was told that the index failed, and which; or knows that it has no file.

    Nobody who stands in between may keep that.
    """
    if given.is_cut:
        return True
    is_named = "pypi" in given.text or "127.0.0.1" in given.text
    is_kept = given.headers.get("Cache-Control") != "no-store"
    return given.status in (502, 504) and is_named and not is_kept


async def meet(
    proxy: TestClient,
    upstream: ScriptedUpstream,
    kinds: Iterable[Kind],
    fault: Fault,
    *,
    may_be_right: bool = True,
) -> dict[str, Given]:
    """Each kind's client gets what is right, or is told; and what is right, once all is well.

    Returns what they got first.
    """
    kinds = list(kinds)
    for kind in kinds:
        upstream.scripts[kind.path] = fault(kind)
    first = await ask_all(proxy, kinds)
    for kind, given in first.items():
        is_right = given.status == 200 and given.body is not None and kind.is_right(given.body)
        assert is_told(given) or (may_be_right and is_right), (kind.name, given)
    await is_well_again(proxy, upstream, kinds)
    return {kind.name: given for kind, given in first.items()}


async def is_well_again(
    proxy: TestClient, upstream: ScriptedUpstream, kinds: Iterable[Kind]
) -> None:
    """With the fault gone, the next request of each kind has what is right."""
    upstream.scripts.clear()
    for kind, given in (await ask_all(proxy, kinds)).items():
        assert given.status == 200, (kind.name, given)
        assert given.body is not None, (kind.name, given)
        assert kind.is_right(given.body), (kind.name, given)
