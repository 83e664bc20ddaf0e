"""Which index may answer for a name. Pure."""

from collections.abc import Iterable, Sequence

from proxy.settings import Index
from proxy.simple.model import ProjectName
from proxy.simple.project_list import may_answer_for


def normalize_pattern(pattern: str) -> str:
    """The pattern in the spelling of normalised names: `Acme_*` means `acme-*`."""
    return pattern.lower().replace("_", "-").replace(".", "-")


def indexes_for(project: ProjectName, indexes: Sequence[Index]) -> Iterable[Index]:
    """The indexes that may answer for the project, in order of priority."""
    for index in indexes:
        patterns = tuple(normalize_pattern(pattern) for pattern in index.projects)
        if may_answer_for(project, patterns):
            yield index
