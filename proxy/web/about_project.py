"""How `/project/{project}` and `/why/{project}` begin: under which name, and with which page."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from proxy.catalog import Catalog
from proxy.merged import Page
from proxy.simple.model import ProjectName
from proxy.web.access import NOTE
from proxy.web.html import HtmlPages
from proxy.web.names import moved, project_named

Make = Callable[[web.Request, ProjectName, bool], Awaitable[web.Response]]
"""Makes the answer to a request for that project: whether it is for a script, comes last."""


async def about_project(request: web.Request, html: HtmlPages, make: Make) -> web.Response:
    """What `make` answers; a redirect where the URL has another spelling than the normalised one.

    For the rest see `HtmlPages.either`.
    """

    async def make_named(request: web.Request, is_for_scripts: bool) -> web.Response:
        given = request.match_info["project"]
        name = project_named(given)
        if given != name:
            return moved(request, name)
        return await make(request, name, is_for_scripts)

    return await html.either(request, make_named, depth=1)


async def page_of(request: web.Request, catalog: Catalog, name: ProjectName) -> Page:
    """The project's page; which one and how it was had stand in the access line.

    Raises `ProjectNotFound`, `UpstreamError`.
    """
    note = request[NOTE]
    note.project = name
    page = await catalog.page(name)
    note.journey = page.journey
    return page
