"""What is measured, by kind. Each module has `groups()`; their order is that of the report."""

from typing import Any

from benchmarks.bench import Group
from benchmarks.rows import cold, growth, hot, installers, rivals, root_list, start


def all_groups() -> list[Group[Any]]:
    """Every row there is."""
    return [
        group
        for kind in (hot, cold, installers, root_list, start, growth, rivals)
        for group in kind.groups()
    ]
