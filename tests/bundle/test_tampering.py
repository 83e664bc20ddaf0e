"""Bundles that are not what they should be: nothing wrong of them is ever visible."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.bundle import archive
from proxy.bundle.archive import zstd
from proxy.bundle.manifest import BundledFile, BundledProject, Manifest, WheelNote, encode
from proxy.simple.content import pack
from tests.bundle.caches import MadeCache, run

Members = list[tuple[tarfile.TarInfo, bytes]]
BETA = "pages/pypi/beta.gz"
"""The page of the second project."""


@pytest.fixture
def whole(near: MadeCache, bundle: Path) -> bytes:
    """The bytes of a bundle."""
    assert run("export", bundle, *near.flags).exit_code == 0
    return bundle.read_bytes()


def members_of(bundle: bytes) -> Members:
    with tarfile.open(fileobj=io.BytesIO(zstd.decompress(bundle))) as archive:
        found = []
        for entry in archive:
            file = archive.extractfile(entry)
            assert file is not None
            found.append((plain(entry.name, entry.size), file.read()))
    return found


def plain(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry


def packed(members: Members, format: int = tarfile.GNU_FORMAT) -> bytes:
    """A bundle of these members, whatever they are."""
    stream = io.BytesIO()
    for entry, content in members:
        stream.write(entry.tobuf(format, "utf-8", "surrogateescape"))
        stream.write(content + bytes(-len(content) % 512))
    return zstd.compress(stream.getvalue() + bytes(1024))


def with_manifest(members: Members, change: Callable[[dict[str, Any]], None]) -> Members:
    """The members behind a manifest that says something else."""
    document = json.loads(members[0][1])
    change(document)
    content = json.dumps(document).encode()
    return [(plain("manifest.json", len(content)), content), *members[1:]]


def taken(far: MadeCache, path: Path, bundle: bytes, *flags: str) -> Result:
    path.write_bytes(bundle)
    return run("import", path, *far.flags, *flags)


def assert_nothing_wrong(far: MadeCache, near: MadeCache, *, in_order: bool = True) -> None:
    """What is here is what was there, and nothing is half."""
    assert far.files().items() <= near.files().items()
    assert far.pages().items() <= near.pages().items()
    assert far.leftovers() == []
    names = {name.split("/")[0] for _, name in far.pages()}
    for name in names if in_order else ():  # no page before its files
        assert {path for path in near.files() if path.startswith(f"{name}/")} <= set(far.files())


def test_what_is_packed_anew_is_the_same(near: MadeCache, far: MadeCache, whole: bytes) -> None:
    """So that the tests below refuse what they change, and nothing else."""
    result = taken(far, near.folder / "anew", packed(members_of(whole)))

    assert (result.exit_code, far.files()) == (0, near.files())


SOME = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def assert_told(result: Result) -> None:
    """One line and exit status 1 or 2, never a traceback."""
    assert result.exit_code in (1, 2)
    assert result.stderr.startswith("wheelkeep: ")
    assert len(result.stderr.splitlines()) == 1


def with_another_byte(content: bytes, data: st.DataObject, first: int = 0) -> bytes:
    """The content, of which a byte is another: the one at `first`, or one behind it."""
    wrong = bytearray(content)
    wrong[data.draw(st.integers(first, len(wrong) - 1))] ^= data.draw(st.integers(1, 255))
    return bytes(wrong)


@SOME
@given(data=st.data())
def test_any_byte_that_is_another(
    near: MadeCache, whole: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """It is told, unless it means nothing; and there is never a wrong file or page."""
    far = MadeCache(tmp_path_factory.mktemp("far") / "cache")
    result = taken(far, far.folder.with_name("wrong"), with_another_byte(whole, data))

    if result.exit_code == 0:  # some bits of zstd mean nothing
        assert (far.files(), far.pages()) == (near.files(), near.pages())
    else:
        assert_told(result)
    assert_nothing_wrong(far, near)


@SOME
@given(data=st.data())
def test_any_byte_that_is_another_before_it_was_compressed(
    near: MadeCache, whole: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Likewise where the checksum of the compressed bytes is right."""
    far = MadeCache(tmp_path_factory.mktemp("far") / "cache")
    behind = tarfile.BLOCKSIZE + len(members_of(whole)[0][1])  # the manifest
    wrong = with_another_byte(zstd.decompress(whole), data, behind)
    result = taken(far, far.folder.with_name("wrong"), zstd.compress(wrong))

    assert_told(result)
    assert_nothing_wrong(far, near)


