"""Which format a file has, and what it asks for."""

import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from proxy.lockfiles import pipfile, poetry, pylock, requirements, uv
from proxy.lockfiles.files import bytes_in, bytes_of
from proxy.lockfiles.model import Format, LockFile, LockFileError
from proxy.lockfiles.options import decoded
from proxy.lockfiles.targets import Target

_NAMES = {"uv.lock": Format.UV, "poetry.lock": Format.POETRY, "Pipfile.lock": Format.PIPFILE}
_PYLOCK = re.compile(r"pylock(\.[^.]+)?\.toml")
_INSTEAD = {
    "pdm.lock": "export it: pdm export -f pylock -o pylock.toml",
    "pyproject.toml": "name its lock file, or make one: uv lock, poetry lock, pip lock",
    "Pipfile": "name its Pipfile.lock",
    "setup.py": "name a lock file or a requirements file",
    "environment.yml": "conda's packages are of no Python package index",
}
"""What cannot be read, and what to do about it."""


def read(path: Path, targets: Sequence[Target], format: Format | None = None) -> LockFile:
    """What the file asks for, for these targets. Raises `LockFileError`.

    Without a `format`, the name of the file tells it, or else its content.
    """
    try:
        data = bytes_of(path)
    except ValueError as problem:
        raise LockFileError(f"{path}: {problem}") from problem
    return read_text(data, str(path), targets, format, folder=path.parent)


def read_stream(
    stream: BinaryIO, name: str, targets: Sequence[Target], format: Format | None = None
) -> LockFile:
    """What comes by a stream asks for. Raises `LockFileError`."""
    try:
        data = bytes_in(stream)
    except (ValueError, OSError) as problem:
        raise LockFileError(f"{name}: {problem}") from problem
    return read_text(data, name, targets, format)


def read_text(
    data: bytes,
    name: str,
    targets: Sequence[Target],
    format: Format | None = None,
    *,
    folder: Path = Path(),
) -> LockFile:
    """What this content asks for. `folder` is where files that it names (`-r`) are looked for.

    Raises `LockFileError`.
    """
    try:
        text = decoded(data)
    except ValueError as problem:
        raise LockFileError(f"{name}: no text: {problem}") from problem
    chosen = format or _by_name(Path(name).name, name) or _by_content(text, name)
    parse: Callable[[], LockFile]
    match chosen:
        case Format.REQUIREMENTS:
            return requirements.parse(text, name, tuple(targets), folder)
        case Format.PIPFILE:
            parse = partial(pipfile.parse, _json(text, name), name, tuple(targets))
        case Format.PYLOCK:
            parse = partial(pylock.parse, _toml(text, name), name, tuple(targets))
        case Format.UV:
            parse = partial(uv.parse, _toml(text, name), name, tuple(targets))
        case Format.POETRY:
            parse = partial(poetry.parse, _toml(text, name), name, tuple(targets))
    try:
        return parse()
    except (KeyError, TypeError, AttributeError, ValueError) as problem:
        # What is nothing like the format is told as such, whatever it is.
        raise LockFileError(f"{name}: it is not what {chosen} files are: {problem!r}") from problem


def _by_name(filename: str, name: str) -> Format | None:
    if filename in _INSTEAD:
        raise LockFileError(f"{name}: this is not read; {_INSTEAD[filename]}")
    if _PYLOCK.fullmatch(filename):
        return Format.PYLOCK
    return _NAMES.get(filename) or (
        Format.REQUIREMENTS if filename.endswith((".txt", ".in")) else None
    )


def _by_content(text: str, name: str) -> Format:
    """By keys that no other format has."""
    if text.lstrip().startswith("{"):
        found: Mapping[str, Any] = _json(text, name)
        if isinstance(found.get("_meta"), dict) and "default" in found:
            return Format.PIPFILE
        raise _unknown(name)
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        if requirements.is_one(text):
            return Format.REQUIREMENTS
        raise _unknown(name) from None
    if "lock-version" in found:
        return Format.PYLOCK
    if isinstance(found.get("metadata"), dict) and "content-hash" in found["metadata"]:
        return Format.POETRY
    if "version" in found and ("package" in found or "requires-python" in found):
        return Format.UV
    if not found and requirements.is_one(text):
        return Format.REQUIREMENTS
    raise _unknown(name)


def _unknown(name: str) -> LockFileError:
    known = ", ".join(Format)
    return LockFileError(
        f"{name}: neither its name nor its content tells what it is; name its format ({known})"
    )


def _toml(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        raise LockFileError(f"{name}: no TOML: {problem}") from problem


def _json(text: str, name: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise LockFileError(f"{name}: no JSON: {problem}") from problem
    if not isinstance(found, dict):
        raise LockFileError(f"{name}: no JSON object")
    return found
