"""Every setting, from the model in `proxy/settings.py`."""

import json
import types
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import click
from pydantic import ByteSize, SecretStr
from pydantic.fields import FieldInfo

from docs.reference.markdown import code, first_paragraph, plain, table
from proxy.cli import main
from proxy.setting_problems import ENVIRONMENT_PREFIX
from proxy.settings import PYPI, Section, Settings

_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "whole number",
    ByteSize: "size",
    timedelta: "duration",
    Path: "path",
    SecretStr: "text",
    str: "text",
}
_FLAGS = {"index.url": "--index-url"}
"""Flags whose names do not tell their settings."""


def settings() -> str:
    """A heading and a table for each section."""
    return "\n\n".join(_section(name, model) for name, model in sections())


def sections() -> Iterator[tuple[str, type[Section]]]:
    """The sections by name, in the order of the model."""
    for name, field in Settings.model_fields.items():
        model = type(PYPI) if name == "index" else field.annotation
        if not isinstance(model, type) or not issubclass(model, Section):
            raise TypeError(f"{name} is no section")
        yield name, model


def _section(name: str, model: type[Section]) -> str:
    is_list = name == "index"
    heading = f"## `[[{name}]]`" if is_list else f"## `[{name}]`"
    rows = [
        [
            code(f"{name}.{key}"),
            plain(field.description or ""),
            _kind(field),
            "needed" if field.is_required() else code(_default(name, key, field)),
            _given_by(name, key, is_list=is_list),
        ]
        for key, field in model.model_fields.items()
    ]
    shown = table(["key", "what", "kind", "default", "variable and flag"], rows)
    words = first_paragraph(model).split(". ")[0].rstrip(".")
    return f"{heading}\n\n{words}.\n\n{shown}"


def _kind(field: FieldInfo) -> str:
    annotation: Any = field.annotation
    if get_origin(annotation) is tuple:
        return "list"
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(one for one in get_args(annotation) if one is not type(None))
    # An alias like `Duration` is an annotated type.
    while (bare := getattr(annotation, "__origin__", None)) is not None:
        annotation = bare
    return _KINDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _default(section: str, key: str, field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    match value:
        case bool():
            return str(value).lower()
        case ByteSize():
            return value.human_readable(separator="").replace(".0", "")
        case timedelta():
            return f"{value.days}d" if not value.seconds else f"{value.seconds}s"
        case SecretStr():
            return '""'
        case None:
            return '""'
        case tuple():
            return json.dumps(value)
        case str() | Path():
            return f'"{value}"'
        case int():
            return str(value)
        case _:
            raise TypeError(f"{section}.{key} has a default of an unknown kind: {value!r}")


def _given_by(section: str, key: str, *, is_list: bool) -> str:
    variable = "" if is_list else f"{ENVIRONMENT_PREFIX}{section}__{key}".upper()
    flag = _FLAGS.get(f"{section}.{key}", "")
    for option in _flags_of_serve():
        if option in (f"--{section}-{key}".replace("_", "-"), f"--{key}".replace("_", "-")):
            flag = option
    return "<br>".join(filter(None, [code(variable), code(flag)]))


def _flags_of_serve() -> list[str]:
    context = click.Context(main)
    command = main.get_command(context, "serve")
    if command is None:
        raise LookupError("there is no command serve")
    return [option for parameter in command.params for option in parameter.opts]