@SOME
@given(data=st.data())
def test_cut_anywhere(
    near: MadeCache, whole: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """What is whole of it is here, it is told that this is not all, and the rest can follow."""
    far = MadeCache(tmp_path_factory.mktemp("far") / "cache")
    end = data.draw(st.integers(0, len(whole) - 1))
    cut = taken(far, far.folder.with_name("cut"), whole[:end])
    assert_told(cut)
    assert_nothing_wrong(far, near)

    assert taken(far, far.folder.with_name("whole"), whole).exit_code == 0
    assert (far.files(), far.pages()) == (near.files(), near.pages())


@SOME
@given(content=st.binary(max_size=2000))
def test_anything_else(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, whole: bytes
) -> None:
    """It is no bundle: exit status 2, and no cache is made."""
    far = MadeCache(tmp_path_factory.mktemp("far") / "cache")
    for given_bytes in (content, zstd.compress(content)):
        result = taken(far, far.folder.with_name("other"), given_bytes)
        assert result.exit_code == 2
        assert "this is no bundle" in result.stderr
        assert not far.folder.exists()


def at(members: Members, start: str) -> int:
    return next(at for at, (entry, _) in enumerate(members) if entry.name.startswith(start))


def refused(
    near: MadeCache, far: MadeCache, members: Members, *words: str, in_order: bool = True
) -> None:
    """It is, with these words, and nothing wrong is here."""
    result = taken(far, near.folder / "wrong", packed(members))

    assert result.exit_code in (1, 2)
    for word in words:
        assert word in result.stderr
    assert_nothing_wrong(far, near, in_order=in_order)


@pytest.mark.parametrize("kind", ["files/beta", BETA])
def test_other_content(near: MadeCache, far: MadeCache, whole: bytes, kind: str) -> None:
    """The line names the member; what came before it is here."""
    members = members_of(whole)
    where = at(members, kind)
    entry, content = members[where]
    members[where] = (entry, content[:-1] + bytes([content[-1] ^ 1]))

    refused(near, far, members, "tampered", entry.name, "sha256", "1 of 2 projects are here")
    assert ("pypi", "alpha") in far.pages()
    assert ("pypi", "beta") not in far.pages()


def with_page(bundle: bytes, body: bytes) -> Members:
    """The members, of which one page is another, and the manifest says so."""
    members = members_of(bundle)
    members[at(members, BETA)] = (plain(BETA, len(body)), body)

    def lie(document: dict[str, Any]) -> None:
        page = document["projects"][1]["pages"][0]
        page |= {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}

    return with_manifest(members, lie)


def test_a_manifest_that_fits_other_content(near: MadeCache, far: MadeCache, whole: bytes) -> None:
    """A page is also held against its own ETag; and what the digest is for is told by it."""
    body = pack(b'{"meta": {"api-version": "1.1"}, "files": []}')

    refused(near, far, with_page(whole, body), BETA, "ETag")


def added(entry: tarfile.TarInfo, content: bytes = b"") -> Callable[[Members], None]:
    return lambda members: members.insert(2, (entry, content))


def link(name: str, kind: bytes, target: str = "/etc/passwd") -> tarfile.TarInfo:
    entry = plain(name, 0)
    entry.type, entry.linkname = kind, target
    return entry


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (added(plain("more.txt", 3), b"abc"), "more.txt"),
        (added(plain("../../escape", 3), b"abc"), "../../escape"),
        (added(plain("/etc/cron.d/escape", 3), b"abc"), "/etc/cron.d/escape"),
        (added(link("blobs", tarfile.SYMTYPE, "/")), "blobs"),
        (added(link("hard", tarfile.LNKTYPE)), "hard"),
        (added(link("device", tarfile.CHRTYPE)), "device"),
        (added(link("pipe", tarfile.FIFOTYPE)), "pipe"),
        (added(plain("x" * 5000, 0)), "its name is too long"),
        (lambda members: members.insert(2, members[1]), "files/alpha"),
        (lambda members: members.insert(3, members.pop(1)), "files/alpha"),
        (lambda members: members.pop(1), "files/alpha"),
        (lambda members: members.pop(), "end.json"),
        (lambda members: members.append((plain("behind", 0), b"")), "behind"),
    ],
)
def test_members_that_are_not_what_the_manifest_names(
    near: MadeCache, far: MadeCache, whole: bytes, change: Callable[[Members], None], name: str
) -> None:
    """More, elsewhere, of another kind, twice, in another order, or missing."""
    members = members_of(whole)
    change(members)

    refused(near, far, members, name, in_order=False)
    assert not list(far.folder.parent.glob("escape"))


