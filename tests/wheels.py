"""Small real wheels and source distributions, made in memory."""

import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence


def metadata(
    project: str, version: str, requires: Sequence[str] = (), requires_python: str = ""
) -> bytes:
    """The core metadata of such a wheel."""
    lines = ["Metadata-Version: 2.1", f"Name: {project}", f"Version: {version}"]
    lines += [f"Requires-Python: {requires_python}"] if requires_python else []
    return "\n".join([*lines, *(f"Requires-Dist: {name}" for name in requires), ""]).encode()


def sdist_tar(files: Mapping[str, bytes]) -> bytes:
    """A .tar.gz with these files, in this order."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def sdist_zip(files: Mapping[str, bytes]) -> bytes:
    """A .zip with these files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def wheel(
    project: str,
    version: str,
    requires: Sequence[str] = (),
    padding: int = 0,
    requires_python: str = "",
) -> bytes:
    """A wheel with one module that knows its version; `padding` makes it that much larger."""
    folder = f"{project}-{version}.dist-info"
    files = {}
    if padding:
        files[f"{project}_data/padding.bin"] = bytes(range(256)) * (padding // 256)
    # As builders do it: what describes the wheel stands at its end.
    files |= {
        f"{project}.py": f"version = {version!r}\n".encode(),
        f"{folder}/METADATA": metadata(project, version, requires, requires_python),
        f"{folder}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\n"
        b"Root-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in files) + f"{folder}/RECORD,,\n"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in {**files, f"{folder}/RECORD": record.encode()}.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), content)
    return stream.getvalue()
