"""Disks that fill, processes that are killed, copies that break off, files that are evicted."""

import asyncio
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from proxy.bundle.exporting import ArchiveWriter
from proxy.storage.blobs import BlobKey, DiskBlobs
from tests.bundle.caches import MadeCache, run
from tests.servers import S3Server

_ROOT = Path(__file__).parents[2]


def started(*arguments: str | Path, **options: object) -> subprocess.Popen[bytes]:
    """A command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "proxy", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,  # type: ignore[call-overload]
    )


def until(check: object) -> None:
    assert callable(check)
    ends_at = time.monotonic() + 20
    while not check():
        assert time.monotonic() < ends_at
        time.sleep(0.005)


def has_come_far(far: MadeCache, count: int, process: subprocess.Popen[bytes]) -> bool:
    return len(far.files()) > count or process.poll() is not None


def parts_beside(bundle: Path) -> list[Path]:
    return list(bundle.parent.glob(".*.part"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_export_that_is_stopped(near: MadeCache, bundle: Path, number: signal.Signals) -> None:
    """Nothing looks like a bundle; what a kill leaves is hidden, and goes with the next one."""
    for at in range(20):
        near.add_file("large", f"large-{at}.0.tar.gz", os.urandom(4_000_000))
    process = started("export", bundle, *near.flags)
    until(lambda: any(part.stat().st_size > 1_000_000 for part in parts_beside(bundle)))
    process.send_signal(number)
    _, said = process.communicate()

    assert process.returncode != 0
    assert b"Traceback" not in said
    assert not bundle.exists()
    assert bool(parts_beside(bundle)) == (number == signal.SIGKILL)
    assert run("export", bundle, *near.flags).exit_code == 0
    assert parts_beside(bundle) == []


def test_an_import_that_is_killed_goes_on(near: MadeCache, far: MadeCache, bundle: Path) -> None:
    """Whenever that happens, nothing wrong is visible; the next one brings the rest."""
    for at in range(20):
        near.add_file("large", f"large-{at}.0.tar.gz", os.urandom(2_000_000))
    run("export", bundle, *near.flags)
    for count in (1, 5, 9, 14):
        process = started("import", bundle, *far.flags)
        until(partial(has_come_far, far, count, process))
        process.kill()
        process.communicate()
        assert far.files().items() <= near.files().items()
        assert far.pages().items() <= near.pages().items()
    told = json.loads(run("import", bundle, *far.flags, "--json").stdout)

    assert told["is_complete"]
    assert told["already_here"]["files"] > 10
    assert (far.files(), far.pages()) == (near.files(), near.pages())


def test_a_copy_that_breaks_off(near: MadeCache, far: MadeCache, bundle: Path) -> None:
    """What is whole is here, and the line says that this is not all."""
    near.add_file("zeta", "zeta-1.0.tar.gz", os.urandom(1_000_000))
    run("export", bundle, *near.flags)
    whole = bundle.read_bytes()
    bundle.write_bytes(whole[:-500_000])
    cut = run("import", bundle, *far.flags, "--json")

    assert cut.exit_code == 1
    assert "not complete: it breaks off; 2 of 3 projects are here" in cut.stderr
    told = json.loads(cut.stdout)
    assert (told["is_complete"], told["projects"], told["files"]) == (False, 2, 4)
    bundle.write_bytes(whole)
    assert run("import", bundle, *far.flags).exit_code == 0
    assert far.files() == near.files()


def test_a_disk_that_is_full(near: MadeCache, far: MadeCache, bundle: Path) -> None:
    """The line says so, nothing half is left, and importing again goes on."""
    near.add_file("zeta", "zeta-1.0.tar.gz", os.urandom(3_000_000))
    run("export", bundle, *near.flags)
    process = started(
        "import",
        bundle,
        *far.flags,
        preexec_fn=lambda: (
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
            resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000)),
        ),
    )
    _, said = process.communicate()

    assert process.returncode == 1
    assert b"Traceback" not in said
    assert b"2 of 3 projects are here" in said
    assert far.leftovers() == []
    assert (
        far.files().items()
        == {  # and what was there has not gone for it
            path: content for path, content in near.files().items() if not path.startswith("zeta")
        }.items()
    )
    assert run("import", bundle, *far.flags).exit_code == 0
    assert far.files() == near.files()


def test_a_bundle_that_cannot_be_written(near: MadeCache, tmp_path: Path) -> None:
    """One line that names it, exit status 1."""
    result = run("export", tmp_path / "no" / "bundle", *near.flags)

    assert result.exit_code == 1
    assert os.strerror(errno.ENOENT) in result.stderr


def test_a_file_that_goes_while_the_bundle_is_written(
    near: MadeCache, far: MadeCache, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is in the bundle; both sides say what is not, with exit status 1."""
    gone, damaged = sorted(near.files())[2:4]
    add = ArchiveWriter.add

    def evict(self: ArchiveWriter, name: str, *arguments: object) -> None:
        (near.folder / "blobs" / gone).unlink(missing_ok=True)
        (near.folder / "blobs" / damaged).write_bytes(b"x" * 10)
        add(self, name, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ArchiveWriter, "add", evict)
    written = run("export", bundle, *near.flags)
    assert written.exit_code == 1
    taken = run("import", bundle, *far.flags, "--json")

    assert taken.exit_code == 1
    for path in (gone, damaged):
        project, filename, sha256 = path.split("/")
        for said in (written.stderr, taken.stderr):
            assert f"files/{project}/{sha256}/{filename}" in said
    assert set(far.files()) == set(near.files()) - {gone, damaged}
    assert far.pages() == near.pages()
    assert not json.loads(taken.stdout)["is_complete"]


