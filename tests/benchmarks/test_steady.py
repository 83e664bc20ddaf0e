"""What stays, and what grows, by the second half of what was seen."""

import pytest

from benchmarks.curves import thin
from benchmarks.steady import trend


def test_what_fills_up_at_first_and_stays_then_is_flat() -> None:
    """The first half is for caches to fill; noise is no growth."""
    points = [(at, min(at, 50) + at % 3) for at in range(101)]
    found = trend([(float(at), float(value)) for at, value in points], 0.1, 1.0)
    assert found is not None
    assert found.is_flat
    assert abs(found.grown) < 1


def test_what_grows_on_is_not() -> None:
    """However slowly at the end of a long time; shrinking is no leak."""
    growing = [(float(at), 100.0 + at) for at in range(101)]
    found = trend(growing, 0.1, 1.0)
    assert found is not None
    assert found.grown == pytest.approx(50)
    assert found.allowed == pytest.approx(17.5)
    assert not found.is_flat
    shrinking = trend([(at, -value) for at, value in growing], 0.1, 1.0)
    assert shrinking is not None
    assert shrinking.is_flat


def test_little_growth_of_little_is_noise() -> None:
    """By the floor."""
    found = trend([(float(at), 2.0 + at / 100) for at in range(101)], 0.1, 1.0)
    assert found is not None
    assert found.is_flat


@pytest.mark.parametrize("points", [[], [(0.0, 1.0)], [(0.0, 1.0), (1.0, 1.0)]])
def test_of_too_little_nothing_can_be_told(points: list[tuple[float, float]]) -> None:
    assert trend(points, 0.1, 1.0) is None


def test_a_thinned_curve_keeps_its_peaks() -> None:
    points = [(float(at), 9.0 if at == 777 else 1.0) for at in range(1000)]
    found = thin(points)
    assert len(found) <= 300
    assert (777.0, 9.0) in found
    assert thin(points[:200]) == points[:200]
