"""What the parts of the server would log, heard instead of written."""

from collections.abc import MutableMapping
from typing import Any

import structlog

from proxy.access_log import LogForNobody
from proxy.doctor.findings import Finding, warning
from proxy.telemetry import Telemetry


class Overheard:
    """A telemetry for one check; `warnings` are findings of what it was told."""

    def __init__(self, check: str) -> None:
        self._check = check
        self._heard: list[str] = []
        self.telemetry = Telemetry(LogForNobody())
        self.telemetry.log = structlog.wrap_logger(
            None, processors=[self._hear], wrapper_class=structlog.stdlib.BoundLogger
        )

    @property
    def warnings(self) -> list[Finding]:
        """What was complained of."""
        return [warning(self._check, told) for told in dict.fromkeys(self._heard)]

    def _hear(self, _: Any, method: str, event: MutableMapping[str, Any]) -> str:
        if method in ("warning", "error", "exception"):
            problem = event.get("problem")
            self._heard.append(f"{event['event']}: {problem}" if problem else str(event["event"]))
        raise structlog.DropEvent