def test_a_large_file_takes_no_memory(near: MadeCache, far: MadeCache, bundle: Path) -> None:
    """200 MB go through either way in the memory of a small one."""
    sparse = near.folder.parent / "sparse"
    with sparse.open("wb") as file:
        file.truncate(200 << 20)
    import hashlib

    with sparse.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    target = near.folder / "blobs" / "zeta" / "zeta-1.0.tar.gz" / sha256
    target.parent.mkdir(parents=True)
    sparse.rename(target)

    def memory_of(*arguments: str | Path) -> int:
        script = (
            "import sys\nfrom proxy.cli import main\n"
            "try: main(sys.argv[1:])\nexcept SystemExit as end: assert not end.code, end.code\n"
            "print(*[line.split()[1] for line in open('/proc/self/status') if 'VmHWM' in line])"
        )
        said = subprocess.run(
            [sys.executable, "-c", script, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            capture_output=True,
            check=True,
        )
        return int(said.stdout.splitlines()[-1]) << 10

    assert memory_of("export", bundle, *near.flags) < 150 << 20
    assert memory_of("import", bundle, *far.flags) < 150 << 20
    assert (far.folder / target.relative_to(near.folder)).stat().st_size == 200 << 20


async def test_what_only_the_object_store_has(
    near: MadeCache, far: MadeCache, bundle: Path, s3: S3Server
) -> None:
    """It is fetched from there, and verified; what is not right there is left out."""
    await s3.put(f"team/{min(near.files())}", b"here already")
    for path, content in (("gamma", b"right"), ("delta", b"wrong")):
        import hashlib

        sha256 = hashlib.sha256(content if path == "gamma" else b"right").hexdigest()
        await s3.put(f"team/{path}/{path}-1.0.tar.gz/{sha256}", content)
    environment = {**s3.environment, "WHEELKEEP_CACHE__BLOBS": s3.url}
    written = await asyncio.to_thread(run, "export", bundle, *near.flags, env=environment)
    taken = await asyncio.to_thread(run, "import", bundle, *far.flags)

    assert "files/delta/" in written.stderr
    assert (written.exit_code, taken.exit_code) == (1, 1)
    added = {path: content for path, content in far.files().items() if path not in near.files()}
    assert [(path.split("/")[0], content) for path, content in added.items()] == [
        ("gamma", b"right")
    ]


def test_a_draft_of_an_import_is_no_fill(near: MadeCache, far: MadeCache, bundle: Path) -> None:
    """A server that is fetching the same file neither waits nor is waited for."""
    run("export", bundle, *near.flags)
    blobs = DiskBlobs(far.folder, 1 << 30)
    blobs.prepare()
    key = BlobKey.of_path(min(near.files()))
    assert key is not None
    fill = blobs.draft(key.sha256, {"sha256": key.sha256})
    assert fill is not None
    assert run("import", bundle, *far.flags).exit_code == 0
    fill.close()
    blobs.close()

    assert far.files() == near.files()


def test_logs_are_not_in_the_way(near: MadeCache, far: MadeCache, bundle: Path) -> None:
    """Whatever a store has to say of its failure, standard output is one JSON object."""
    run("export", bundle, *near.flags)
    flags = ("--redis", "redis://127.0.0.1:1/0", "--cache-dir", far.folder)
    result = run("import", bundle, *flags, "--json")

    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert "Redis" in told["problem"]
    assert (told["files"], told["pages"]) == (2, 0)
    assert "0 of 2 projects are here" in result.stderr
