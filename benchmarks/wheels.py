"""Generated wheels that pip and uv install: METADATA, WHEEL, and a RECORD with right hashes.

Specification: the binary distribution format.
"""

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_MOMENT = (2026, 1, 1, 0, 0, 0)
"""Of each entry: the same wheel has the same bytes in each run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel and its core metadata, as an index has them."""

    filename: str
    content: bytes
    metadata: bytes


def make_wheel(
    project: str, version: str, requires: Sequence[str] = (), payload: bytes = b""
) -> Wheel:
    """A pure wheel with one module. `payload` is stored beside it as it is, uncompressed."""
    module = project.replace("-", "_")
    folder = f"{module}-{version}.dist-info"
    metadata = _metadata(project, version, requires)
    files = {f"{module}/__init__.py": f"version = {version!r}\n".encode()}
    if payload:
        files[f"{module}/payload.bin"] = payload
    # As builders do it: what describes the wheel stands at its end.
    files[f"{folder}/METADATA"] = metadata
    files[f"{folder}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: benchmarks\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files[f"{folder}/RECORD"] = _record(files, f"{folder}/RECORD")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _MOMENT), content)
    return Wheel(
        filename=f"{module}-{version}-py3-none-any.whl",
        content=stream.getvalue(),
        metadata=metadata,
    )


def _metadata(project: str, version: str, requires: Sequence[str]) -> bytes:
    lines = ["Metadata-Version: 2.1", f"Name: {project}", f"Version: {version}"]
    lines += ["Requires-Python: >=3.9", *(f"Requires-Dist: {one}" for one in requires), ""]
    return "\n".join(lines).encode()


def _record(files: Mapping[str, bytes], own_name: str) -> bytes:
    lines = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}\n")
    return "".join([*lines, f"{own_name},,\n"]).encode()
