"""The reference is made from the code: nothing of it is missing, and nothing is made up."""

import asyncio
import re
import tomllib
from typing import Any

import pytest
from click import Context
from markdown import Markdown
from prometheus_client.parser import text_string_to_metric_families

from docs.reference import PARTS
from docs.reference.errors import kinds
from docs.reference.markdown import plain
from docs.reference.modules import layers
from docs.reference.settings import sections
from proxy import reports
from proxy.cli import COMMANDS, main
from proxy.errors import ProxyError
from proxy.journey import Outcome
from tests.conftest import MakeProxy
from tests.docs.documents import PAGES, ROOT, page


def rows(made: str) -> dict[str, list[str]]:
    """The cells of each row that begins with code, by that."""
    found = {}
    for line in made.splitlines():
        cells = [one.strip() for one in re.split(r"(?<!\\)\|", line)[1:-1]]
        codes = re.findall(r"`([^`]+)`", line)
        if codes and line.startswith("| `"):
            found[codes[0]] = cells
    return found


def test_every_setting_with_its_default() -> None:
    """As config/wheelkeep.toml has it, which has a test that it holds the defaults."""
    shown: dict[str, Any] = tomllib.loads((ROOT / "config/wheelkeep.toml").read_text())
    made = rows(PARTS["settings"]())
    keys = {f"{name}.{key}" for name, model in sections() for key in model.model_fields}

    assert keys
    assert set(made) == keys
    for name, model in sections():
        values = shown[name][0] if name == "index" else shown[name]
        for key, field in model.model_fields.items():
            what, kind, default, given_by = made[f"{name}.{key}"][1:]
            assert what == plain(field.description or "")
            assert kind in {
                "text",
                "whole number",
                "true or false",
                "size",
                "duration",
                "path",
                "list",
            }
            if field.is_required():
                assert default == "needed"
            else:
                assert default.strip("`").strip('"') == f"{_as_toml(values[key])}".strip('"')
            if name != "index":
                assert f"`WHEELKEEP_{name}__{key}`".upper() in given_by


def _as_toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case list():
            return "[" + ", ".join(f'"{one}"' for one in value) + "]"
        case _:
            return str(value)


def test_every_flag_of_serve_stands_beside_its_setting() -> None:
    """But for that of the file itself."""
    serve = main.get_command(Context(main), "serve")
    assert serve is not None
    flags = {option for parameter in serve.params for option in parameter.opts}

    assert flags - set(re.findall(r"`(--[\w-]+)`", PARTS["settings"]())) == {"--config"}


def test_every_command_with_its_options() -> None:
    """Usage, words and options are those of `--help`."""
    made = PARTS["commands"]()
    for name in COMMANDS:
        command = main.get_command(Context(main), name)
        assert command is not None
        (part,) = re.findall(rf"^## {name}\n(.*?)(?=^## |\Z)", made, re.DOTALL | re.MULTILINE)
        assert f"wheelkeep {name}" in part
        assert (command.help or "-").split()[0] in part
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert parameter.opts[0] in part, parameter.opts


async def test_every_metric_of_a_server(make_proxy: MakeProxy) -> None:
    """What `/metrics` says after some requests is told, with the labels that it has."""
    proxy = await make_proxy()
    await proxy.get("/simple/six/")
    answer = await proxy.get("/metrics")
    families = list(text_string_to_metric_families(await answer.text()))
    made = rows(await _in_thread("metrics"))

    assert "wheelkeep_requests_total" in made
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert name in made
        assert made[name][3] == plain(f"{family.documentation.rstrip('.')}.")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert set(re.findall(r"`(\w+)`", made[name][2])) >= labels


async def test_every_url(make_proxy: MakeProxy) -> None:
    """With the first words of its handler."""
    proxy = await make_proxy()
    made = await _in_thread("urls")

    assert proxy.app is not None
    for route in proxy.app.router.routes():
        assert route.resource is not None
        if route.method != "HEAD":
            assert f"| {route.method} | `{route.resource.canonical}` |" in made
    assert not re.search(r"\|\s*\|$", made, re.MULTILINE)


