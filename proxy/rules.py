"""Which projects and which files a line of the configuration means. Pure.

acme-*              all files of the projects whose name matches, in any spelling
requests<2.20       the versions of a project that a specifier covers (PEP 440)
:sdist:  :wheel:    the files of that kind, of all projects
numpy>=2:sdist:     all three together
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

_LINE = re.compile(
    r"""\s* (?P<pattern>[A-Za-z0-9._*?-]*)
        \s* (?P<specifier>(?:[<>=!~]=?|===)[^:;@]*?)?
        \s* (?::(?P<kind>[a-z]+):)? \s*""",
    re.VERBOSE,
)


class Kind(StrEnum):
    """What a file is: a wheel, or a source distribution."""

    WHEEL = "wheel"
    SDIST = "sdist"


def normalize_pattern(pattern: str) -> str:
    """The pattern in the spelling of normalised names: `Acme__*` means `acme-*`."""
    return re.sub(r"[-_.]+", "-", pattern).lower()


def any_matches(patterns: Iterable[str], name: str) -> bool:
    """Whether one of the patterns, in the spelling of names, covers the normalised `name`."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of `allow`, `deny` or `min_age_exempt`. Make one with `parse`."""

    text: str
    pattern: str
    specifier: SpecifierSet | None
    kind: Kind | None

    @classmethod
    def parse(cls, text: str) -> "Rule":
        """Read a line. Raises `ValueError` that says what is wrong with it."""
        match = _LINE.fullmatch(text)
        if match is None or not text.strip():
            raise ValueError("is not like acme-*, requests<2.20, :sdist: or :wheel:")
        try:
            kind = Kind(match["kind"]) if match["kind"] else None
        except ValueError:
            raise ValueError("the kinds are :sdist: and :wheel:") from None
        try:
            specifier = SpecifierSet(match["specifier"]) if match["specifier"] else None
        except InvalidSpecifier:
            raise ValueError(f"{match['specifier']!r} is no version specifier") from None
        pattern = normalize_pattern(match["pattern"]) or "*"
        return cls(text.strip(), pattern, specifier, kind)

    def names(self, project: str) -> bool:
        """Whether it speaks of the project at all."""
        return fnmatchcase(project, self.pattern)

    @property
    def is_whole(self) -> bool:
        """Whether it speaks of all files of the projects that it names."""
        return self.specifier is None and self.kind is None

    def covers(
        self, project: str, version: Version | None, kind: Kind | None, *, in_doubt: bool
    ) -> bool:
        """Whether it speaks of such a file.

        `in_doubt` is the answer where the rule names versions and the file's cannot be told.
        """
        if not self.names(project) or self.kind not in (None, kind):
            return False
        if self.specifier is None:
            return True
        if version is None:
            return in_doubt
        return self.specifier.contains(version, prereleases=True)
