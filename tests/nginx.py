"""A real nginx, with one site."""

import asyncio
import subprocess
from pathlib import Path
from typing import Self

from tests.servers import path_of_program, until_listening


class Nginx:
    """nginx with `site` as what stands in its conf.d. All its files are in `folder`."""

    def __init__(self, folder: Path, site: str, port: int) -> None:
        folder.mkdir()
        (folder / "site.conf").write_text(site)
        self.port = port
        self._log = folder / "error.log"
        temporary = "".join(
            f"{name}_temp_path {folder}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config = folder / "nginx.conf"
        config.write_text(
            f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {self._log};\n"
            "events {}\n"
            f"http {{\naccess_log {folder}/access.log;\n{temporary}"
            f"include {folder}/site.conf;\n}}\n"
        )
        self._command = [path_of_program("nginx"), "-p", str(folder), "-e", str(self._log), "-c"]
        self._command.append(str(config))
        self._process: subprocess.Popen[bytes] | None = None

    def check(self) -> str:
        """What nginx says of its configuration; fails where that is wrong."""
        done = subprocess.run(
            [*self._command, "-t"], capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == 0, done.stderr + self._log.read_text()
        return done.stderr

    async def __aenter__(self) -> Self:
        self.check()
        self._process = subprocess.Popen(self._command)
        await until_listening(self.port, "nginx")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._process.wait)
