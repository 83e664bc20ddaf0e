"""A project list in HTML, read in pieces: neither the page nor its links are kept in memory."""

import re
from collections.abc import Callable
from typing import IO, Any
from urllib.parse import unquote, urljoin, urlsplit

from proxy.simple.model import normalize
from proxy.simple.parse import Anchor, MalformedPage, PageTarget, check_version, read_html

_NAMES_AT_ONCE = 10_000
# Nearly all links: a path with nothing in it to decode. Group 1 is its last part.
_PLAIN_LINK = re.compile(r"/?(?:[A-Za-z0-9._~-]+/)*([A-Za-z0-9._~-]+)/?")

Taker = Callable[[list[str]], object]
"""Takes the names that were found, as they are shown, some thousands at a time."""


def read_html_list(file: IO[bytes], charset: str | None, url: str, take: Taker) -> dict[str, Any]:
    """Hand the names of a list to `take`; return the keys that its JSON form has besides.

    `url` is the list's address after redirects.

    Raises `MalformedPage` where it turns out to be no project list.
    """
    links = _Links(take, url)
    target = PageTarget(links.on_anchor)
    read_html(file, target, charset)
    links.hand_over()
    check_version({"api-version": target.value("pypi:repository-version") or "1.0"})
    if not links.has_agreeing and not target.is_headed_as_listing:
        raise MalformedPage(
            "its HTML is not a project list: no link to a page below it is named like that"
        )
    meta: dict[str, Any] = {"api-version": "1.0"}
    if (serial := target.serial) is not None:
        meta["_last-serial"] = serial
    return {"meta": meta}


class _Links:
    """Makes names of links."""

    def __init__(self, take: Taker, url: str) -> None:
        self._take = take
        self._url = url
        self._names: list[str] = []
        self.has_agreeing = False
        """Whether any link leads to a page below the list and is named like it.

        The link of a login page is named like its target, too, but that lies elsewhere.
        """

    def on_anchor(self, anchor: Anchor) -> None:
        in_link = _last_part(anchor.attributes["href"])
        name = normalize(in_link)
        if name is None:
            return
        # A server that lists its folders writes the slash into the text as well.
        in_text = anchor.text.strip().rstrip("/")
        is_same = in_text == in_link or name == normalize(in_text)
        if is_same and not self.has_agreeing:
            self.has_agreeing = _is_below(anchor.attributes["href"], self._url, in_link)
        self._names.append(in_text if is_same else in_link)
        if len(self._names) >= _NAMES_AT_ONCE:
            self.hand_over()

    def hand_over(self) -> None:
        self._take(self._names)
        self._names = []


def _is_below(link: str, url: str, name: str) -> bool:
    """Whether a link of the list at `url` leads to a page of that name right below it."""
    try:
        path = unquote(urlsplit(urljoin(url, link.strip())).path)
        folder = unquote(urlsplit(urljoin(url, ".")).path)
    except ValueError:
        return False
    return path.rstrip("/") == f"{folder.rstrip('/')}/{name}"


def _last_part(link: str) -> str:
    """The last part of the path of a link; none where it is no URL."""
    if plain := _PLAIN_LINK.fullmatch(link):
        return plain[1]
    try:
        path = unquote(urlsplit(link.strip()).path)
    except ValueError:
        return ""
    return path.rstrip("/").rpartition("/")[2]
