"""A set of names that takes little room."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from proxy.simple.seen import SeenNames


@given(st.lists(st.text(alphabet=st.characters(), max_size=4)))
def test_it_knows_what_a_set_knows(names: list[str]) -> None:
    """Whatever the names hold: lone surrogates, one that is the end of another, none at all."""
    seen, known = SeenNames(), set()
    for name in names:
        assert seen.add(name) == (name not in known)
        known.add(name)

    assert len(seen) == len(known)


def test_it_grows_and_forgets_nothing() -> None:
    """Over several sizes of its table."""
    seen = SeenNames()
    names = [f"name-{number}" for number in range(30_000)]

    assert all(seen.add(name) for name in names)
    assert not any(seen.add(name) for name in names)


def test_it_takes_a_fraction_of_a_set() -> None:
    """40 bytes a name, where a set takes a hundred."""
    seen = SeenNames()
    tracemalloc.start()
    try:
        for number in range(100_000):
            seen.add(f"name-{number}")
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert taken < 4_000_000
