"""What doctor finds in a test, by name."""

import json
from typing import Any

import msgspec

from proxy.doctor.findings import CheckResult, Finding
from tests.commands.running import run


class Examined:
    """The findings of one run."""

    def __init__(self, exit_code: int, output: str) -> None:
        self.exit_code = exit_code
        self.output = output
        said = json.loads(output)
        self.result = CheckResult(said["result"])
        self.findings = msgspec.convert(said["findings"], list[Finding])

    def of(self, check: str) -> list[Finding]:
        return [one for one in self.findings if one.check == check]

    def one(self, check: str, result: CheckResult) -> Finding:
        """The only finding of that check with that result."""
        found = [one for one in self.of(check) if one.result is result]
        assert len(found) == 1, self.output
        return found[0]


async def examined(*flags: str, **environment: Any) -> Examined:
    """Run it. Sections that are no text become variables in JSON."""
    texts = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in environment.items()
    }
    said = await run("doctor", "--json", *flags, **texts)
    return Examined(said.exit_code, said.stdout)
