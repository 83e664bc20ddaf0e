"""The targets by name, each of bytes alone."""

from collections.abc import Callable

from tests.attacks import targets


def _negotiation(data: bytes) -> None:
    accept, _, encoding = data.decode("latin-1").partition("\n")
    targets.negotiation(accept, encoding)


def _file_target(data: bytes) -> None:
    targets.file_target(f"/files/{data.decode(errors='replace')}")


def _wheel(data: bytes) -> None:
    """The first bytes say how much of the wheel is not at hand."""
    targets.wheel(data[5:], int.from_bytes(data[:5], "big"))


TARGETS: dict[str, Callable[[bytes], object]] = {
    "head": targets.head,
    "negotiation": _negotiation,
    "file_target": _file_target,
    "json_page": targets.json_page,
    "html_page": targets.html_page,
    "html_list": targets.html_list,
    "wheel": _wheel,
}
