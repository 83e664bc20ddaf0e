"""What becomes of each file, asked of a wheelkeep in this process."""

import hashlib
from collections.abc import Mapping

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from proxy.errors import ServerRefused
from proxy.lockfiles import LockFile, Target, read_text
from proxy.server_client import ServerAddress
from proxy.warm.asking import Wheelkeep
from proxy.warm.engine import Warming, asked_of
from proxy.warm.results import FileOutcome, FileResult
from proxy.web.tokens import hash_of
from tests.conftest import MakeProxy
from tests.fakes import HTML, JSON, FakeUpstream
from tests.wheels import wheel

SIX = "six-1.0-py3-none-any.whl"
WHEEL = wheel("six", "1.0")
SHA256 = hashlib.sha256(WHEEL).hexdigest()


def locking(text: str, name: str = "requirements.txt") -> LockFile:
    return read_text(text.encode(), name, [Target.of("3.12", "linux_x86_64")])


def naming(filename: str, sha256: str) -> LockFile:
    project, version = filename.split("-")[:2]
    return locking(
        f'lock-version = "1.0"\ncreated-by = "tests"\n[[packages]]\nname = "{project}"\n'
        f'version = "{version}"\nwheels = [{{ url = "https://x/{filename}", '
        f'hashes = {{ sha256 = "{sha256}" }} }}]\n',
        "pylock.toml",
    )


async def warmed(proxy: TestClient, *locks: LockFile) -> Mapping[str, FileResult]:
    async with Wheelkeep.at(ServerAddress.named(str(proxy.make_url("/"))), 4) as wheelkeep:
        warming = Warming(wheelkeep, 4)
        await warming.run(asked_of(locks))
    assert warming.progress.files == warming.progress.files_done
    return {one.name: one for one in warming.results}


