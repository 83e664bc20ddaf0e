"""What is wrong with the settings, in one line that names the key and tells no secret."""

import difflib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel, ValidationError

ENVIRONMENT_PREFIX = "WHEELKEEP_"

Sections = Mapping[str, type[BaseModel]]
"""The sections of the configuration by their names."""


def nearest(name: str, known: list[str]) -> str:
    """What may have been meant, as the end of a sentence; empty where nothing is near."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def explain(
    error: ValidationError, file: Path | None, flags: Mapping[str, Any], sections: Sections
) -> str:
    """One line for the first thing that is wrong, naming the key and where it was given."""
    # A key that is spelled wrong is why another one is missing.
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    location = [part for part in first["loc"] if not str(part).startswith("function-")]
    key = ".".join(str(part) for part in location)
    problem = _IN_PLAIN_WORDS.get(first["type"], first["msg"].removeprefix("Value error, "))
    if not key:
        return problem
    origin = _origin(location, file, flags)
    if first["type"] == "extra_forbidden":
        return f"{origin}{key}: there is no such setting{_nearest_key(location, sections)}"
    if key == "index":
        problem = "must be [[index]], one such section for each index"
        if origin.upper().startswith(ENVIRONMENT_PREFIX):
            problem = f"must be a list in JSON, in {ENVIRONMENT_PREFIX}INDEX: '{_LIKE['index']}'"
    given = first["input"] if isinstance(first["input"], dict) else {}
    if location[0] == "index" and isinstance(given.get("name"), str):
        key = f"{key} of the index {given['name']}"
    # A section may hold a password, and an address that is none may hold it anywhere.
    is_shown = isinstance(first["input"], str | int | float) and not _SECRET.search(key)
    shown = f" {first['input']!r}:" if is_shown else ""
    return f"{origin}{key}:{shown} {problem}"


def explain_variable(sections: Sections) -> str:
    """Which variable holds no JSON, where a list or a whole section is meant to be in it."""
    for variable, value in os.environ.items():
        name = variable.upper().removeprefix(ENVIRONMENT_PREFIX).lower()
        section, _, key = name.partition("__")
        model = sections.get(section) if name != variable.lower() else None
        field = model.model_fields.get(key) if model else None
        is_list = name == "index" or (field and get_origin(field.annotation) is tuple)
        if model is None or _is_json(value) or not (is_list or name == section):
            continue
        like = _LIKE.get(key or section, '["acme-*", "billing"]' if is_list else "{}")
        return f"{variable}: must be a {'list' if is_list else 'section'} in JSON, like '{like}'"
    return "a variable holds no JSON where a list is meant to be in it"


_LIKE = {
    "index": '[{"name": "corp", "url": "https://corp.example/simple/"}]',
    "tokens": '["6f1c…", "09ab…"]',
    "admin_tokens": '["6f1c…"]',
    "deny": '["evil-*", "requests<2.20"]',
    "policy": '{"min_age": "7d"}',
    "auth": '{"tokens": ["6f1c…"]}',
    "cache": '{"offline": true}',
    "server": '{"port": 3142}',
}
"""Examples of values, as they stand in a variable."""


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except ValueError:
        return False
    return True


_SECRET = re.compile("username|password|tokens|url|proxy|redis|blobs")
"""Keys whose values are never quoted."""
_IN_PLAIN_WORDS = {
    "missing": "must be given; an [[index]] has a name and a url",
    "tuple_type": 'must be a list, like ["one", "two"]',
    "model_type": "must be a section",
    "dict_type": "must be a section",
    "path_type": "must be a path",
    "string_too_short": "must not be empty",
    "byte_size": "must be a size, like 20GiB",
    "byte_size_unit": "must be a size, like 20GiB",
}


def _origin(location: list[Any], file: Path | None, flags: Mapping[str, Any]) -> str:
    section, *rest = location
    given = flags.get(section, {})
    if given and (isinstance(given, list) or (rest and rest[0] in given)):
        return ""
    # What stands behind section and key is a place in a list.
    variable = ENVIRONMENT_PREFIX + "__".join(str(part) for part in location[:2]).upper()
    whole = f"{ENVIRONMENT_PREFIX}{section}".upper()
    for name in os.environ:
        is_part_of_list = section == "index" and name.upper().startswith(f"{whole}__")
        if name.upper() in (variable, whole) or is_part_of_list:
            return f"{name}: "
    return f"{file}: " if file else ""


def _nearest_key(location: list[Any], sections: Sections) -> str:
    """The nearest key of the same section, or the nearest section."""
    if len(location) == 1:
        return nearest(str(location[0]), list(sections))
    section = sections.get(str(location[0]))
    return nearest(str(location[-1]), list(section.model_fields)) if section else ""
