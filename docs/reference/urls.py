"""Every URL, from the routes of the application that `proxy/app.py` builds."""

import asyncio

from docs.reference.markdown import code, first_paragraph, table
from docs.reference.running import running


def urls() -> str:
    """A table of methods and paths, in the order of paths."""
    rows = sorted((path, method, words) for method, path, words in routes())
    return table(
        ["method", "path", "what"],
        [(method, code(path), words) for path, method, words in rows],
    )


def routes() -> set[tuple[str, str, str]]:
    """Method, path and the first words of the handler's docstring, of each route."""
    return asyncio.run(_routes())


async def _routes() -> set[tuple[str, str, str]]:
    async with running(with_redis=True) as app:
        return {
            (route.method, route.resource.canonical, first_paragraph(route.handler))
            for route in app.router.routes()
            # HEAD stands beside each GET.
            if route.resource is not None and route.method != "HEAD"
        }
