"""Questions with conditions (RFC 9110 §13), and the 304 that answers them (§15.4.5)."""

import pytest
from aiohttp.test_utils import TestClient

from tests.conformance.asking import get
from tests.conformance.index import FILE, PATHS, SHA256
from tests.fakes import JSON
from tests.raw import connection
from tests.raw import get as plain

LONG_AGO = "Tue, 01 Jan 2019 00:00:00 GMT"
IN_FUTURE = "Fri, 01 Jan 2038 00:00:00 GMT"


async def test_the_etags_that_a_client_has(proxy: TestClient) -> None:
    """Compared weakly (§13.1.2), one of a list or any; what is no ETag is not ours."""
    for path in PATHS:
        etag = (await get(proxy, path)).headers["ETag"]
        statuses = {
            etag: 304,
            f"W/{etag}": 304,
            f'"other", {etag}': 304,
            f'{etag},"other"': 304,
            f'"a, b" , W/{etag}': 304,
            f",, {etag} ,": 304,
            "*": 304,
            " * ": 304,
            '"other"': 200,
            '"other", W/"another"': 200,
            etag.strip('"'): 200,
            f"w/{etag}": 200,
            f'{etag[:-2]}"': 200,
            etag[:-1]: 200,
            etag.upper(): 200,
            f'"{etag}"': 200,
            '""': 200,
            ",": 200,
            "": 200,
        }
        for header, status in statuses.items():
            answer = await get(proxy, path, If_None_Match=header)
            assert (path, header, answer.status) == (path, header, status)


async def test_etags_on_several_lines_are_one_list(proxy: TestClient) -> None:
    """RFC 9110 §5.3."""
    other = 'If-None-Match: "other"'
    for path in PATHS:
        ours = f"If-None-Match: {(await get(proxy, path)).headers['ETag']}"
        async with connection(proxy) as client:
            for lines, status in (
                ((other, ours), 304),
                ((ours, other), 304),
                ((other, other), 200),
            ):
                answer = await client.ask(plain(path, *lines))
                assert (path, lines, answer.status) == (path, lines, status)


async def test_dates_decide_nothing(proxy: TestClient) -> None:
    """No answer has a Last-Modified, so none can be held against one (§13.1.3, §13.1.4)."""
    for path in PATHS:
        answer = await get(proxy, path)
        assert "Last-Modified" not in answer.headers
        etag = answer.headers["ETag"]
        for moment in (LONG_AGO, IN_FUTURE, "yesterday"):
            assert (await get(proxy, path, If_Modified_Since=moment)).status == 200
            assert (await get(proxy, path, If_Unmodified_Since=moment)).status == 200
            for if_none_match, status in ((etag, 304), ('"other"', 200)):
                asked = {"If_Modified_Since": moment, "If_None_Match": if_none_match}
                assert (await get(proxy, path, **asked)).status == status


async def test_if_match_is_for_whoever_would_change_something(proxy: TestClient) -> None:
    """§13.1.1 lets a cache ignore it, and nothing can be changed here by its means."""
    for path in PATHS:
        etag = (await get(proxy, path)).headers["ETag"]
        for header in (etag, '"other"', "*", f"W/{etag}"):
            assert (await get(proxy, path, If_Match=header)).status == 200


async def test_each_representation_has_an_etag_of_its_own(proxy: TestClient) -> None:
    """Strong: that of one says nothing of the bytes of another (§8.8.3.3)."""
    asked = [
        {"Accept": accept, "Accept_Encoding": coding}
        for accept in (JSON, "text/html", "application/vnd.pypi.simple.v1+html")
        for coding in ("identity", "gzip")
    ]
    etags = [(await get(proxy, **headers)).headers["ETag"] for headers in asked]

    assert all(etag.startswith('"') for etag in etags)
    assert len(set(etags)) == len(asked)
    for headers in asked:
        statuses = [(await get(proxy, If_None_Match=etag, **headers)).status for etag in etags]
        assert sorted(statuses) == [200, 200, 200, 200, 200, 304]


@pytest.mark.parametrize("coding", ["identity", "gzip"])
async def test_a_304_says_what_its_200_would_say(proxy: TestClient, coding: str) -> None:
    """Cache-Control, Date, ETag, Vary and what else there is of these; nothing of a body."""
    for path in PATHS:
        etag = (await get(proxy, path, Accept_Encoding=coding)).headers["ETag"]
        whole = await get(proxy, path, Accept_Encoding=coding)
        answer = await get(proxy, path, Accept_Encoding=coding, If_None_Match=etag)

        assert (answer.status, await answer.read()) == (304, b"")
        for name in ("Cache-Control", "Content-Location", "ETag", "Expires", "Vary", "Age"):
            assert (path, answer.headers.get(name)) == (path, whole.headers.get(name))
        assert "Date" in answer.headers
        assert not {"Content-Type", "Content-Encoding", "Content-Length"} & set(answer.headers)


async def test_a_condition_is_for_what_is_there(proxy: TestClient) -> None:
    """What cannot be had is refused as without one (§13.2.1)."""
    assert (await get(proxy, "/simple/none/", If_None_Match="*")).status == 404
    assert (await get(proxy, FILE.replace(SHA256, "0" * 64), If_None_Match="*")).status == 404
    assert (await get(proxy, If_None_Match="*", Accept="image/png")).status == 406


async def test_head_has_conditions_too(proxy: TestClient) -> None:
    """As GET has."""
    for path in PATHS:
        etag = (await get(proxy, path)).headers["ETag"]
        assert (await get(proxy, path, "HEAD", If_None_Match=etag)).status == 304
        assert (await get(proxy, path, "HEAD", If_None_Match='"other"')).status == 200
