"""The words of `proxy/journey.py` for what the cache did, and the header that each makes."""

import inspect
import re
from datetime import timedelta

from docs.reference.markdown import code, plain, table
from proxy.journey import Journey, Outcome

_TTL = timedelta(seconds=345)
_EXAMPLES = {
    Outcome.HIT: Journey(outcome=Outcome.HIT, ttl=_TTL),
    Outcome.REVALIDATED: Journey(outcome=Outcome.REVALIDATED, forward_status=304),
    Outcome.MISS: Journey(outcome=Outcome.MISS, forward_status=200, stored=True),
    Outcome.STALE: Journey(outcome=Outcome.STALE, ttl=-_TTL),
}


def outcomes() -> str:
    """A table of the words."""
    return table(
        ["word", "`Cache-Status`, for example", "meaning"],
        [
            (
                code(word),
                code(_EXAMPLES.get(word, Journey(outcome=word)).cache_status),
                plain(meaning),
            )
            for word, meaning in meanings().items()
        ],
    )


def meanings() -> dict[Outcome, str]:
    """Each word's comment in the code."""
    lines = inspect.getsource(Outcome).splitlines()
    found = {
        match[1]: match[2] for line in lines if (match := re.search(r' = "(\w+)"  # (.+)', line))
    }
    return {word: found[word] for word in Outcome}