@pytest.mark.parametrize("size", [0, 1, 10**9, 1 << 40])
def test_sizes_that_lie(near: MadeCache, far: MadeCache, whole: bytes, size: int) -> None:
    """In the header, or in the manifest as well."""
    members = members_of(whole)
    where = at(members, "files/beta")
    name, content = members[where][0].name, members[where][1]
    members[where] = (plain(name, size), content)
    refused(near, far, members, name)

    def lie(document: dict[str, Any]) -> None:
        document["projects"][1]["files"][0]["size"] = size

    refused(near, far, with_manifest(members, lie), "" if size > 10**6 else name)


def test_a_page_that_grows(near: MadeCache, far: MadeCache, whole: bytes) -> None:
    """A gigabyte in a megabyte is not unpacked."""
    body = gzip.compress(bytes(300 << 20), 9)

    refused(near, far, with_page(whole, body), BETA, "too large")


def with_manifest_of(far: MadeCache, bundle: Path, size: int) -> Result:
    """What import says of a manifest whose header tells that size; a mebibyte follows."""
    header = plain("manifest.json", size).tobuf(tarfile.GNU_FORMAT)
    return taken(far, bundle, zstd.compress(header + bytes(1 << 20)))


@pytest.mark.parametrize("size", [archive.LARGEST_MANIFEST_BYTES + 1, 1 << 40])
def test_a_manifest_above_the_bound(far: MadeCache, bundle: Path, size: int) -> None:
    """A terabyte that compresses to nothing is not read."""
    result = with_manifest_of(far, bundle, size)

    assert result.exit_code == 2
    assert f"{size} bytes, and may have 67108864" in result.stderr


@pytest.mark.parametrize("size", [-1, -512])
def test_a_manifest_of_less_than_nothing(far: MadeCache, bundle: Path, size: int) -> None:
    """The format can write that, and it is not read until the end."""
    result = with_manifest_of(far, bundle, size)

    assert result.exit_code == 2
    assert "does not begin with a manifest" in result.stderr


def set_key(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = to

    return change


RECORD = ("projects", 0, "pages", 0, "record")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_key("version", to=2), "version 2 of the format, and this wheelkeep reads version 1"),
        (set_key("format", to="wheel-of-cheese"), "wheel-of-cheese"),
        (set_key("surprise", to=1), "surprise"),
        (set_key("projects", 0, "project", to="../alpha"), "../alpha"),
        (set_key("projects", 0, "project", to="Alpha"), "Alpha"),
        (set_key("projects", 0, "project", to="gamma"), "no page of it"),
        (set_key("projects", 0, "files", 0, "filename", to="../../x.whl"), "../../x.whl"),
        (set_key("projects", 0, "files", 0, "filename", to="a\nb.whl"), "no name of a file"),
        (set_key("projects", 0, "files", 0, "sha256", to="AB"), "sha256"),
        (set_key("projects", 0, "files", 0, "size", to=-1), "size"),
        (set_key("projects", 0, "pages", 0, "index", to="other"), "other"),
        (set_key("projects", 0, "pages", 0, "name", to="beta"), "beta"),
        (set_key("projects", 0, "pages", 0, "name", to="alpha/../../x"), "alpha/../../x"),
        (set_key("projects", 0, "pages", 0, "name", to="alpha/json"), "twice"),
        (set_key("projects", 0, "pages", 0, "record", "etag", to=None), "no body"),
        (set_key("projects", 0, "pages", 0, "record", "etag", to="x:y"), "ETag"),
        (set_key("projects", 0, "pages", 0, "size", to=1 << 40), "too large"),
        (set_key("indexes", 0, "name", to="a:b"), "indexes"),
        (set_key(*RECORD, "serial", to="1\r\nX-Bad: 1"), "header"),
        (set_key(*RECORD, "upstream_etag", to="\u20ac"), "header"),
        (set_key(*RECORD, "stamp", "fetched_at", to="9999-12-31T23:59:59Z"), "time"),
        (set_key(*RECORD, "stamp", "fetched_at", to="2026-01-01T00:00:00"), "zone"),
        (set_key(*RECORD, "stamp", "age_when_fetched", to="-PT1S"), "age"),
        (set_key(*RECORD, "stamp", "age_when_fetched", to="P999999D"), "age"),
        (set_key("projects", 0, "seen", to={"pypi": {"x": 1e300}}), "seen"),
        (set_key("projects", 0, "seen", to={"other": {"x": 1}}), "other"),
    ],
)
def test_manifests_that_no_exporter_writes(
    near: MadeCache,
    far: MadeCache,
    whole: bytes,
    change: Callable[[dict[str, Any]], None],
    words: str,
) -> None:
    """One line that says what is wrong with it, exit status 2, and nothing is taken."""
    result = taken(far, near.folder / "wrong", packed(with_manifest(members_of(whole), change)))

    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not far.folder.exists()


