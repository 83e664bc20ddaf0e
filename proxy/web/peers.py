"""Files to the other machines that share a Redis (`proxy/peers.py` is the side that asks)."""

import hmac

from aiohttp import web

from proxy.downloads import Downloads
from proxy.errors import FileNotListed
from proxy.storage.blobs import BlobKey
from proxy.telemetry import Telemetry
from proxy.web.access import NOTE
from proxy.web.files import names_in
from proxy.web.sending import file_headers, send_file

PEER_PATH = "/peer/{project}/{sha256}/{filename}"


class PeerHandlers:
    """The handler of `/peer/`. `machine` is the name by which this one wants to be asked."""

    def __init__(self, downloads: Downloads, machine: str, telemetry: Telemetry) -> None:
        self._downloads = downloads
        self._expected = f"Bearer {machine}".encode()
        self._telemetry = telemetry

    def routes(self) -> list[web.RouteDef]:
        """The URLs served here."""
        return [web.get(PEER_PATH, self.file)]

    async def file(self, request: web.Request) -> web.StreamResponse:
        """What is here of a file: whoever knows our name was shown it by our own Redis."""
        note = request[NOTE]
        note.route = "peer"
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if not hmac.compare_digest(given, self._expected):
            raise web.HTTPNotFound
        project, sha256, filename = names_in(request)
        if sha256 is None:
            raise FileNotListed(project, filename)
        key = BlobKey(project=project, filename=filename, sha256=sha256)
        download = await self._downloads.passed_on(key)
        if download is None:
            raise FileNotListed(project, filename)
        with download:
            headers = file_headers(has_hash=True)
            return await send_file(request, download, headers, self._telemetry)
