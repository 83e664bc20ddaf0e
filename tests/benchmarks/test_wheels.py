"""Generated wheels are ones that installers take, and pages tell the truth of them."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.data import Site, render_html, render_json
from benchmarks.wheels import make_wheel


def test_pip_installs_them(tmp_path: Path) -> None:
    wheels, target = tmp_path / "wheels", tmp_path / "target"
    wheels.mkdir()
    for wheel in (
        make_wheel("made-up", "2.0", ["other>=1"], payload=b"x" * 1000),
        make_wheel("other", "1.5"),
    ):
        (wheels / wheel.filename).write_bytes(wheel.content)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index"]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PIP_")},
        "PIP_CONFIG_FILE": os.devnull,
    }
    subprocess.run(
        [*command, "--find-links", str(wheels), "--target", str(target), "made-up"],
        check=True,
        env=environment,
    )
    assert {path.name for path in target.glob("*.dist-info")} == {
        "made_up-2.0.dist-info",
        "other-1.5.dist-info",
    }
    assert (target / "made_up" / "payload.bin").stat().st_size == 1000


def test_pages_list_what_lies_there(tmp_path: Path) -> None:
    site = Site(tmp_path, "http://127.0.0.1:1")
    wheel = make_wheel("made-up", "2.0")
    listed = site.add_wheel("2.0", wheel)
    site.add_page("made-up", [listed])
    page = json.loads((tmp_path / "simple/made-up/index.json").read_bytes())
    [file] = page["files"]
    path = tmp_path / file["url"].removeprefix("http://127.0.0.1:1/")
    assert path.read_bytes() == wheel.content
    assert file["hashes"]["sha256"] == hashlib.sha256(wheel.content).hexdigest()
    metadata = path.with_name(f"{path.name}.metadata").read_bytes()
    assert file["core-metadata"]["sha256"] == hashlib.sha256(metadata).hexdigest()


def test_both_formats_list_the_same(tmp_path: Path) -> None:
    files = Site(tmp_path, "http://127.0.0.1:1").imaginary("made-up", 200)
    links = re.findall(r'href="(.*?)#sha256=(.*?)"', render_html("made-up", files).decode())
    entries = json.loads(render_json("made-up", files))["files"]
    assert links == [(file["url"], file["hashes"]["sha256"]) for file in entries]
    assert len({file["filename"] for file in entries}) == 200
