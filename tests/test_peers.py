"""The address that a machine tells the others."""

import pytest
from yarl import URL

from proxy.peers import _names_its_server, url_for_others

OWN = "proxy.peers._address_towards"


@pytest.mark.parametrize(
    ("listening", "ours", "expected"),
    [
        ([("0.0.0.0", 3141)], "10.0.0.5", "http://10.0.0.5:3141"),
        ([("10.9.9.9", 80)], "10.0.0.5", "http://10.9.9.9:80"),
        ([("::", 3141), ("0.0.0.0", 3141)], "10.0.0.5", "http://10.0.0.5:3141"),
        ([("::", 3141)], "fd00::5", "http://[fd00::5]:3141"),
        ([("127.0.0.1", 3141)], "127.0.0.1", "http://127.0.0.1:3141"),
        # Behind a proxy of its own machine, with Redis elsewhere.
        ([("127.0.0.1", 3141)], "10.0.0.5", None),
        ([("::1", 3141), ("10.0.0.5", 3141)], "10.0.0.5", "http://10.0.0.5:3141"),
        ([("::", 3141)], "10.0.0.5", None),
        ([], "10.0.0.5", None),
    ],
)
def test_the_address_lies_on_the_way_to_redis(
    monkeypatch: pytest.MonkeyPatch,
    listening: list[tuple[str, int]],
    ours: str,
    expected: str | None,
) -> None:
    """Where others that reach that Redis reach us; an address that is only ours is no use."""
    monkeypatch.setattr(OWN, lambda _: ours)
    assert url_for_others(listening, "redis://redis.example") == expected


@pytest.mark.parametrize("redis_url", ["unix:///run/redis.sock", "redis://no-such-host.invalid"])
def test_a_redis_without_an_address(redis_url: str) -> None:
    """Nothing can be told, and nothing fails."""
    assert url_for_others([("0.0.0.0", 3141)], redis_url) is None


def test_the_way_to_a_redis_that_is_here() -> None:
    """The real look: a loopback Redis is reached from the loopback address."""
    found = url_for_others([("0.0.0.0", 3141)], "redis://127.0.0.1:1/0")
    assert found == "http://127.0.0.1:3141"


@pytest.mark.parametrize(
    ("url", "is_held"),
    [("https://10.0.0.5:3141", False), ("https://[fd00::5]:3141", False), ("https://one", True)],
)
def test_a_certificate_is_held_against_names(url: str, is_held: bool) -> None:
    """A number is what a machine found for itself; a name is what somebody chose."""
    assert _names_its_server(URL(url)) is is_held


def test_a_machine_that_speaks_https_says_so() -> None:
    """In the address that it tells the others."""
    found = url_for_others([("0.0.0.0", 3141)], "redis://127.0.0.1:1/0", "https")
    assert found == "https://127.0.0.1:3141"
