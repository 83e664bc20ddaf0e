"""One target under atheris, which takes over the process: `tests/fuzz/__main__.py` starts it."""

import sys

import atheris

with atheris.instrument_imports(include=["proxy", "zipfile", "yarl"]):
    from tests.fuzz.targets import TARGETS

name = sys.argv.pop(1)


def once(data: bytes) -> None:
    TARGETS[name](data)


atheris.Setup(sys.argv, once)
atheris.Fuzz()
