"""Reference made from the code when the site is built, so that it cannot be out of date.

It is an extension of Python-Markdown, which the site's generator uses. A line of a page like
`<!-- reference: settings -->` is replaced by Markdown that the module of that name makes:
`settings`, `commands`, `urls`, `shapes`, `metrics`, `alerts`, `outcomes`, `errors`, `modules`.
What stands in `<em>` behind it is for those who read the page as it is in the repository.
"""

import re
from collections.abc import Callable

from markdown import Extension, Markdown
from markdown.preprocessors import Preprocessor

from docs.reference.alerts import alerts
from docs.reference.commands import commands
from docs.reference.errors import errors
from docs.reference.metrics import metrics
from docs.reference.modules import modules
from docs.reference.outcomes import outcomes
from docs.reference.settings import settings
from docs.reference.shapes import shapes
from docs.reference.urls import urls

PARTS: dict[str, Callable[[], str]] = {
    part.__name__: part
    for part in (settings, commands, urls, shapes, metrics, alerts, outcomes, errors, modules)
}
"""What there is, by its name in pages. Each answers Markdown."""
_LINE = re.compile(r"<!-- reference: (\w+) -->(?:<em>.*</em>)?")
# Before the preprocessor that takes HTML, and with it comments, out of the text; and before fenced
# code, of which what is made has some.
_PRIORITY = 40


class ReferenceExtension(Extension):
    """See above."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - its name in Python-Markdown
        """See `markdown.Extension`."""
        md.preprocessors.register(_Reference(md), "reference", _PRIORITY)


class _Reference(Preprocessor):
    def run(self, lines: list[str]) -> list[str]:
        """Each line by what it stands for. Raises `KeyError` where there is no such part."""
        found: list[str] = []
        for line in lines:
            match = _LINE.fullmatch(line.strip())
            found += PARTS[match[1]]().splitlines() if match else [line]
        return found


def makeExtension(**options: object) -> ReferenceExtension:  # noqa: N802 - likewise
    """How Python-Markdown finds it."""
    return ReferenceExtension(**options)
