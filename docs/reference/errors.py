"""Every failure that a client can meet, from `proxy/errors.py`."""

from http import HTTPStatus

from docs.reference.markdown import code, first_paragraph, table
from docs.reference.source import classes
from proxy import errors as failures


def errors() -> str:
    """A table of the classes, in the order of the code, which goes from kinds to special cases."""
    return table(
        ["status", "error", "is a", "meaning"],
        [
            (
                f"{kind.status} {HTTPStatus(kind.status).phrase}",
                code(kind.__name__),
                "" if (base := kind.__bases__[0]) is failures.ProxyError else code(base.__name__),
                first_paragraph(kind),
            )
            for kind in kinds()
        ],
    )


def kinds() -> list[type[failures.ProxyError]]:
    """All classes of errors that become answers."""
    found = [getattr(failures, node.name) for node in classes(failures)]
    return [
        kind
        for kind in found
        if issubclass(kind, failures.ProxyError) and kind is not failures.ProxyError
    ]
