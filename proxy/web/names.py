"""What a URL calls a project, and the way to what it should be called."""

from urllib.parse import quote

from aiohttp import web

from proxy.errors import ProjectNotFound
from proxy.simple.model import ProjectName, normalize


def project_named(given: str) -> ProjectName:
    """The normalised name. Raises `ProjectNotFound` where no project can be called so."""
    name = normalize(given)
    if name is None:
        raise ProjectNotFound(ascii(given))
    return name


def moved(request: web.Request, to: str) -> web.Response:
    """A permanent redirect, relative: right below any prefix and behind any host name."""
    query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
    return web.Response(status=301, headers={"Location": quote(to, safe="./") + query})
