"""Cells of shared memory that workers count into."""

import os

import pytest

from proxy.scoreboard import LARGEST_BYTES, Scoreboard


def test_a_cell_holds_what_was_written_last() -> None:
    cell = Scoreboard(slots=1).cell(0, generation=0)
    assert cell.read() == b""
    cell.write(b"one")
    cell.write(b"two, which is longer")
    cell.write(b"three")

    assert cell.read() == b"three"


def test_others_are_all_but_oneself() -> None:
    board = Scoreboard(slots=3)
    cells = [board.cell(slot, generation=0) for slot in range(3)]
    for number, cell in enumerate(cells):
        cell.write(b"worker %d" % number)

    assert cells[1].others() == [b"worker 0", b"worker 2"]


def test_a_renewed_worker_has_a_place_of_its_own() -> None:
    """The one that it replaces may still finish what it answers."""
    board = Scoreboard(slots=1)
    board.cell(0, generation=0).write(b"old")
    new = board.cell(0, generation=1)

    assert (new.read(), new.others()) == (b"", [b"old"])


def test_beats_are_of_one_place() -> None:
    board = Scoreboard(slots=2)
    one, other = (board.cell(slot, generation=0) for slot in range(2))
    one.write(b"counted")
    one.beat()
    one.beat()
    other.beat()

    assert (one.beats(), other.beats()) == (2, 1)
    assert (one.read(), board.deaths) == (b"counted", 0)


def test_what_another_process_writes_is_seen() -> None:
    board = Scoreboard(slots=2)
    child = os.fork()
    if child == 0:
        board.cell(1, generation=0).write(b"from the child")
        os._exit(0)
    os.waitpid(child, 0)

    assert board.cell(0, generation=0).others() == [b"from the child"]


def test_half_a_write_is_not_seen() -> None:
    """A worker that is killed while it writes leaves what it had written before."""
    board = Scoreboard(slots=1)
    cell = board.cell(0, generation=0)
    cell.write(b"whole")
    before = board._memory[:]
    cell.write(b"newer")
    is_newer = board._memory[0]
    for cut in (4, 8, 12):
        # All of the newer half up to there, and not yet the word that it counts.
        start = 8 + is_newer * (LARGEST_BYTES + 8)
        board._memory[:] = (
            before[:start] + board._memory[start : start + cut] + before[start + cut :]
        )
        assert cell.read() == b"whole"


def test_a_half_that_does_not_hold_together_is_nothing() -> None:
    board = Scoreboard(slots=1)
    cell = board.cell(0, generation=0)
    cell.write(b"whole")
    half = 8 + board._memory[0] * (LARGEST_BYTES + 8)
    board._memory[half + 8] ^= 1

    assert cell.read() == b""


def test_too_much_is_refused_and_what_was_there_stays() -> None:
    cell = Scoreboard(slots=1).cell(0, generation=0)
    cell.write(b"whole")
    with pytest.raises(ValueError, match="bytes of counts"):
        cell.write(bytes(LARGEST_BYTES + 1))

    assert cell.read() == b"whole"


def test_deaths_are_counted() -> None:
    board = Scoreboard(slots=2)
    board.note_death()
    board.note_death()

    assert board.cell(0, generation=0).deaths == 2
