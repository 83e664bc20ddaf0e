"""The report of a run."""

from proxy.lockfiles import Format, LockFile, PassedOver, Reason
from proxy.warm.results import FileOutcome, FileResult, Passed, report_of


def test_each_thing_stands_once_in_a_report() -> None:
    """In the order of names; what one lock file passes over and another wants is wanted."""
    spare = PassedOver(
        name="six-1.0.tar.gz", reason=Reason.BESIDE_WHEELS, detail="", origin="uv.lock"
    )
    link = PassedOver(name="./x", reason=Reason.NOT_OF_AN_INDEX, detail="a path", origin="uv.lock")
    lock = LockFile(name="uv.lock", format=Format.UV, passed_over=(spare, link), notes=("new",))
    results = [
        FileResult(
            project=project, name=name, outcome=outcome, origin="x", size=10, bytes_fetched=fetched
        )
        for project, name, outcome, fetched in (
            ("six", "six-1.0.tar.gz", FileOutcome.FETCHED, 12),
            ("six", "six-1.0-py3-none-any.whl", FileOutcome.THERE, 0),
            ("seven", "seven-1.0.zip", FileOutcome.LEFT, 0),
        )
    ]
    report = report_of(
        server=None,
        locks=[lock, lock],
        targets=[],
        results=results,
        passed_over=[Passed.of(link)],
        notes=["new", "more"],
        interrupted=False,
        seconds=1.23456,
    )

    assert [one.name for one in report.files] == [
        "seven-1.0.zip",
        "six-1.0-py3-none-any.whl",
        "six-1.0.tar.gz",
    ]
    assert [one.name for one in report.passed_over] == ["./x"]
    assert report.notes == ["new", "more"]
    assert (report.totals.bytes_there, report.totals.bytes_fetched) == (10, 12)
    assert (report.totals.passed_over, report.totals.left) == (1, 1)
