"""nginx in three roles: the upstream, the practical limit for ready bytes, and a PyPI cache.

Each has two workers, as wheelkeep has, and the settings under which it is fastest.
"""

import grp
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.processes import is_listening, running
from benchmarks.programs import path_of

WORKERS = 2
"""Of each server that has any, wheelkeep too."""

_MAIN = """
daemon off;
{user}
pid {folder}/pid;
worker_processes {workers};
error_log stderr warn;
worker_rlimit_nofile 20000;
events {{ worker_connections 4096; }}
http {{
    access_log {access_log};
    client_body_temp_path {folder}/temporary;
    proxy_temp_path {folder}/temporary;
    fastcgi_temp_path {folder}/temporary;
    uwsgi_temp_path {folder}/temporary;
    scgi_temp_path {folder}/temporary;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000000;  # of one connection: a run must not meet the end of any
    # By the extension of the file that answers.
    types {{
        application/vnd.pypi.simple.v1+json json;
        text/html html;
        application/octet-stream whl;
    }}
    map $http_accept $page_suffix {{
        default html;
        "~application/vnd\\.pypi\\.simple\\.v1\\+json" json;
    }}
{site}
}}
"""

LINE_RATE = 125_000_000
"""Bytes per second of files whose names begin with `line_`: a line of 1 Gbit/s."""

_UPSTREAM = """
    map $uri $line_rate {{
        default 0;
        ~/line_ {line_rate};
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {root};
        gzip_static on;
        location /simple/ {{
            add_header Cache-Control "max-age=600, public";
            add_header Vary "Accept, Accept-Encoding";
            index index.$page_suffix index.html;  # there may be no JSON
        }}
        location /packages/ {{
            gzip_static off;
            limit_rate $line_rate;
            add_header Cache-Control "max-age=365000000, immutable, public";
        }}
    }}
"""

_STATIC = """
    open_file_cache max=2000 inactive=60s;
    open_file_cache_valid 60s;
    server {{
        listen 127.0.0.1:{precompressed} backlog=4096;
        root {root};
        gzip_static always;
    }}
    server {{
        listen 127.0.0.1:{plain} backlog=4096;
        root {root};
    }}
"""

_CACHE = """
    open_file_cache max=2000 inactive=60s;
    open_file_cache_valid 60s;
    proxy_cache_path {folder}/pages keys_zone=pages:10m max_size=1g inactive=1d use_temp_path=off;
    proxy_cache_path {folder}/files keys_zone=files:10m max_size=2g inactive=1d use_temp_path=off;
    map $page_suffix $page_type {{
        html text/html;
        json application/vnd.pypi.simple.v1+json;
    }}
    upstream index {{
        server {upstream};
        keepalive 16;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_cache_lock on;
        location /simple/ {{
            proxy_pass http://index;
            proxy_cache pages;
            proxy_cache_key $uri$page_suffix;
            proxy_ignore_headers Vary;  # the key has what it varies by
            proxy_set_header Accept $page_type;
            proxy_set_header Accept-Encoding "";  # sub_filter reads no gzip
            sub_filter http://{upstream}/packages/ /packages/;
            sub_filter_once off;
            sub_filter_types *;
            gzip on;
            gzip_types *;
            gzip_proxied any;
        }}
        location /packages/ {{
            proxy_pass http://index;
            proxy_cache files;
        }}
    }}
"""


@contextmanager
def upstream(folder: Path, root: Path, port: int) -> Iterator[None]:
    """An index: what `data.Site` wrote, negotiated by Accept and Accept-Encoding."""
    site = _UPSTREAM.format(port=port, root=root, line_rate=LINE_RATE)
    with _nginx(folder, site, port):
        yield


@contextmanager
def static(
    folder: Path, root: Path, precompressed: int, plain: int, *, is_logging: bool = False
) -> Iterator[None]:
    """Files as they are. At the first port, `x` is what `x.gz` has, said to be gzipped."""
    site = _STATIC.format(precompressed=precompressed, plain=plain, root=root)
    with _nginx(folder, site, plain, is_logging=is_logging):
        yield


@contextmanager
def cache(folder: Path, upstream_origin: str, port: int) -> Iterator[None]:
    """proxy_cache in front of an index, with links rewritten and pages compressed."""
    host = upstream_origin.removeprefix("http://")
    with _nginx(folder, _CACHE.format(folder=folder, upstream=host, port=port), port):
        yield


@contextmanager
def _nginx(folder: Path, site: str, port: int, *, is_logging: bool = False) -> Iterator[None]:
    folder.mkdir()
    config = folder / "nginx.conf"
    # As root, its workers would be somebody who may not read our folders.
    user = f"user {_user()};" if os.geteuid() == 0 else ""
    log = f"{folder}/access.log combined buffer=64k flush=1s" if is_logging else "off"
    config.write_text(
        _MAIN.format(folder=folder, user=user, workers=WORKERS, site=site, access_log=log)
    )
    command = [path_of("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(config)]
    with running(command, folder, partial(is_listening, port)):
        yield


def _user() -> str:
    return f"{pwd.getpwuid(os.geteuid()).pw_name} {grp.getgrgid(os.getegid()).gr_name}"
