"""The lines of a requirements file, and the options that stand in them, as pip reads them. Pure.

Read first: pip's "Requirements File Format".
"""

import argparse
import codecs
import locale
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from proxy.rules import Kind
from proxy.simple.model import ProjectName, normalize

_COMMENT = re.compile(r"(^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}", re.ASCII)
_CODING = re.compile(rb"coding[:=]\s*([-\w.]+)", re.ASCII)
_BOMS = (  # the longer ones first: those of UTF-16 begin those of UTF-32
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ALL, _NONE = ":all:", ":none:"
_ONLY = {"--no-binary": Kind.SDIST, "--only-binary": Kind.WHEEL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line without comments and continuations."""

    number: int
    """That of the first of those that were joined, from 1."""
    requirement: str
    """What stands before the options."""
    options: str


class BadLine(ValueError):
    """The line cannot be understood."""


def decoded(data: bytes) -> str:
    """The text, in the encoding that its beginning tells; else UTF-8. Raises `ValueError`."""
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return data[len(bom) if encoding == "utf-8" else 0 :].decode(encoding)
    for line in data.split(b"\n", 2)[:2]:
        if line.startswith(b"#") and (match := _CODING.search(line)):
            try:
                return data.decode(match[1].decode())
            except LookupError as problem:
                raise ValueError(str(problem)) from problem
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode(locale.getpreferredencoding(do_setlocale=False))


def lines_of(text: str, variables: Mapping[str, str]) -> Iterator[Line]:
    """The lines that say something, with the environment's variables in their places."""
    for number, joined in _joined(text):
        line = _COMMENT.sub("", joined).strip()
        # A variable that is not set stays as it is written.
        line = _VARIABLE.sub(lambda match: variables.get(match[1]) or match[0], line)
        if line:
            words = line.split(" ")
            count = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
            yield Line(
                number=number,
                requirement=" ".join(words[:count]).strip(),
                options=" ".join(words[count:]),
            )


def _joined(text: str) -> Iterator[tuple[int, str]]:
    """Lines with those that they go on with, each with its number."""
    begun: list[str] = []
    first = 1
    for number, line in enumerate(text.splitlines(), 1):
        first = first if begun else number
        is_comment = line.lstrip().startswith("#")
        if is_comment or not line.endswith("\\"):
            # Behind a comment nothing goes on, and one in the middle ends what goes on.
            yield first, " ".join([*begun, " " + line if is_comment and begun else line])
            begun = []
        else:
            begun.append(line.removesuffix("\\"))
    if begun:
        yield first, " ".join(begun)


@dataclass(slots=True)
class Options:
    """What the options of a line say."""

    requirement: list[str] = field(default_factory=list)
    constraint: list[str] = field(default_factory=list)
    editable: list[str] = field(default_factory=list)
    index_url: list[str] = field(default_factory=list)
    extra_index_url: list[str] = field(default_factory=list)
    find_links: list[str] = field(default_factory=list)
    pre: bool = False
    hash: list[str] = field(default_factory=list)
    kinds: list[tuple[str, str]] = field(default_factory=list)
    """`--no-binary` and `--only-binary` with their values, as they came."""
    unknown: tuple[str, ...] = ()
    ignored: object = None
    """Whatever stands behind options that make no difference here."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadLine(message)


class _Kinds(argparse.Action):
    """Keeps the order of options that undo each other."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        namespace.kinds.append((option_string, values))


def options_in(text: str) -> Options:
    """The options of a line. Raises `BadLine`."""
    try:
        words = shlex.split(text)
    except ValueError as problem:
        raise BadLine(str(problem)) from problem
    options = Options()
    _, unknown = _parser().parse_known_args(words, namespace=options)
    options.unknown = tuple(unknown)
    return options


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    for names in (
        ("-r", "--requirement"),
        ("-c", "--constraint"),
        ("-e", "--editable"),
        ("-i", "--index-url", "--pypi-url"),
        ("--extra-index-url",),
        ("-f", "--find-links"),
        ("--hash",),
    ):
        parser.add_argument(*names, action="append")
    parser.add_argument("--pre", action="store_true")
    for name in _ONLY:
        parser.add_argument(name, action=_Kinds, dest="kinds")
    # These make no difference: which files there are, the indexes of the settings say.
    for name in ("--no-index", "--prefer-binary", "--require-hashes"):
        parser.add_argument(name, action="store_true", dest="ignored")
    for name in ("--trusted-host", "--use-feature", "--config-settings", "--global-option"):
        parser.add_argument(name, dest="ignored")
    return parser


class AllowedKinds:
    """Which kinds of file may be used, as `--no-binary` and `--only-binary` say one by one."""

    def __init__(self) -> None:
        self._names: dict[str, set[str]] = {option: set() for option in _ONLY}

    def say(self, option: str, value: str) -> None:
        """One of the two options. Raises `BadLine`."""
        names = self._names[option]
        (others,) = (found for name, found in self._names.items() if name != option)
        for given in value.split(","):
            one = given.strip()
            if one == _ALL:
                names.clear()
                others.clear()
                names.add(_ALL)
            elif one == _NONE:
                names.clear()
            elif (name := normalize(one)) is not None:
                names.add(name)
                others.discard(name)
            else:
                raise BadLine(f"{option}: {one!r} is no name of a project, {_ALL} or {_NONE}")

    def of(self, project: ProjectName) -> frozenset[Kind] | None:
        """Those of a project; None: any."""
        for name in (project, _ALL):
            for option in ("--only-binary", "--no-binary"):
                if name in self._names[option]:
                    return frozenset([_ONLY[option]])
        return None