async def _in_thread(part: str) -> str:
    """It runs a loop of its own."""
    return await asyncio.to_thread(PARTS[part])


def test_every_alert() -> None:
    """With how bad it is."""
    made = rows(PARTS["alerts"]())
    written = re.findall(r"alert: (\w+)", (ROOT / "config/prometheus/alerts.yml").read_text())

    assert written
    assert list(made) == written
    assert {cells[1] for cells in made.values()} <= {"critical", "warning"}


def test_every_word_of_the_cache() -> None:
    """With its meaning, and the header that it makes."""
    made = rows(PARTS["outcomes"]())

    assert {*made} == set(Outcome)
    assert made["hit"][1] == "`wheelkeep; hit; ttl=345`"
    assert made["stale"][1] == "`wheelkeep; hit; ttl=-345`"
    assert all(cells[2] for cells in made.values())


def test_every_error() -> None:
    """With its status."""
    made = PARTS["errors"]()

    assert {kind.__name__ for kind in kinds()} == set(_below(ProxyError))
    for kind in kinds():
        assert re.search(
            rf"^\| {kind.status} [\w ]+ \| `{kind.__name__}` .*\S \|$", made, re.MULTILINE
        )
    assert "| 403 Forbidden | `HiddenByPolicy` |" in made


def _below(kind: type[ProxyError]) -> list[str]:
    return [
        name
        for one in kind.__subclasses__()
        if one.__module__ == kind.__module__
        for name in (one.__name__, *_below(one))
    ]


def test_every_key_of_the_json() -> None:
    """Of each object, with the text that stands below it in the code."""
    made = PARTS["shapes"]()

    for shape in ("Stats", "Sums", "Overview"):
        assert f"### {shape}\n" in made
        for key in getattr(reports, shape).__struct_fields__:
            assert f"| `{key}` |" in made
    assert "The bound of `blob_bytes`" in made


def test_every_module() -> None:
    """In the order in which they may import each other, from the bottom."""
    made = list(rows(PARTS["modules"]()))

    assert made[0] == "errors"
    assert made[-1] == "cli"
    assert len(made) == sum(len(layer) for layer in layers())


def test_words_of_the_code_are_no_markup() -> None:
    """But for code: what Markdown would take for more is shown as it was written."""
    text = "*any* but `acme-*` of [[index]], a_b_c <script>"
    html = Markdown().convert(plain(text))

    assert html == "<p>*any* but <code>acme-*</code> of [[index]], a_b_c &lt;script&gt;</p>"


def test_a_page_gets_what_it_names() -> None:
    """A line by itself is replaced, before the text is read."""
    html = Markdown(extensions=["tables", "docs.reference"]).convert(
        "Before.\n\n<!-- reference: outcomes -->\n\nAfter."
    )

    assert "<td><code>revalidated</code></td>" in html
    assert "reference:" not in html


def test_a_page_that_names_what_is_not_there() -> None:
    """Stops the build."""
    with pytest.raises(KeyError, match="settngs"):
        Markdown(extensions=["docs.reference"]).convert("<!-- reference: settngs -->")


def test_every_part_is_on_a_page() -> None:
    """What is made is also shown."""
    named = {
        name
        for path in PAGES
        for name in re.findall(r"<!-- reference: (\w+) -->", path.read_text())
    }

    assert named == set(PARTS)
    assert '--8<-- "config/wheelkeep.toml"' in page("reference/settings.md")


def test_metrics_that_pages_name() -> None:
    """Each is one that there is, with the labels by which it is asked for."""
    made = rows(PARTS["metrics"]())
    text = page("guide/monitoring.md")
    named = set(re.findall(r"wheelkeep_\w+", text))

    assert len(named) > 8
    for name in named:
        assert name in made or name.removesuffix("_bucket") in made
    for name, selected in re.findall(r"(wheelkeep_\w+)\{(\w+)[=!]", text):
        assert f"`{selected}`" in made[name][2]
