"""What one process writes, the others of the machine see by a look at memory."""

import multiprocessing
from pathlib import Path

import pytest

from proxy.storage.changes import Changes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "changes"


def _note(path: Path, key: str | None) -> None:
    changes = Changes(path)
    if key is None:
        changes.note_all()
    else:
        changes.note(key)


@pytest.mark.parametrize("key", ["page:pypi:six", None])
def test_another_process_has_written(path: Path, key: str | None) -> None:
    """Its page, or all of them."""
    is_unchanged = Changes(path).watch("page:pypi:six")
    assert is_unchanged()
    process = multiprocessing.get_context("spawn").Process(target=_note, args=(path, key))
    process.start()
    process.join()

    assert process.exitcode == 0
    assert not is_unchanged()


def test_another_page_was_written(path: Path) -> None:
    """That is no reason to look again."""
    changes = Changes(path)
    is_unchanged = changes.watch("page:pypi:six")
    changes.note("page:pypi:attrs")

    assert is_unchanged()


def test_a_page_is_watched_anew_after_a_change(path: Path) -> None:
    """The first watch never holds again, also after a second change."""
    changes = Changes(path)
    first = changes.watch("page:pypi:six")
    changes.note("page:pypi:six")
    second = changes.watch("page:pypi:six")
    assert second()
    changes.note("page:pypi:six")

    assert not first()
    assert not second()


def test_a_process_that_starts_later_changes_nothing(path: Path) -> None:
    """What is in the file stays."""
    is_unchanged = Changes(path).watch("page:pypi:six")
    Changes(path)

    assert is_unchanged()


def test_the_file_has_no_holes(path: Path) -> None:
    """To write into one, once the disk is full, would end the process by SIGBUS."""
    with path.open("wb") as file:
        file.truncate(1 << 16)  # as earlier versions made it
    Changes(path)
    made = path.stat()

    assert made.st_blocks * 512 >= made.st_size