# --- whose it is ------------------------------------------------------------------------------


def test_the_digest_that_was_printed(near: MadeCache, far: MadeCache, bundle: Path) -> None:
    """Another bundle is refused before anything of it is taken."""
    said = json.loads(run("export", bundle, *near.flags, "--json").stdout)
    refusal = run("import", bundle, *far.flags, "--sha256", "0" * 64)

    assert (refusal.exit_code, far.folder.exists()) == (2, False)
    assert said["sha256"] in refusal.stderr
    assert run("import", bundle, *far.flags, "--sha256", said["sha256"].upper()).exit_code == 0
    assert far.files() == near.files()


def test_a_key(near: MadeCache, far: MadeCache, bundle: Path, tmp_path: Path) -> None:
    """What another made, or was made without it, is refused before anything of it is taken."""
    key, other, short = (tmp_path / name for name in ("key", "other", "short"))
    key.write_text("k" * 64 + "\n")
    other.write_text("o" * 64)
    short.write_text("short")
    run("export", bundle, *near.flags)
    without = run("import", bundle, *far.flags, "--key", str(key))
    run("export", bundle, *near.flags, "--key", str(key))
    wrong = run("import", bundle, *far.flags, "--key", str(other))
    too_short = run("export", bundle, *near.flags, "--key", str(short))

    assert [one.exit_code for one in (without, wrong, too_short)] == [2, 2, 2]
    assert "without --key" in without.stderr
    assert "another key" in wrong.stderr
    assert "32 bytes" in too_short.stderr
    assert not far.folder.exists()
    assert run("import", bundle, *far.flags, "--key", str(key)).exit_code == 0
    assert run("import", bundle, *far.flags).exit_code == 0
    assert far.files() == near.files()


def test_a_page_from_the_future(near: MadeCache, far: MadeCache, whole: bytes) -> None:
    """It would stay for ever: no page that is fetched later would ever be newer."""
    time = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    wrong = with_manifest(members_of(whole), set_key(*RECORD, "stamp", "fetched_at", to=time))
    result = taken(far, near.folder / "wrong", packed(wrong))

    assert result.exit_code == 1
    assert "alpha" in result.stderr
    assert "yet to come" in result.stderr
    assert ("pypi", "alpha") not in far.pages()


def test_a_page_that_is_here_and_from_the_future(
    near: MadeCache, far: MadeCache, whole: bytes
) -> None:
    """It gives way to one that was really fetched."""
    far.write_page("alpha", fetched_at=datetime.now(UTC) + timedelta(days=400))

    assert taken(far, near.folder / "whole", whole).exit_code == 0
    assert far.pages() == near.pages()


def test_the_manifest_of_a_large_bundle_fits() -> None:
    """One of 100,000 wheels, with all that is known of each."""
    names = [f"a-rather-long-name-{at}-1.0.0-cp312-manylinux_2_28_x86_64.whl" for at in range(1000)]
    sha256s = [f"{at:064x}" for at in range(1000)]
    project = BundledProject(
        project="alpha",
        files=tuple(
            BundledFile(filename=name, sha256=sha256, size=1 << 30)
            for name, sha256 in zip(names, sha256s, strict=True)
        ),
        seen={"pypi": dict.fromkeys(names, 1732449600.123456)},
        metadata={"pypi": {sha256: WheelNote(sha256=sha256) for sha256 in sha256s}},
    )
    size = len(encode(Manifest(indexes=(), projects=(project,))))

    assert 100 * size < archive.LARGEST_MANIFEST_BYTES
