"""What a check finds."""

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct


class CheckResult(StrEnum):
    """How it is, from good to bad."""

    OK = "ok"
    SKIPPED = "skipped"
    """It was not looked at, for the reason that is told."""
    WARNING = "warning"
    """It works, and not as well or as safely as it could."""
    PROBLEM = "problem"
    """It does not work."""


class Finding(Struct, frozen=True, kw_only=True):
    """One line of the examination."""

    check: str
    """What was looked at: `Redis`, `index pypi`."""
    result: CheckResult
    found: str
    advice: str = ""
    """What to do about it; empty where there is nothing to do."""


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check=check, result=CheckResult.OK, found=found)


def skipped(check: str, found: str) -> Finding:
    """Not looked at, for that reason."""
    return Finding(check=check, result=CheckResult.SKIPPED, found=found)


def warning(check: str, found: str, advice: str = "") -> Finding:
    """Works, and could be better."""
    return Finding(check=check, result=CheckResult.WARNING, found=found, advice=advice)


def problem(check: str, found: str, advice: str = "") -> Finding:
    """Does not work."""
    return Finding(check=check, result=CheckResult.PROBLEM, found=found, advice=advice)


def worst(findings: Iterable[Finding]) -> CheckResult:
    """The worst result of all; what was skipped is not bad."""
    results = {finding.result for finding in findings}
    return next(
        (one for one in (CheckResult.PROBLEM, CheckResult.WARNING) if one in results),
        CheckResult.OK,
    )
