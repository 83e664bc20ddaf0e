"""The lines of "Use this server", word for word, in the tools that they are for."""

import hashlib
import re
import sys
from pathlib import Path

import aiohttp
import pytest
import yaml
from lxml import html

from tests.e2e.installers import installed, run
from tests.fakes import JSON, FakeUpstream
from tests.servers import Wheelkeep, wheelkeep

pytestmark = [
    pytest.mark.clients,
    pytest.mark.parametrize("stocked", [JSON], indirect=True, ids=["json"]),
]

TOKEN = "wk_client"
OPEN: dict[str, str] = {}
CLOSED = {
    "WHEELKEEP_AUTH__TOKENS": f'["{hashlib.sha256(TOKEN.encode()).hexdigest()}"]',
    "WHEELKEEP_AUTH__OPEN_MONITORING": "true",
}
BOTH = pytest.mark.parametrize("environment", [OPEN, CLOSED], ids=["open", "tokens"])
PIP = (sys.executable, "-m", "pip", "install", "--quiet")
UV = (sys.executable, "-m", "uv")


async def snippets(server: Wheelkeep, tool: str) -> list[str]:
    """What a reader copies from the dashboard, with their token in it."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "text/html"}
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{server.url}/", headers=headers) as answer:
            document = html.fromstring(await answer.text())
    texts = []
    for code in document.get_element_by_id(f"use-{tool}").iterfind(".//pre/code"):
        for hidden in code.xpath(".//*[@hidden]"):
            hidden.clear(keep_tail=True)
        text = code.text_content().replace("wk_YOUR_TOKEN", TOKEN)
        texts.append(re.sub(r"\$\{\{? ?(secrets\.)?WHEELKEEP_TOKEN ?\}\}?", TOKEN, text))
    return texts


@BOTH
async def test_pip_conf(stocked: FakeUpstream, tmp_path: Path, environment: dict[str, str]) -> None:
    async with wheelkeep(tmp_path / "cache", "--index-url", stocked.url, **environment) as server:
        (text,) = await snippets(server, "pip")
        (tmp_path / "pip.conf").write_text(text)
        target = str(tmp_path / "to")
        config = str(tmp_path / "pip.conf")
        await run(*PIP, "--target", target, "alpha", PIP_CONFIG_FILE=config)

    assert installed(tmp_path / "to") == {"alpha-2.0", "beta-2.0"}


@BOTH
async def test_uv(stocked: FakeUpstream, tmp_path: Path, environment: dict[str, str]) -> None:
    """In pyproject.toml, and with the first line that is said for uv.toml."""
    async with wheelkeep(tmp_path / "cache", "--index-url", stocked.url, **environment) as server:
        table, *exports = await snippets(server, "uv")
        login = dict(re.findall(r"export (\w+)=(\S+)", "".join(exports)))
        project = tmp_path / "project"
        project.mkdir()
        (project / "pyproject.toml").write_text(
            '[project]\nname = "demo"\nversion = "0"\nrequires-python = ">=3.11"\n'
            f'dependencies = ["alpha"]\n{table}'
        )
        configured = {**login, "UV_NO_CONFIG": "0"}
        await run(*UV, "lock", cwd=project, **configured)
        config = tmp_path / "uv.toml"
        config.write_text(table.replace("[[tool.uv.index]]", "[[index]]"))
        install = ("pip", "install", "--python", sys.executable, "--target", str(tmp_path / "to"))
        await run(*UV, "--config-file", str(config), *install, "alpha", **configured)

    assert f"{server.url}/files/alpha/" in (project / "uv.lock").read_text()
    assert installed(tmp_path / "to") == {"alpha-2.0", "beta-2.0"}


@BOTH
@pytest.mark.parametrize("tool", ["github", "gitlab", "docker"])
async def test_environments(
    stocked: FakeUpstream, tmp_path: Path, environment: dict[str, str], tool: str
) -> None:
    """Of workflows and of images: pip and uv find the server by them."""
    async with wheelkeep(tmp_path / "cache", "--index-url", stocked.url, **environment) as server:
        (text,) = await snippets(server, tool)
        variables = of_dockerfile(text) if tool == "docker" else of_workflow(text)
        assert variables.keys() >= {"PIP_INDEX_URL", "UV_DEFAULT_INDEX"}
        await run(*PIP, "--target", str(tmp_path / "pip"), "alpha", **variables)
        install = ("pip", "install", "--python", sys.executable, "--target", str(tmp_path / "uv"))
        await run(*UV, *install, "alpha", **variables)

    assert installed(tmp_path / "pip") == installed(tmp_path / "uv") == {"alpha-2.0", "beta-2.0"}


def of_workflow(text: str) -> dict[str, str]:
    (variables,) = yaml.safe_load(text).values()
    return variables


def of_dockerfile(text: str) -> dict[str, str]:
    """What `ENV` sets; or what the secret is that `RUN` is given, under the names it gets."""
    if found := re.search(r"^ENV (.*)", text.replace("\\\n", ""), re.MULTILINE):
        return dict(word.split("=", 1) for word in found[1].split())
    (secret,) = re.findall(r"# PIP_INDEX_URL where you build: (\S+)", text)
    return dict.fromkeys(re.findall(r"type=secret,id=index,env=(\w+)", text), secret)
