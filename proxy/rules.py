"""Which projects and which files a line of the configuration means. Pure.

acme-*              all files of the projects whose name matches, in any spelling
requests<2.20       the versions of a project that a specifier covers (PEP 440)
:sdist:  :wheel:    the files of that kind, of all projects
numpy>=2:sdist:     all three together
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import translate

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

_LINE = re.compile(
    r"""\s* (?P<pattern>[A-Za-z0-9._*?-]*)
        \s* (?P<specifier>(?:[<>=!~]=?|===)[^:;@]*?)?
        \s* (?::(?P<kind>[a-z]+):)? \s*""",
    re.VERBOSE,
)


_WILD = re.compile(r"[*?\[]")


class Kind(StrEnum):
    """What a file is: a wheel, or a source distribution."""

    WHEEL = "wheel"
    SDIST = "sdist"


def normalize_pattern(pattern: str) -> str:
    """The pattern in the spelling of normalised names: `Acme__*` means `acme-*`."""
    return re.sub(r"[-_.]+", "-", pattern).lower()


class NameSet:
    """The names that patterns cover. Lists of thousands of plain names cost no more than one."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = tuple(sorted({normalize_pattern(pattern) for pattern in patterns}))
        self._plain = frozenset(one for one in self._patterns if not _WILD.search(one))
        wild = [translate(one) for one in self._patterns if one not in self._plain]
        self._wild = re.compile("|".join(wild)) if wild else None

    def __repr__(self) -> str:
        return f"NameSet({self._patterns})"

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def __contains__(self, name: str) -> bool:
        """Whether a pattern covers the normalised name."""
        return name in self._plain or bool(self._wild and self._wild.match(name))


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

    @property
    def is_whole(self) -> bool:
        """Whether it speaks of all files of the projects that it names."""
        return self.specifier is None and self.kind is None

    def covers(self, version: Version | None, kind: Kind | None, *, in_doubt: bool) -> bool:
        """Whether it speaks of such a file of a project that it names.

        `in_doubt` is the answer where the rule names versions and the file's cannot be told.
        """
        if self.kind not in (None, kind):
            return False
        if self.specifier is None:
            return True
        if version is None:
            return in_doubt
        return self.specifier.contains(version, prereleases=True)


class Rules:
    """The rules of one setting, in their order."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._rules = tuple(Rule.parse(line) for line in lines)
        self._plain: dict[str, list[int]] = {}
        self._wild: list[tuple[int, NameSet]] = []
        for at, rule in enumerate(self._rules):
            if _WILD.search(rule.pattern):
                self._wild.append((at, NameSet([rule.pattern])))
            else:
                self._plain.setdefault(rule.pattern, []).append(at)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules)

    def naming(self, project: str) -> tuple[Rule, ...]:
        """Those that speak of the project."""
        wild = (at for at, names in self._wild if project in names)
        return tuple(self._rules[at] for at in sorted((*self._plain.get(project, ()), *wild)))
