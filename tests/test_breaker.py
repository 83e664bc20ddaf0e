"""The breaker, with a clock made of numbers."""

from proxy.breaker import Breaker


def test_opens_after_failures_in_a_row_and_lets_one_try_later() -> None:
    """A success in between starts the count anew; once open, one caller per pause tries."""
    breaker = Breaker(threshold=2, first_pause=10, longest_pause=30)
    breaker.failed(0)
    breaker.succeeded()
    breaker.failed(0)
    assert breaker.allows(0)
    breaker.failed(0)

    assert breaker.is_open
    assert not breaker.allows(9.9)
    assert breaker.seconds_left(4) == 6
    assert breaker.allows(10)
    assert not breaker.allows(10)


def test_pauses_double_up_to_a_limit_and_a_success_closes() -> None:
    """10, 20, 30, 30 seconds, each after a try that failed; then all is well at once."""
    breaker = Breaker(threshold=1, first_pause=10, longest_pause=30)
    now, pauses = 0.0, []
    for _ in range(4):
        assert breaker.allows(now)
        breaker.failed(now)
        pauses.append(breaker.seconds_left(now))
        now += breaker.seconds_left(now)

    assert pauses == [10, 20, 30, 30]
    breaker.succeeded()
    assert breaker.allows(now)
    assert breaker.seconds_left(now) == 0


def test_callers_that_were_under_way_when_it_opened_do_not_lengthen_the_pause() -> None:
    """Many failures in one bad moment are one reason to wait; so are those beside a try."""
    breaker = Breaker(threshold=2, first_pause=10, longest_pause=300)
    for _ in range(100):
        breaker.failed(1)

    assert breaker.seconds_left(1) == 10
    assert breaker.allows(11)
    for _ in range(100):
        breaker.failed(12)
    assert breaker.seconds_left(12) == 20
