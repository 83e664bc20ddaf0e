"""A folder of wheels as an index: what is on its pages, what can be had of it, and what never."""

import asyncio
import hashlib
import json
import os
import shutil
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient

import proxy.simple.distribution
from proxy.app import application
from proxy.errors import (
    ConfigError,
    ProjectNotFound,
    UpstreamFileMissing,
    UpstreamMalformed,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from proxy.settings import Index, load
from proxy.simple.model import ProjectName
from proxy.storage.pages import ROOT_LIST
from proxy.telemetry import Telemetry
from proxy.upstream import NewPage, Unchanged, Validators
from proxy.upstream_folder import FolderUpstream
from tests.conftest import MakeProxy
from tests.fakes import HTML, JSON, Clock, FakeUpstream
from tests.servers import wheelkeep
from tests.wheels import metadata, sdist_tar, sdist_zip, wheel

ACME = ProjectName("acme")
NAME = "acme-1.0-py3-none-any.whl"
WHEEL = wheel("acme", "1.0", ["six"], requires_python=">=3.9")
METADATA = metadata("acme", "1.0", ["six"], requires_python=">=3.9")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose name needs quoting, with one wheel in it."""
    path = tmp_path / "our wheels+é"
    path.mkdir()
    (path / NAME).write_bytes(WHEEL)
    return path


@pytest.fixture
async def index(folder: Path) -> AsyncIterator[FolderUpstream]:
    """The subject."""
    index = Index(name="ours", url=str(folder))
    assert index.folder is not None
    upstream = FolderUpstream(index, index.folder, Telemetry())
    yield upstream
    await upstream.close()


async def page_of(index: FolderUpstream, project: str = "acme") -> dict[str, Any]:
    page = await index.page(ProjectName(project))
    assert isinstance(page, NewPage)
    return json.loads(page.body)


async def names_on(index: FolderUpstream, project: str = "acme") -> list[str]:
    return [file["filename"] for file in (await page_of(index, project))["files"]]


async def received(index: FolderUpstream, url: str, *part: Any) -> tuple[int, bytes]:
    """Where the bytes begin, and the bytes."""
    async with index.file(url, *part) as stream:
        assert stream.is_delimited
        return stream.start, b"".join([chunk async for chunk in stream.chunks])


# --- pages --------------------------------------------------------------------------------


async def test_a_page_tells_what_the_files_say(index: FolderUpstream, folder: Path) -> None:
    """All that a page of API version 1.1 has, from the bytes and the stats of the files."""
    os.utime(folder / NAME, ns=(0, 1_700_000_000_123_456_789))
    page = await index.page(ACME)

    assert isinstance(page, NewPage)
    assert (page.content_type, page.header("Cache-Control")) == (JSON, "max-age=2")
    assert json.loads(page.body) == {
        "meta": {"api-version": "1.1"},
        "name": "acme",
        "versions": ["1.0"],
        "files": [
            {
                "filename": NAME,
                "url": (folder / NAME).as_uri(),
                "hashes": {"sha256": sha256(WHEEL)},
                "size": len(WHEEL),
                "upload-time": "2023-11-14T22:13:20.123456Z",
                "requires-python": ">=3.9",
                "core-metadata": {"sha256": sha256(METADATA)},
            }
        ],
    }


async def test_whatever_is_a_distribution_counts_at_any_depth(
    index: FolderUpstream, folder: Path
) -> None:
    """By its name alone, in any spelling; what begins with a dot never does, nor what is linked."""
    deep = folder / "a" / "b c" / "d"
    hidden = folder / ".cache"
    for place in (deep, hidden, folder / "lost+found"):
        place.mkdir(parents=True)
        (place / "Acme-2.0-py3-none-any.whl").write_bytes(wheel("acme", "2.0"))
    (folder / "acme-10.0.tar.gz").write_bytes(b"not much of an archive")
    for name in (f".{NAME}", "acme-3.0.whl", "acme.txt", "acme-3.0-py3-none-any.whl.part", "a.zip"):
        (folder / name).write_bytes(WHEEL)
    (folder / "acme-4.0-py3-none-any.whl").mkdir()
    os.mkfifo(folder / "acme-5.0-py3-none-any.whl")
    (folder / "acme-6.0-py3-none-any.whl").symlink_to(folder / NAME)
    (deep / "round").symlink_to(folder)
    page = await page_of(index)

    assert page["versions"] == ["1.0", "2.0", "10.0"]
    assert [file["filename"] for file in page["files"]] == [
        NAME,
        "Acme-2.0-py3-none-any.whl",
        "acme-10.0.tar.gz",
    ]
    assert page["files"][1]["url"] == (deep / "Acme-2.0-py3-none-any.whl").as_uri()


async def test_of_files_with_one_name_the_nearest_is_listed(
    index: FolderUpstream, folder: Path
) -> None:
    """A page that named two would leave it to chance which one a client takes."""
    for place in ("0", "9/9"):
        (folder / place).mkdir(parents=True)
        (folder / place / NAME).write_bytes(wheel("acme", "1.0", padding=1000))
    assert [file["size"] for file in (await page_of(index))["files"]] == [len(WHEEL)]
    (folder / NAME).unlink()

    assert [file["url"] for file in (await page_of(index))["files"]] == [
        (folder / "0" / NAME).as_uri()
    ]


async def test_what_source_distributions_say_of_python(index: FolderUpstream, folder: Path) -> None:
    """Their PKG-INFO is asked; one that is broken is listed without."""
    said = {"tool-1.0/PKG-INFO": metadata("tool", "1.0", requires_python=">=3.8")}
    (folder / "tool-1.0.tar.gz").write_bytes(sdist_tar(said))
    (folder / "tool-2.0.zip").write_bytes(sdist_zip(said))
    (folder / "tool-3.0.tar.gz").write_bytes(sdist_tar(said)[:-50])
    (folder / "tool-4.0.zip").write_bytes(b"")
    files = (await page_of(index, "tool"))["files"]

    assert [file.get("requires-python") for file in files] == [">=3.8", ">=3.8", None, None]
    assert not any("core-metadata" in file for file in files)


async def test_a_wheel_is_listed_once_it_is_whole(index: FolderUpstream, folder: Path) -> None:
    """A copy under way is left out, and keeps the name for the folder all the same."""
    newer = wheel("acme", "2.0", padding=100_000)
    path = folder / "acme-2.0-py3-none-any.whl"
    for count in (0, 10, len(newer) - 1):
        path.write_bytes(newer[:count])
        assert await names_on(index) == [NAME]
    path.write_bytes(newer)
    assert await names_on(index) == [NAME, path.name]
    (folder / "solo-1.0-py3-none-any.whl").write_bytes(WHEEL[:-1])

    assert await names_on(index, "solo") == []


async def test_the_same_stats_are_the_same_page(index: FolderUpstream, folder: Path) -> None:
    """The validator is that of the project's own files, and says nothing of others."""
    page = await index.page(ACME)
    assert isinstance(page, NewPage)
    (folder / "other-1.0-py3-none-any.whl").write_bytes(WHEEL)
    assert isinstance(await index.page(ACME, page.validators), Unchanged)
    assert isinstance(await index.page(ACME, Validators(etag='"else"')), NewPage)
    os.utime(folder / NAME, ns=(0, 1))

    changed = await index.page(ACME, page.validators)
    assert isinstance(changed, NewPage)
    assert changed.validators != page.validators


async def test_files_are_read_once(
    index: FolderUpstream, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the project that is asked for, however many ask, until they change."""
    read: list[str] = []
    really = proxy.simple.distribution.contents_of

    def counted(file: Any, filename: str) -> Any:
        read.append(filename)
        return really(file, filename)

    monkeypatch.setattr("proxy.upstream_folder.contents_of", counted)
    (folder / "other-1.0-py3-none-any.whl").write_bytes(WHEEL)
    broken = folder / "acme-2.0-py3-none-any.whl"
    broken.write_bytes(b"")
    await asyncio.gather(*(index.page(ACME) for _ in range(5)))
    await index.page(ACME)
    assert read == [NAME, broken.name]
    broken.unlink()
    os.replace(shutil.copy(folder / NAME, folder / ".new"), folder / NAME)
    await index.page(ACME)

    assert read == [NAME, broken.name, NAME]


async def test_a_wheel_that_changes_under_way_is_left_for_later(
    index: FolderUpstream, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hash would be that of neither file."""
    really = proxy.simple.distribution.contents_of

    def disturbed(file: Any, filename: str) -> Any:
        contents = really(file, filename)
        with (folder / NAME).open("ab") as same:
            same.write(b"\0")
        return contents

    with monkeypatch.context() as patch:
        patch.setattr("proxy.upstream_folder.contents_of", disturbed)
        page = await index.page(ACME)
    assert isinstance(page, NewPage)
    assert json.loads(page.body)["files"] == []
    (folder / NAME).write_bytes(WHEEL)

    assert isinstance(await index.page(ACME, page.validators), NewPage)
    assert await names_on(index) == [NAME]


async def test_project_list(index: FolderUpstream, folder: Path, tmp_path: Path) -> None:
    """All names, and a validator that is that of the names."""
    (folder / "Zope.Thing-1.0.tar.gz").write_bytes(b"")
    listing = await index.project_list(tmp_path / "list", ROOT_LIST)
    assert isinstance(listing, NewPage)
    assert listing.content_type == JSON
    assert json.loads((tmp_path / "list").read_bytes()) == {
        "meta": {"api-version": "1.1"},
        "projects": [{"name": "acme"}, {"name": "zope-thing"}],
    }
    os.utime(folder / NAME, ns=(0, 1))
    again = await index.project_list(tmp_path / "again", ROOT_LIST, listing.validators)
    assert isinstance(again, Unchanged)
    (folder / NAME).unlink()
    listing = await index.project_list(tmp_path / "again", ROOT_LIST, listing.validators)
    assert isinstance(listing, NewPage)
    (folder / "Zope.Thing-1.0.tar.gz").unlink()

    with pytest.raises(UpstreamUnavailable):
        await index.project_list(tmp_path / "again", ROOT_LIST, listing.validators)


# --- what it cannot tell ------------------------------------------------------------------


async def test_unknown_is_what_has_no_file(index: FolderUpstream, folder: Path) -> None:
    """Also when its last file goes; there is nothing beside a folder."""
    (folder / "other-1.0-py3-none-any.whl").write_bytes(WHEEL)
    with pytest.raises(ProjectNotFound):
        await index.page(ProjectName("six"))
    with pytest.raises(ProjectNotFound):
        await index.document(index.beside("pypi/acme/json"), ACME, None, "*/*")
    await index.page(ACME)
    (folder / NAME).unlink()

    with pytest.raises(ProjectNotFound):
        await index.page(ACME)


async def test_a_folder_that_is_gone_knows_nothing(index: FolderUpstream, folder: Path) -> None:
    """Neither that there is a project nor that there is none; it tells again when it is back."""
    url = (folder / NAME).as_uri()
    folder.rename(folder.with_name("elsewhere"))
    for project in (ACME, ProjectName("six")):
        with pytest.raises(UpstreamUnavailable, match="cannot be read"):
            await index.page(project)
    with pytest.raises(UpstreamUnavailable):
        await received(index, url)
    assert index.is_failing
    folder.with_name("elsewhere").rename(folder)

    assert await names_on(index) == [NAME]
    assert not index.is_failing


@pytest.mark.parametrize("below", ["", "below"])
async def test_a_folder_that_may_not_be_read_knows_nothing(
    index: FolderUpstream, folder: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    """Nor does one of which a part may not be: the project may be there."""
    (folder / "below").mkdir()
    really = os.scandir

    def forbidden(path: Any) -> Any:
        if Path(path) == folder / below:
            raise PermissionError(13, "Permission denied", str(path))
        return really(path)

    monkeypatch.setattr("os.scandir", forbidden)

    with pytest.raises(UpstreamUnavailable, match="Permission denied"):
        await index.page(ProjectName("six"))


async def test_a_folder_that_had_files_and_has_none_knows_nothing(
    index: FolderUpstream, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is left of a mount point looks like that, and it is told once; empty from the start is
    empty."""
    (folder / "README.txt").write_text("no distribution")
    (folder / NAME).rename(folder.parent / NAME)
    with pytest.raises(ProjectNotFound):
        await index.page(ACME)
    (folder.parent / NAME).rename(folder / NAME)
    assert await names_on(index) == [NAME]
    (folder / NAME).rename(folder.parent / NAME)
    for project in (ACME, ProjectName("six"), ACME):
        with pytest.raises(UpstreamUnavailable, match=r"had files and has none now; .* restart"):
            await index.page(project)
    with pytest.raises(UpstreamUnavailable):
        await received(index, (folder / NAME).as_uri())
    assert index.is_failing
    assert capsys.readouterr().out.count("a folder is gone") == 1
    (folder.parent / NAME).rename(folder / NAME)

    assert await names_on(index) == [NAME]


async def test_a_folder_below_that_goes_meanwhile_is_no_failure(
    index: FolderUpstream, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was to be found there is found to be gone."""
    (folder / "below").mkdir()
    really = os.scandir

    def removing(path: Any) -> Any:
        if Path(path) == folder / "below":
            (folder / "below").rmdir()
        return really(path)

    monkeypatch.setattr("os.scandir", removing)

    assert await names_on(index) == [NAME]


async def test_a_disk_that_does_not_answer_is_asked_once(
    index: FolderUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks fails after a while, and takes no further thread into the wait."""
    monkeypatch.setattr("proxy.upstream_folder.PAGE_DEADLINE_SECONDS", 0.05)
    gate, asked = threading.Event(), 0
    really = index._folder.scan

    def stuck() -> Any:
        nonlocal asked
        asked += 1
        gate.wait()
        return really()

    monkeypatch.setattr(index._folder, "scan", stuck)
    for _ in range(3):
        with pytest.raises(UpstreamTimeout):
            await index.page(ACME)
    gate.set()
    monkeypatch.setattr("proxy.upstream_folder.PAGE_DEADLINE_SECONDS", 10)
    await index.page(ACME)

    assert asked <= 2


async def test_a_disk_that_fails_says_nothing_of_the_wheel(
    index: FolderUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of reading is a failure of the index, and is not remembered of the file."""

    def failing(*_: Any) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("proxy.simple.wheel.zipfile.ZipFile", failing)
        with pytest.raises(UpstreamUnavailable, match="Input/output error"):
            await index.page(ACME)

    assert await names_on(index) == [NAME]


@pytest.mark.parametrize("kind", ["missing", "file"])
async def test_a_folder_that_is_not_there_at_the_start(tmp_path: Path, kind: str) -> None:
    """One line that names the setting and the path."""
    path = tmp_path / "wheels"
    if kind == "file":
        path.write_bytes(b"")
    settings = load(
        flags={"cache": {"dir": str(tmp_path / "c")}, "index": [{"name": "ours", "url": str(path)}]}
    )

    with pytest.raises(ConfigError, match=f"index.url of the index ours: {path} "):
        async with application(settings):
            pass


# --- files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "start", "content"),
    [
        ((), 0, WHEEL),
        ((100,), 100, WHEEL[100:]),
        ((100, 200), 100, WHEEL[100:200]),
        ((-100,), len(WHEEL) - 100, WHEEL[-100:]),
        ((-100_000, len(WHEEL)), 0, WHEEL),
        ((10, 1_000_000), 10, WHEEL[10:]),
        ((len(WHEEL),), len(WHEEL), b""),
        ((len(WHEEL) + 1,), 0, WHEEL),
        ((100, 200, '"another file"'), 0, WHEEL),
    ],
)
async def test_parts(
    index: FolderUpstream,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    part: tuple[Any, ...],
    start: int,
    content: bytes,
) -> None:
    """As of a server that knows ranges; another file than the one meant comes whole."""
    monkeypatch.setattr("proxy.upstream_folder._CHUNK", 64)

    assert await received(index, (folder / NAME).as_uri(), *part) == (start, content)


async def test_a_validator_is_that_of_the_bytes(index: FolderUpstream, folder: Path) -> None:
    """Strong, and another one where another file stands."""
    url = (folder / NAME).as_uri()
    async with index.file(url) as stream:
        validator = stream.validator
        assert (stream.size_bytes, validator and validator[0]) == (len(WHEEL), '"')
    assert await received(index, url, 10, None, validator) == (10, WHEEL[10:])
    (folder / NAME).write_bytes(WHEEL[:-1])

    assert await received(index, url, 10, None, validator) == (0, WHEEL[:-1])


async def test_metadata_is_what_its_page_says(index: FolderUpstream, folder: Path) -> None:
    """Of wheels that have it, whole or in part, and of nothing else."""
    (folder / "acme-1.0.tar.gz").write_bytes(b"")
    (folder / "acme-2.0-py3-none-any.whl").write_bytes(b"")
    url = (folder / NAME).as_uri()
    assert await received(index, f"{url}.metadata") == (0, METADATA)
    assert await received(index, f"{url}.metadata", -5) == (len(METADATA) - 5, METADATA[-5:])
    for name in ("acme-1.0.tar.gz", "acme-2.0-py3-none-any.whl"):
        with pytest.raises(UpstreamFileMissing):
            await received(index, f"{(folder / name).as_uri()}.metadata")


async def test_there_is_no_way_out(index: FolderUpstream, folder: Path, tmp_path: Path) -> None:
    """Neither by dots, nor by slashes in disguise, nor by links, nor to other names."""
    (tmp_path / NAME).write_bytes(WHEEL)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / NAME).write_bytes(WHEEL)
    (folder / "link").symlink_to(outside)
    (folder / "acme-2.0-py3-none-any.whl").symlink_to(tmp_path / NAME)
    (folder / "below").mkdir()
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / NAME).write_bytes(WHEEL)
    (folder / "secret.txt").write_bytes(b"secret")
    (folder / "acme-3.0-py3-none-any.whl").mkdir()
    os.mkfifo(folder / "acme-4.0-py3-none-any.whl")
    root = f"{folder.as_uri()}/"
    urls = [
        f"{tmp_path.as_uri()}/{NAME}",
        f"{root}../{NAME}",
        f"{root}%2e%2e/{NAME}",
        f"{root}..%2F{NAME}",
        f"{root}%2E%2E%2f{NAME}",
        f"{root}/{NAME}",
        f"{root}./{NAME}",
        f"{root}%2F{tmp_path}/{NAME}".replace("//", "/"),
        f"{root}link/{NAME}",
        f"{root}link%2F{NAME}",
        f"{root}below%2F..%2F..%2Foutside/{NAME}",
        f"{root}below/..%2F..%2Foutside/{NAME}",
        f"{root}.hidden/{NAME}",
        f"{root}acme-2.0-py3-none-any.whl",
        f"{root}acme-3.0-py3-none-any.whl",
        f"{root}acme-4.0-py3-none-any.whl",
        f"{root}acme-5.0-py3-none-any.whl",
        f"{root}secret.txt",
        f"{root}secret.txt%00{NAME}",
        f"{root}{NAME}/{NAME}",
        f"{root}{NAME}?x",
        f"{root}{NAME}.asc",
        f"{root}{'a' * 300}/{NAME}",
        root,
        f"http://127.0.0.1:9/{NAME}",
        str(folder / NAME),
        "",
    ]

    assert await received(index, f"{root}{NAME}") == (0, WHEEL)
    for url in urls:
        with pytest.raises(UpstreamFileMissing):
            await received(index, url)


async def test_a_file_that_shrinks_under_way_is_cut(index: FolderUpstream, folder: Path) -> None:
    """It would otherwise be waited for at its end for ever."""
    async with index.file((folder / NAME).as_uri()) as stream:
        os.truncate(folder / NAME, 0)
        with pytest.raises(UpstreamMalformed, match="shorter"):
            await anext(stream.chunks)


# --- through wheelkeep --------------------------------------------------------------------


async def get(proxy: TestClient, path: str, status: int = 200, **headers: str) -> bytes:
    async with proxy.get(path, headers=headers) as answer:
        body = await answer.read()
        assert answer.status == status, body
        return body


async def listed(proxy: TestClient, path: str = "/simple/acme/") -> dict[str, Any]:
    return json.loads(await get(proxy, path, Accept=JSON))


def beside_an_index(folder: Path, upstream: FakeUpstream) -> list[dict[str, Any]]:
    return [{"name": "ours", "url": str(folder)}, {"name": "pypi", "url": upstream.url}]


async def test_all_of_it_is_served_like_any_index(
    make_proxy: MakeProxy, upstream: FakeUpstream, folder: Path
) -> None:
    """Pages of both kinds, the merged view and its own, lists, files, parts and metadata."""
    upstream.add("six", "six-1.0.tar.gz")
    proxy = await make_proxy(index=beside_an_index(folder, upstream))
    (file,) = (await listed(proxy))["files"]
    assert file["core-metadata"] == {"sha256": sha256(METADATA)}
    assert file["hashes"] == {"sha256": sha256(WHEEL)}
    assert "file:" not in json.dumps(file)
    path = f"/files/acme/{sha256(WHEEL)}/{NAME}"
    assert (await listed(proxy, "/index/ours/simple/acme/"))["files"][0]["filename"] == NAME
    assert path.encode() in await get(proxy, "/simple/acme/", Accept=HTML)
    assert await get(proxy, f"{path}.metadata") == METADATA
    assert await get(proxy, path, 206, Range="bytes=10-19") == WHEEL[10:20]
    assert await get(proxy, path) == WHEEL
    assert {one["name"] for one in (await listed(proxy, "/simple/"))["projects"]} == {"acme", "six"}
    own = await listed(proxy, "/index/ours/simple/")
    assert [one["name"] for one in own["projects"]] == ["acme"]

    assert (await listed(proxy, "/simple/six/"))["files"][0]["filename"] == "six-1.0.tar.gz"
    await get(proxy, "/index/ours/simple/six/", 404)
    await get(proxy, f"{path}.asc", 404)
    await get(proxy, "/pypi/acme/json", 404)


async def test_a_stored_page_is_read_back(
    make_proxy: MakeProxy, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process finds the page in the store and the file in the folder."""
    first = await make_proxy(index=[{"name": "ours", "url": str(folder)}])
    await listed(first)
    monkeypatch.setattr("proxy.upstream_folder.FolderUpstream.page", None)
    second = await make_proxy(index=[{"name": "ours", "url": str(folder)}])

    assert [file["filename"] for file in (await listed(second))["files"]] == [NAME]
    assert await get(second, f"/files/acme/{sha256(WHEEL)}/{NAME}") == WHEEL


@pytest.mark.parametrize("setting", [{}, {"page_ttl": "1h"}, {"offline": True}])
async def test_changes_are_seen_within_two_seconds(
    make_proxy: MakeProxy, folder: Path, clock: Clock, setting: dict[str, Any]
) -> None:
    """New files, new projects and those that went, whatever the cache's settings say."""
    proxy = await make_proxy(index=[{"name": "ours", "url": str(folder)}], **setting)
    assert (await listed(proxy))["versions"] == ["1.0"]
    await get(proxy, "/simple/tool/", 404)
    assert [one["name"] for one in (await listed(proxy, "/simple/"))["projects"]] == ["acme"]
    newer = wheel("acme", "2.0")
    (folder / "acme-2.0-py3-none-any.whl").write_bytes(newer)
    (folder / "tool-1.0.tar.gz").write_bytes(b"")
    clock.advance(seconds=2.1)
    async with proxy.get("/simple/acme/", headers={"Accept": JSON}) as answer:
        assert answer.headers["Cache-Control"] == "public, max-age=2"
        assert (await answer.json(content_type=None))["versions"] == ["1.0", "2.0"]
    assert (await listed(proxy, "/simple/tool/"))["versions"] == ["1.0"]
    assert len((await listed(proxy, "/simple/"))["projects"]) == 2
    path = f"/files/acme/{sha256(newer)}/acme-2.0-py3-none-any.whl"
    assert await get(proxy, path) == newer
    (folder / NAME).unlink()
    clock.advance(seconds=2.1)

    assert (await listed(proxy))["versions"] == ["2.0"]


@pytest.mark.parametrize("leaving", ["nothing", "an empty folder"])
async def test_another_index_never_speaks_for_a_folder_that_is_gone(
    make_proxy: MakeProxy, upstream: FakeUpstream, folder: Path, clock: Clock, leaving: str
) -> None:
    """What was seen is served as stale, and of all other names nobody can tell."""
    for project in ("acme", "six"):
        upstream.add(project, f"{project}-9.0.tar.gz")
    proxy = await make_proxy(index=beside_an_index(folder, upstream))
    assert (await listed(proxy))["versions"] == ["1.0"]
    folder.rename(folder.with_name("elsewhere"))
    if leaving == "an empty folder":
        folder.mkdir()
    clock.advance(minutes=5)

    assert (await listed(proxy))["versions"] == ["1.0"]
    await get(proxy, "/simple/six/", 502)
    assert not upstream.count("/simple/acme/") and not upstream.count("/simple/six/")
    ready = json.loads(await get(proxy, "/readyz"))
    assert ready["checks"]["index ours"] == "failing"


async def test_a_file_that_was_replaced_is_never_taken_for_the_old_one(
    make_proxy: MakeProxy, folder: Path
) -> None:
    """The hash in the link decides; what was kept of the old file is still served."""
    proxy = await make_proxy(index=[{"name": "ours", "url": str(folder)}])
    path = f"/files/acme/{sha256(WHEEL)}/{NAME}"
    await listed(proxy)
    (folder / NAME).write_bytes(wheel("acme", "1.0"))
    async with proxy.get(path) as answer:
        assert answer.status >= 400
    (folder / NAME).write_bytes(WHEEL)
    assert await get(proxy, path) == WHEEL
    (folder / NAME).unlink()

    assert await get(proxy, path) == WHEEL


async def test_an_index_cannot_list_what_lies_in_a_folder(
    make_proxy: MakeProxy, upstream: FakeUpstream, folder: Path
) -> None:
    """Over HTTP, a link to a file is no link."""
    upstream.add("evil", "evil-1.0.tar.gz")
    upstream.pages["evil"]["files"].append(
        {"filename": NAME, "url": (folder / NAME).as_uri(), "hashes": {}}
    )
    proxy = await make_proxy(index=beside_an_index(folder, upstream))

    assert [file["filename"] for file in (await listed(proxy, "/simple/evil/"))["files"]] == [
        "evil-1.0.tar.gz"
    ]
    await get(proxy, f"/files/evil/-/{NAME}", 404)


async def test_several_workers_over_one_folder(folder: Path, tmp_path: Path) -> None:
    """Whichever answers has the page and the file."""
    seen = set()
    flags = ("--workers", "3", "--index-url", str(folder))
    async with wheelkeep(tmp_path / "cache", *flags) as server:
        file = f"{server.url}/files/acme/{sha256(WHEEL)}/{NAME}"
        for _ in range(12):
            # Each on a connection of its own, which any of the workers may take.
            async with aiohttp.ClientSession(headers={"Accept": JSON}) as session:
                async with session.get(f"{server.url}/simple/acme/") as answer:
                    seen.add(await answer.read())
                async with session.get(file) as answer:
                    seen.add(await answer.read())

    assert len(seen) == 2 and WHEEL in seen
