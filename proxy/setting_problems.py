"""What is wrong with the settings, in one line that names the key and tells no secret."""

import difflib
import json
import os
import re
from collections.abc import Mapping, Sequence
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
    error: ValidationError,
    file: Path | None,
    flags: Mapping[str, Any],
    given: Mapping[str, Any],
    sections: Sections,
) -> str:
    """One line for the first thing that is wrong, naming the key and where it was given.

    `given` is what was looked at: file, variables and flags together.
    """
    # A key that is spelled wrong is why another one is missing.
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    location = [part for part in first["loc"] if not str(part).startswith("function-")]
    key = ".".join(str(part) for part in location)
    problem = _in_plain_words(first)
    if not key:
        return problem
    origin = _origin(location, file, flags)
    if first["type"] == "extra_forbidden":
        return f"{origin}{key}: there is no such setting{_nearest_key(location, sections)}"
    if key == "index":
        if origin.upper().startswith(ENVIRONMENT_PREFIX):
            return (
                f"{origin}must be a list in JSON, in {ENVIRONMENT_PREFIX}INDEX: '{_LIKE['index']}'"
            )
        return f"{origin}index: must be [[index]], one such section for each index"
    if named := re.match(r"(\w+): ", problem):  # one key of the section that was looked at
        key, problem = f"{key}.{named[1]}", problem[named.end() :]
    if location[0] == "index" and location[2:] == ["url"] and "index" in flags:
        # The flag stands for a section, which nobody wrote.
        key = _INDEX_FLAG
    elif location[0] == "index" and (name := _name_of_index(location, given)):
        key = f"{key} of the index {name}"
    return f"{origin}{key}: {_seen(first, is_secret=bool(_SECRET.search(key)))}{problem}"


def _name_of_index(location: Sequence[Any], given: Mapping[str, Any]) -> str:
    """What the `[[index]]` is called of which a key is wrong; empty where that is its name."""
    indexes, at = given.get("index"), location[1]
    if not isinstance(indexes, list | tuple) or not isinstance(at, int) or at >= len(indexes):
        return ""
    name = indexes[at].get("name") if isinstance(indexes[at], dict) else None
    if not isinstance(name, str) or not name.isprintable() or location[2:] == ["name"]:
        return ""
    return name[:_LONGEST_NAME]


def _seen(error: Mapping[str, Any], *, is_secret: bool) -> str:
    """The value that is wrong, or only its kind where that is what is wrong."""
    value = error["input"]
    # A section may hold a password, and an address that is none may hold it anywhere.
    if isinstance(value, str | int | float) and not is_secret:
        return f"{str(value).lower() if isinstance(value, bool) else repr(value)}: "
    if not error["type"].endswith("_type"):
        return ""
    kind = next((name for type, name in _KINDS if isinstance(value, type)), "something else")
    return f"is {kind}, and "


_LONGEST_NAME = 80
_INDEX_FLAG = "--index-url"
_KINDS = (
    (str, "a text"),
    (bool, "true or false"),
    (int | float, "a number"),
    (list | tuple, "a list"),
    (dict, "a section"),
)


def _in_plain_words(error: Mapping[str, Any]) -> str:
    words = _IN_PLAIN_WORDS.get(error["type"])
    if words is None:
        return str(error["msg"]).removeprefix("Value error, ")
    return words.format(**error.get("ctx", {}))


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


_SECRET = re.compile("username|password|tokens|url|proxy|redis|blobs|traces")
"""Keys whose values are never quoted."""
_WHOLE_NUMBER = "must be a whole number"
_TRUE_OR_FALSE = "must be true or false"
_SIZE = "must be a size, like 20GiB"
_IN_PLAIN_WORDS = {
    "missing": "must be given; an [[index]] has a name and a url",
    "bool_parsing": _TRUE_OR_FALSE,
    "bool_type": _TRUE_OR_FALSE,
    "byte_size": _SIZE,
    "byte_size_unit": _SIZE,
    "dict_type": "must be a section",
    "finite_number": _WHOLE_NUMBER,
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": _WHOLE_NUMBER,
    "int_parsing": _WHOLE_NUMBER,
    "int_parsing_size": _WHOLE_NUMBER,
    "int_type": _WHOLE_NUMBER,
    "less_than_equal": "must be at most {le}",
    "model_type": "must be a section",
    "path_type": "must be a path, in quotes",
    "string_pattern_mismatch": "must be of a-z, 0-9, dot, - and _, and begin with one of a-z, 0-9",
    "string_too_short": "must not be empty",
    "string_type": "must be a text, in quotes",
    "time_delta_parsing": "is not a duration; write it like 90s, 10m, 36h, 7d or P7D",
    "too_short": "must not be empty",
    "tuple_type": 'must be a list, like ["one", "two"]',
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
