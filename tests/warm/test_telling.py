"""What a person reads of a run."""

from typing import Any

from proxy.warm.results import FileOutcome, FileResult, Passed, Totals, WarmReport
from proxy.warm.telling import lines_of


def result(name: str, outcome: FileOutcome, **keys: Any) -> FileResult:
    return FileResult(project="six", name=name, outcome=outcome, origin="lock:1", **keys)


def report(*results: FileResult, **keys: Any) -> WarmReport:
    passed = keys.get("passed_over", [])
    return WarmReport(
        **{
            "server": None,
            "sources": ["lock"],
            "targets": [],
            "totals": Totals.of(results, len(passed)),
            "files": list(results),
            "passed_over": passed,
            "notes": [],
            "interrupted": False,
            "seconds": 2.0,
            **keys,
        }
    )


def test_what_went_wrong_is_named_with_its_reason() -> None:
    """Refused with its rule and until when; the rest is counted."""
    told = report(
        result("a.whl", FileOutcome.THERE, size=1000),
        result("b.whl", FileOutcome.FETCHED, size=3000, bytes_fetched=4000),
        result(
            "c.whl",
            FileOutcome.REFUSED,
            rule="policy.min_age",
            reason="too young",
            until="2026-12-01",
        ),
        result("d.whl", FileOutcome.MISSING, reason="the index has none"),
        result("e.whl", FileOutcome.FAILED, reason="502"),
        result("f.whl", FileOutcome.LEFT),
        passed_over=[
            Passed(name="./x", reason="not of an index", detail="a path", origin="lock:2"),
            Passed(name="demo", reason="the project itself", detail="virtual: .", origin="lock"),
            Passed(name="y.whl", reason="for other targets", detail="", origin="lock"),
        ],
    )

    assert list(lines_of(told)) == [
        "Refused by policy: 1",
        "  c.whl (lock:1): [policy.min_age] too young, until 2026-12-01",
        "Missing: 1",
        "  d.whl (lock:1): the index has none",
        "Failed: 1",
        "  e.whl (lock:1): 502",
        "Passed over: 1 not of an index, 1 for other targets",
        "  ./x (lock:2): a path",
        "There already: 1 file, 1,000 B",
        "Fetched: 1 file, 3.91 KiB in 2.0 s (1.95 KiB/s)",
        "Left: 1; the same command goes on from here",
    ]
    assert list(lines_of(told, is_quiet=True))[-1] == "  e.whl (lock:1): 502"
    assert not told.is_fine


def test_notes_are_not_endless() -> None:
    """The first ones, and how many there are beside them."""
    told = list(lines_of(report(notes=[str(number) for number in range(50)])))

    assert told[19:21] == ["Note: 19", "Note: and 30 more, which --json tells"]


def test_a_list_of_what_would_be_asked_for() -> None:
    """And no rates, since nothing was."""
    told = report(result("a.whl", FileOutcome.LEFT, size=1000), result("b.whl", FileOutcome.LEFT))

    assert list(lines_of(told, is_dry=True)) == [
        "a.whl (six, 1,000 B)",
        "b.whl (six)",
        "Would ask for 2 files",
    ]
    assert told.is_fine
