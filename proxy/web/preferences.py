"""What a client would like of an answer. Pure.

Read first: RFC 7240 (Prefer), of which only `wait` (§4.3) is known here.
"""

import re

LONGEST_WAIT_SECONDS = 25
"""Whatever a client prefers: reverse proxies, and a server that stops, have less patience."""
_WAIT = re.compile(r"(?:\A|,)\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?=[;,]|\Z)", re.IGNORECASE | re.ASCII)


def wait_in(header: str | None) -> int | None:
    """How many seconds the client is willing to wait; None: it does not say."""
    match = _WAIT.search(header or "")
    return None if match is None else min(int(match[1]), LONGEST_WAIT_SECONDS)
