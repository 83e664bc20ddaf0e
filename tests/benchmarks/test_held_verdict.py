"""Whose fault a problem is, and which promises that breaks."""

from msgspec.structs import replace

from benchmarks.held.disturber import outages, plan
from benchmarks.held.record import Event, Happened, Problem, What, bucket, percentile
from benchmarks.held.verdict import Weight, claims, count_claim, memory_claim, redis_absences, weigh

AT = 1000.0
FAILED = Problem(
    begun=AT, ended=AT + 1, kind="page", what=What.FAILED, url="/", detail="", status=502
)
FILE = replace(FAILED, kind="file")


def happened(*events: tuple[float, Happened]) -> list[Event]:
    return [Event(at=AT + after, what=what) for after, what in events]


REDIS_AWAY = happened((-5, Happened.REDIS_KILLED), (5, Happened.REDIS_BACK))
REDIS_EMPTIED = happened((-50, Happened.REDIS_KILLED), (-40, Happened.REDIS_EMPTIED))


def test_a_failure_breaks_a_promise_where_a_good_answer_was_at_hand() -> None:
    """Not where nobody had one."""
    assert weigh(FAILED, []) is Weight.UPSTREAM
    assert weigh(replace(FAILED, seen_at=AT - 10), []) is Weight.BROKEN
    assert weigh(replace(FILE, seen_at=AT - 10), []) is Weight.BROKEN


def test_a_page_that_redis_had_is_not_at_hand_while_redis_is_away() -> None:
    """Unless this very worker has answered it. A file is on disk, whatever Redis does."""
    seen = replace(FAILED, seen_at=AT - 100)
    assert weigh(seen, REDIS_AWAY) is Weight.REDIS
    assert weigh(replace(seen, is_same_connection=True), REDIS_AWAY) is Weight.BROKEN
    assert weigh(replace(FILE, seen_at=AT - 100), REDIS_AWAY) is Weight.BROKEN
    assert weigh(replace(seen, begun=AT + 100, ended=AT + 101), REDIS_AWAY) is Weight.BROKEN


def test_answers_of_two_workers_may_cross() -> None:
    """What one has just been told, the other does not know yet."""
    crossed = replace(FAILED, begun=AT - 5, ended=AT, seen_at=AT - 0.1)
    assert weigh(crossed, []) is Weight.UPSTREAM
    assert weigh(replace(crossed, is_same_connection=True), []) is Weight.BROKEN
    assert weigh(replace(crossed, seen_at=AT - 1), []) is Weight.BROKEN
    assert weigh(replace(crossed, begun=AT - 0.05), []) is Weight.BROKEN


def test_what_redis_has_forgotten_is_not_at_hand_until_it_was_seen_again() -> None:
    forgotten = replace(FAILED, seen_at=AT - 60)
    assert weigh(forgotten, REDIS_EMPTIED) is Weight.REDIS
    assert weigh(replace(forgotten, is_same_connection=True), REDIS_EMPTIED) is Weight.BROKEN
    assert weigh(replace(FAILED, seen_at=AT - 20), REDIS_EMPTIED) is Weight.BROKEN
    assert redis_absences(REDIS_EMPTIED) == [(AT - 50, AT - 40, True)]


def test_a_lost_connection_is_pardoned_only_in_flight_with_its_worker() -> None:
    """Nobody else may lose one; one that upstream broke off is upstream's."""
    cut = replace(FAILED, what=What.CUT, status=0)
    killed = happened((0.5, Happened.WORKER_KILLED))
    assert weigh(cut, killed) is Weight.KILLED
    assert weigh(cut, []) is Weight.BROKEN
    assert weigh(replace(cut, begun=AT + 10, ended=AT + 11), killed) is Weight.BROKEN
    assert weigh(replace(cut, what=What.REFUSED), []) is Weight.BROKEN
    short = replace(cut, kind="file", has_begun=True)
    assert weigh(short, []) is Weight.UPSTREAM
    assert weigh(replace(short, seen_at=AT - 1), []) is Weight.BROKEN


def test_a_renewal_may_end_connections_that_rest_and_no_answers() -> None:
    cut = replace(FAILED, what=What.CUT, status=0)
    renewed = happened((-3, Happened.RENEWED))
    assert weigh(cut, renewed) is Weight.RENEWED
    assert weigh(replace(cut, has_begun=True), renewed) is Weight.BROKEN


def test_nothing_excuses_a_wrong_answer() -> None:
    wrong = replace(FAILED, what=What.WRONG, status=200)
    assert weigh(wrong, [*REDIS_AWAY, *happened((0, Happened.WORKER_KILLED))]) is Weight.BROKEN


def test_claims_say_which_promise_broke() -> None:
    problems = [
        (FAILED, Weight.UPSTREAM),
        (replace(FAILED, what=What.WRONG), Weight.BROKEN),
        (replace(FAILED, what=What.CUT), Weight.KILLED),
    ]
    assert [claim.is_kept for claim in claims(problems)] == [False, True, True, True]


def test_memory_and_counts_must_stay() -> None:
    flat = [(float(at), 200.0 * (1 << 20)) for at in range(100)]
    growing = [(at, value + at * (1 << 20)) for at, value in flat]
    assert memory_claim("", flat).is_kept
    assert not memory_claim("", growing).is_kept
    assert not count_claim("", [(float(at), float(at)) for at in range(100)]).is_kept


def test_the_plan_kills_a_worker_each_minute_and_redis_twice() -> None:
    """In the order of time; upstream is down once alone, and once while Redis is away."""
    deeds = plan(600)
    assert deeds == sorted(deeds)
    kinds = [deed.what for deed in deeds]
    assert kinds.count(Happened.WORKER_KILLED) == 9
    assert kinds.count(Happened.REDIS_KILLED) == 2
    away = [deed.after for deed in deeds if deed.what is Happened.REDIS_KILLED]
    assert not any(begins < away[0] < ends for begins, ends in outages(600))
    assert any(begins < away[1] < ends for begins, ends in outages(600))


def test_percentiles_come_out_of_buckets() -> None:
    """As near as a bucket is wide."""
    counts: dict[str, int] = {}
    for milliseconds in range(1, 1001):
        key = bucket(milliseconds / 1000)
        counts[key] = counts.get(key, 0) + 1

    assert 0.45 < percentile(counts, 0.5) < 0.55
    assert 0.9 < percentile(counts, 0.99) < 1.1
