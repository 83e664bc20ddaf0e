"""The types that endpoints speak of, as JSON Schema: with the sentences of their fields."""

import ast
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, TypeGuard

import msgspec

from proxy.web.described import PATH_PARAMETERS, REQUEST_HEADERS, RESPONSE_HEADERS, Promise

_REFERENCE = "#/components/schemas/{name}"


class Schemas:
    """The schemas of all types that are spoken of; `components` are those that have a name."""

    def __init__(self, promises: Iterable[Promise]) -> None:
        told: list[Any] = [str, *PATH_PARAMETERS.values(), *REQUEST_HEADERS.values()]
        told += RESPONSE_HEADERS.values()
        for promise in promises:
            told += promise.query.values()
            for answer in promise.answers.values():
                told += (shape for shape in answer.bodies.values() if shape is not bytes)
        schemas, components = msgspec.json.schema_components(told, ref_template=_REFERENCE)
        self._schemas = list(zip(told, schemas, strict=True))
        self.components = components
        for module in {shape.__module__ for shape in told if _is_struct(shape)}:
            _add_words(components, module)

    def of(self, shape: Any) -> dict[str, Any]:
        """The schema of a type that a promise speaks of."""
        return next(schema for told, schema in self._schemas if told == shape)

    def with_words(self, shape: Any) -> dict[str, Any]:
        """What is said of a parameter or a header: its schema, with its description beside it."""
        inner = dict(self.of(shape))
        words = {key: inner.pop(key) for key in ("description",) if key in inner}
        return {**words, "schema": inner}


def _is_struct(shape: object) -> TypeGuard[type[msgspec.Struct]]:
    return isinstance(shape, type) and issubclass(shape, msgspec.Struct)


def _add_words(components: Mapping[str, dict[str, Any]], module: str) -> None:
    """To each field of the types of that module the sentence that stands below it there.

    Python keeps the docstrings of classes, and those of their fields only in the source; where
    that is not at hand, the fields speak for themselves.
    """
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except OSError:
        return
    words: dict[str, dict[str, str]] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            words[node.name] = dict(_words_below(node.body))
    for name, schema in components.items():
        shape = getattr(sys.modules[module], name, None)
        if not _is_struct(shape):
            continue
        names = zip(shape.__struct_fields__, shape.__struct_encode_fields__, strict=True)
        for field, key in names:
            lines = (words.get(one.__name__, {}).get(field) for one in shape.__mro__)
            if says := next(filter(None, lines), None):
                schema["properties"][key]["description"] = says


def _words_below(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for above, below in pairwise(body):
        match above, below:
            case (
                ast.AnnAssign(target=ast.Name(id=field)),
                ast.Expr(value=ast.Constant(value=str(says))),
            ):
                yield field, " ".join(says.split())
