"""Metrics of all workers, whichever is asked."""

from proxy.families import total
from proxy.scoreboard import Scoreboard
from proxy.telemetry import Telemetry
from proxy.workers import Workers, exposition


class Wall:
    """A clock of the epoch."""

    seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


def counting(board: Scoreboard, slot: int, requests: int, wall: Wall, generation: int = 0):
    telemetry = Telemetry()
    for _ in range(requests):
        telemetry.requests.tally("page", 200, "hit").add(0.002, 10)
    return Workers(telemetry, board.cell(slot, generation), wall), telemetry


def requests(workers: Workers) -> float:
    return total(workers.metrics(), "wheelkeep_requests_total", outcome="hit")


def test_counters_and_histograms_add_up() -> None:
    board, wall = Scoreboard(slots=2), Wall()
    first, _ = counting(board, 0, 3, wall)
    second, _ = counting(board, 1, 4, wall)
    second.publish()
    text = exposition(first.metrics()).decode()

    assert requests(first) == 7
    assert 'wheelkeep_request_seconds_count{route="page"} 7.0' in text
    assert 'wheelkeep_request_seconds_bucket{le="0.0025",route="page"} 7.0' in text
    assert 'wheelkeep_served_bytes_total{outcome="hit",route="page"} 70.0' in text
    assert "wheelkeep_workers 2.0" in text


def test_one_worker_alone_needs_no_board() -> None:
    telemetry = Telemetry()
    telemetry.requests.tally("page", 200, "hit").add(0.002, 10)
    workers = Workers(telemetry, None)
    workers.publish()

    assert requests(workers) == 1
    assert total(workers.metrics(), "wheelkeep_workers") == 1


def test_what_a_worker_counted_that_died_stays_counted() -> None:
    """Prometheus takes a sum that falls for a restart, and adds all of it once more."""
    board, wall = Scoreboard(slots=2), Wall()
    dead, _ = counting(board, 0, 5, wall)
    dead.publish()
    successor, _ = counting(board, 0, 2, wall)
    other, _ = counting(board, 1, 1, wall)
    assert requests(successor) == 7
    successor.publish()
    assert requests(other) == 8
    third, _ = counting(board, 0, 0, wall)

    assert requests(third) == 7


def test_a_gauge_is_the_largest_of_those_that_live() -> None:
    board, wall = Scoreboard(slots=2), Wall()
    first, _ = counting(board, 0, 0, wall)
    second, telemetry = counting(board, 1, 0, wall)
    telemetry.upstream.watch("pypi", lambda: True)
    second.publish()
    assert total(first.metrics(), "wheelkeep_upstream_failing", index="pypi") == 1
    wall.seconds += 60

    assert total(first.metrics(), "wheelkeep_upstream_failing", index="pypi") == 0
    assert total(first.metrics(), "wheelkeep_workers") == 1


def test_memory_adds_up() -> None:
    board, wall = Scoreboard(slots=2), Wall()
    first, _ = counting(board, 0, 0, wall)
    alone = total(first.metrics(), "process_resident_memory_bytes")
    second, _ = counting(board, 1, 0, wall)
    second.publish()

    assert total(first.metrics(), "process_resident_memory_bytes") > alone * 1.5


def test_what_is_in_another_form_is_passed_over() -> None:
    board, wall = Scoreboard(slots=2), Wall()
    first, _ = counting(board, 0, 1, wall)
    board.cell(1, 0).write(b"something else")

    assert requests(first) == 1


def test_deaths_are_told() -> None:
    board, wall = Scoreboard(slots=2), Wall()
    first, _ = counting(board, 0, 1, wall)
    board.note_death()

    assert total(first.metrics(), "wheelkeep_worker_deaths_total") == 1


def test_more_than_there_is_room_for_is_told_once(capsys) -> None:
    board, wall = Scoreboard(slots=2), Wall()
    first, telemetry = counting(board, 0, 1, wall)
    for number in range(20_000):
        telemetry.requests.tally(f"route{number}", 200, "hit").add(0.001, 1)
    first.publish()
    first.publish()

    assert capsys.readouterr().out.count("metrics not shared") == 1
    assert requests(first) == 20_001
