"""What an endpoint promises, said beside its handler.

`@described(…)` stands above a handler and names what it takes and answers; `openapi.py` makes the
description of the whole out of these. Its words are the handler's docstring. Shapes are types that
msgspec knows; errors are the classes of `errors.py`, which have a status and a sentence of their
own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from aiohttp import web
from msgspec import Meta

from proxy.errors import ProxyError

Handler = TypeVar("Handler", bound=Callable[..., Any])
_ATTRIBUTE = "promise"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: what it means, its body's shape by media type, its headers beside those of all.

    Without words it is the endpoint's own docstring that says what is meant. `bytes` stands for a
    body that is no text, `Any` for JSON of somebody else's shape.
    """

    says: str = ""
    bodies: Mapping[str, Any] = field(default_factory=dict)
    headers: tuple[str, ...] = ()


def as_json(shape: Any, says: str = "", headers: tuple[str, ...] = ()) -> Answer:
    """An answer in JSON."""
    return Answer(says, {"application/json": shape}, headers)


VALIDATED = ("ETag", "Cache-Control", "Vary")
"""The headers of what may be kept and asked for again."""
AGEING = (*VALIDATED, "Age")
MOVED = Answer(
    "The same under the project's normalised name, or with its slash.", {}, ("Location",)
)
UNCHANGED = Answer("The client has it already.", {}, VALIDATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What an endpoint promises."""

    tag: str
    answers: Mapping[int, Answer]
    query: Mapping[str, Any]
    headers: tuple[str, ...]
    fails: tuple[type[ProxyError], ...]
    is_for_admins: bool
    is_for_people: bool


def described(
    tag: str,
    answers: Mapping[int, Answer],
    *,
    query: Mapping[str, Any] | None = None,
    headers: tuple[str, ...] = (),
    fails: tuple[type[ProxyError], ...] = (),
    is_for_admins: bool = False,
    is_for_people: bool = False,
) -> Callable[[Handler], Handler]:
    """Say what the handler below promises.

    `answers` by HTTP status; `query` the type of each parameter, none of which must be there;
    `headers` the names of those it looks at; `fails` the errors it may end in, beside what is true
    of all. What is for admins asks for a token of theirs; what is for people tells them of errors
    in HTML, where they ask for that.
    """
    promise = Promise(
        tag=tag,
        answers=answers,
        query=query or {},
        headers=headers,
        fails=fails,
        is_for_admins=is_for_admins,
        is_for_people=is_for_people,
    )

    def keep(handler: Handler) -> Handler:
        setattr(handler, _ATTRIBUTE, promise)
        return handler

    return keep


def promise_of(route: web.RouteDef) -> Promise | None:
    """What was said of the handler of that route."""
    return getattr(route.handler, _ATTRIBUTE, None)


# --- what paths, queries and headers hold -------------------------------------------------

PATH_PARAMETERS: Mapping[str, Any] = {
    "project": Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$",
            max_length=255,
            description="The name of a project; best its normalised form.",
            examples=["six"],
        ),
    ],
    "index": Annotated[
        str,
        Meta(
            pattern="^[a-z0-9][a-z0-9._-]*$",
            description="The `name` of one of the `[[index]]` of the settings.",
            examples=["pypi"],
        ),
    ],
    "version": Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9][A-Za-z0-9._+!-]{0,127}$",
            description="A version of the project.",
            examples=["1.0"],
        ),
    ],
    "sha256": Annotated[
        str,
        Meta(
            pattern="^([0-9a-f]{64}|-)$",
            description="Of the file; `-` for one whose index gives none.",
            examples=["-"],
        ),
    ],
    "filename": Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9][A-Za-z0-9._+!~-]*$",
            max_length=255,
            description="The name of a file of the project.",
            examples=["six-1.0.tar.gz"],
        ),
    ],
    "digest": Annotated[
        str,
        Meta(
            pattern="^[0-9a-f]+$",
            description="That of all files that pages load, as a page names it.",
            examples=["0123456789abcdef"],
        ),
    ],
    "name": Annotated[
        str,
        Meta(
            pattern="^[a-z]+[.][a-z]+$",
            description="The name of a file that pages load.",
            examples=["style.css"],
        ),
    ],
}
# What cannot be read in these counts as absent (RFC 9110 §13.1, §14.2), so any text will do.
REQUEST_HEADERS: Mapping[str, Any] = {
    "If-None-Match": Annotated[
        str, Meta(description="The ETags that the client has, or `*`.", examples=['"6ad2f0"'])
    ],
    "Range": Annotated[
        str,
        Meta(description="The one range of bytes that is wanted.", examples=["bytes=0-1023"]),
    ],
    "If-Range": Annotated[
        str, Meta(description="The ETag for which `Range` counts; else all is answered.")
    ],
    "Prefer": Annotated[
        str,
        Meta(
            description="`wait` (RFC 7240): so many seconds HEAD waits until the file is kept.",
            examples=["wait=20"],
        ),
    ],
}
RESPONSE_HEADERS: Mapping[str, Any] = {
    "Cache-Status": Annotated[
        str,
        Meta(
            pattern="^wheelkeep",
            description="What the cache did (RFC 9211).",
            examples=["wheelkeep; hit; ttl=598"],
        ),
    ],
    "X-Request-Id": Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9._-]{1,64}$",
            description="What the request is called in the log; a client may choose it.",
        ),
    ],
    "ETag": Annotated[str, Meta(pattern='^".+"$', description="A strong one, of the content.")],
    "Cache-Control": str,
    "Vary": str,
    "Age": Annotated[int, Meta(ge=0, description="Seconds since the index said so.")],
    "Location": Annotated[str, Meta(description="Relative.")],
    "Content-Range": Annotated[str, Meta(pattern="^bytes ")],
    "Accept-Ranges": str,
    "Preference-Applied": Annotated[str, Meta(pattern="^wait=", description="RFC 7240.")],
    "Allow": Annotated[str, Meta(description="The methods that there are.")],
    "WWW-Authenticate": Annotated[str, Meta(description="The two ways to show a token.")],
}
