"""Reports to those who run it, as JSON that nobody keeps."""

import msgspec
from aiohttp import web

NOT_CACHED = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def reply(report: msgspec.Struct, status: int = 200) -> web.Response:
    """The answer that tells it."""
    return web.Response(
        status=status,
        body=msgspec.json.encode(report),
        content_type="application/json",
        charset="utf-8",
        headers=NOT_CACHED,
    )