async def test_several_lock_files_cause_one_request(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """However each of them names the file."""
    upstream.add("six", SIX, WHEEL)
    locks = [
        naming(SIX, SHA256),
        locking(f"six==1.0 --hash=sha256:{SHA256}"),
        locking("six", "other.txt"),
        locking("six", "other.txt"),
    ]
    results = await warmed(proxy, *locks)

    assert [one.outcome for one in results.values()] == [FileOutcome.FETCHED]
    asked = [one.path for one in upstream.requests if "packages" in one.path]
    assert len([path for path in asked if path.endswith(".whl")]) == 1


@pytest.mark.parametrize(
    ("sha256", "outcome"), [(SHA256, FileOutcome.FETCHED), ("a" * 64, FileOutcome.MISSING)]
)
async def test_an_index_without_hashes(
    proxy: TestClient, upstream: FakeUpstream, sha256: str, outcome: FileOutcome
) -> None:
    """The bytes tell whether it is the file that the lock file names, by name or by hash."""
    upstream.speaks = HTML
    upstream.add("six", SIX, WHEEL, hashes={})
    for lock in (naming(SIX, sha256), locking(f"six==1.0 --hash=sha256:{sha256}")):
        (one,) = (await warmed(proxy, lock)).values()

        assert one.outcome in (
            outcome,
            FileOutcome.THERE if outcome is FileOutcome.FETCHED else outcome,
        )
        if outcome is FileOutcome.MISSING:
            assert f"{sha256}" in one.name or SHA256 in str(one.reason)


async def test_core_metadata_that_cannot_be_had(proxy: TestClient, upstream: FakeUpstream) -> None:
    """Is told: resolvers would ask for it."""
    upstream.add("six", SIX, WHEEL, **{"core-metadata": {"sha256": "a" * 64}})
    upstream.files[upstream.path_of(SIX) + ".metadata"] = b"other"
    (one,) = (await warmed(proxy, naming(SIX, SHA256))).values()

    assert one.outcome is FileOutcome.FAILED
    assert str(one.reason).startswith("its core metadata: six-1.0-py3-none-any.whl.metadata is not")


async def test_a_kept_file_that_its_index_has_no_more(
    make_proxy: MakeProxy, upstream: FakeUpstream
) -> None:
    """Is there for whoever has its hash."""
    proxy = await make_proxy(page_ttl="1s")
    upstream.add("six", SIX, WHEEL)
    upstream.add("six", "six-2.0-py3-none-any.whl", wheel("six", "2.0"))
    await warmed(proxy, naming(SIX, SHA256))
    del upstream.pages["six"]["files"][0]
    assert (await proxy.delete("/cache/six")).status == 200
    results = await warmed(proxy, naming(SIX, SHA256))

    assert results[SIX].outcome is FileOutcome.THERE
    other = await warmed(proxy, naming(SIX, "a" * 64))
    assert other[SIX].outcome is FileOutcome.MISSING


async def test_an_index_that_fails(proxy: TestClient, upstream: FakeUpstream) -> None:
    """All that is named of its projects failed, by the names that it is known by."""
    upstream.down_with = 500
    results = await warmed(
        proxy, naming(SIX, SHA256), locking(f"seven==1.0 --hash=sha256:{SHA256}\neight>=1")
    )

    assert {name: one.outcome for name, one in results.items()} == {
        SIX: FileOutcome.FAILED,
        "seven==1.0": FileOutcome.FAILED,
        "eight>=1": FileOutcome.FAILED,
    }
    assert all("The index pypi failed" in str(one.reason) for one in results.values())


async def test_a_token_that_is_asked_for_later_ends_it(make_proxy: MakeProxy) -> None:
    """Where the probes need none, the first page tells."""
    proxy = await make_proxy(auth={"tokens": [hash_of("secret")], "open_monitoring": True})
    async with Wheelkeep.at(ServerAddress.named(str(proxy.make_url("/"))), 4) as wheelkeep:
        await wheelkeep.check()
        with pytest.raises(ServerRefused, match="asks for a token"):
            await Warming(wheelkeep, 4).run(asked_of([locking("six\nseven\neight")]))


async def test_how_far_it_is(proxy: TestClient, upstream: FakeUpstream) -> None:
    """Each change is told; in the end all bytes are done."""
    for name in ("six", "seven"):
        upstream.add(name, f"{name}-1.0-py3-none-any.whl", wheel(name, "1.0"))
    seen: list[tuple[int, int, int]] = []
    async with Wheelkeep.at(ServerAddress.named(str(proxy.make_url("/"))), 1) as wheelkeep:
        warming = Warming(
            wheelkeep,
            1,
            on_change=lambda now: seen.append((now.projects, now.files, now.files_done)),
        )
        await warming.run(asked_of([locking("six\nseven\nnope")]))

    assert seen[-1] == (0, 2, 2)
    assert sorted(seen, key=lambda one: (-one[0], one[1], one[2])) == seen
    assert warming.progress.bytes == warming.progress.bytes_done > 0


async def test_a_server_that_says_how_much_it_holds(
    make_proxy: MakeProxy, upstream: FakeUpstream
) -> None:
    """What is larger was not kept, whatever it answered."""
    proxy = await make_proxy(max_size="1MB")
    content = wheel("six", "1.0", padding=1_200_000)
    upstream.add("six", SIX, content)
    async with Wheelkeep.at(ServerAddress.named(str(proxy.make_url("/"))), 4) as wheelkeep:
        room = await wheelkeep.room_bytes()
        warming = Warming(wheelkeep, 4)
        await warming.run(asked_of([locking("six")]), room)
    (one,) = warming.results

    assert room == 1_000_000
    assert one.outcome is FileOutcome.FAILED
    assert "cache.max_size" in str(one.reason)


async def test_a_refusal_whose_rule_is_not_told() -> None:
    """Its own words stand in."""

    async def answer(request: web.Request) -> web.Response:
        if request.path.startswith("/simple/"):
            entry = {"filename": SIX, "url": f"../../files/{SIX}", "hashes": {"sha256": SHA256}}
            return web.json_response(
                {"meta": {"api-version": "1.1"}, "name": "six", "files": [entry]}, content_type=JSON
            )
        return web.Response(status=403, text="not today\n")

    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    async with TestClient(TestServer(app)) as front:
        (one,) = (await warmed(front, naming(SIX, SHA256))).values()

    assert (one.outcome, one.reason) == (FileOutcome.REFUSED, "not today")
