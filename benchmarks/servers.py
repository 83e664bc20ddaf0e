"""The proxies that are compared: how each is started, and under which URLs it has an index."""

import base64
import json
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from html.parser import HTMLParser
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urldefrag, urljoin

import proxy
from benchmarks import nginx
from benchmarks.client import Target, get, get_ok
from benchmarks.data import HTML, JSON
from benchmarks.nginx import WORKERS
from benchmarks.problems import WrongAnswer
from benchmarks.processes import free_port, is_listening, running
from benchmarks.rivals import DEVPI, PROXPI, folder_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running index. `pid` is of the process that was started, where that matters."""

    name: str
    index_url: str
    pid: int = 0

    def page(self, project: str, format: str = JSON, coding: str = "gzip") -> Target:
        """The page of a project in a media type and a content coding."""
        headers = {"Accept": format, "Accept-Encoding": coding}
        return Target(url=f"{self.index_url}{project}/", headers=headers)

    def file(self, project: str, filename: str) -> Target:
        """The file to which its page links under that name. Raises `WrongAnswer`."""
        files = self.files(project)
        if filename not in files:
            raise WrongAnswer(f"the page of {project} does not list {filename}")
        return files[filename]

    def files(self, project: str) -> dict[str, Target]:
        """All files to which its page links, by name."""
        page = self.page(project, HTML, "identity")
        links = _Links(page.url)
        links.feed(get_ok(page).body.decode())
        headers = {"Accept-Encoding": "identity"}
        return {name: Target(url=url, headers=headers) for name, url in links.found.items()}


class _Links(HTMLParser):
    def __init__(self, base: str) -> None:
        super().__init__()
        self._base = base
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if tag == "a" and href:
            url = urldefrag(urljoin(self._base, href)).url
            self.found[url.rpartition("/")[2]] = url


@contextmanager
def wheelkeep(
    folder: Path, upstream_index_url: str, *, is_logging: bool = False
) -> Iterator[Server]:
    """What is measured: wheelkeep with two workers and an empty cache."""
    folder.mkdir()
    origin = f"http://127.0.0.1:{free_port()}"
    config = folder / "wheelkeep.toml"
    config.write_text(
        f"[server]\nport = {origin.rpartition(':')[2]}\nworkers = {WORKERS}\n"
        f"access_log = {str(is_logging).lower()}\n"
        f'[cache]\ndir = "{folder}/cache"\n'
        f'[[index]]\nname = "bench"\nurl = "{upstream_index_url}"\n'
    )
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(config)]
    # Compiled modules are allowed, also where that is set: who has installed it has them.
    environment = {"PYTHONPATH": str(sources()), "PYTHONDONTWRITEBYTECODE": ""}
    with running(command, folder, partial(is_healthy, origin), environment) as process:
        yield Server(name="wheelkeep", index_url=f"{origin}/simple/", pid=process.pid)


@contextmanager
def nginx_cache(folder: Path, upstream_origin: str) -> Iterator[Server]:
    """A cache of PyPI made of nginx."""
    port = free_port()
    with nginx.cache(folder, upstream_origin, port):
        yield Server(name="nginx as cache", index_url=f"http://127.0.0.1:{port}/simple/")


@contextmanager
def proxpi(folder: Path, upstream_origin: str) -> Iterator[Server]:
    """The proxy proxpi as its image runs it: gunicorn with eight threads."""
    folder.mkdir()
    port = free_port()
    command = [f"{folder_of(PROXPI)}/bin/gunicorn", "--threads", "8", "--bind", f"127.0.0.1:{port}"]
    environment = {
        "PROXPI_INDEX_URL": f"{upstream_origin}/simple/",
        "PROXPI_CACHE_DIR": f"{folder}/cache",
        "PROXPI_LOGGING_LEVEL": "WARNING",
        # Otherwise it sends clients upstream while it downloads.
        "PROXPI_DOWNLOAD_TIMEOUT": "60",
    }
    command += ["proxpi.server:app"]
    with running(command, folder, partial(is_listening, port), environment):
        yield Server(name="proxpi", index_url=f"http://127.0.0.1:{port}/index/")


@contextmanager
def devpi(folder: Path, upstream_origin: str) -> Iterator[Server]:
    """The server devpi-server with one mirror index."""
    folder.mkdir()
    port = free_port()
    data = ["--serverdir", f"{folder}/data"]
    binaries = folder_of(DEVPI) / "bin"
    with running([f"{binaries}/devpi-init", *data, "--no-root-pypi"], folder, lambda: True) as init:
        init.wait(60)
    command = [f"{binaries}/devpi-server", *data, "--host", "127.0.0.1", "--port", str(port)]
    with running(command, folder, partial(is_listening, port)):
        origin = f"http://127.0.0.1:{port}"
        _add_mirror(origin, f"{upstream_origin}/simple/")
        yield Server(name="devpi-server", index_url=f"{origin}/root/bench/+simple/")


def _add_mirror(origin: str, mirrored: str) -> None:
    login = _send_json("POST", f"{origin}/+login", {"user": "root", "password": ""}, {})
    token = base64.b64encode(f"root:{login['result']['password']}".encode()).decode()
    index = {"type": "mirror", "mirror_url": mirrored, "volatile": False}
    _send_json("PUT", f"{origin}/root/bench", index, {"X-Devpi-Auth": token})


def _send_json(
    method: str, url: str, content: object, headers: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    request = urllib.request.Request(
        url,
        json.dumps(content).encode(),
        {"Content-Type": "application/json", "Accept": "application/json", **headers},
        method=method,
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        found: dict[str, dict[str, str]] = json.loads(answer.read())
        return found


def sources() -> Path:
    """Where wheelkeep's modules are, and these."""
    return Path(proxy.__file__).parents[1]


def is_healthy(origin: str) -> bool:
    """Whether a wheelkeep answers there."""
    try:
        return get(Target(url=f"{origin}/healthz")).status == 200
    except (OSError, HTTPException):
        return False
