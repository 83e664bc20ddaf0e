"""The name of a machine among others, and what its requests are recognised by."""

import hashlib
import secrets
import socket
from contextlib import suppress
from pathlib import Path

_MARK_DIGITS = 16


def machine_name(path: Path) -> str:
    """The name of this machine, made up once and kept in that file. Raises `OSError`.

    Whoever knows it may have what is kept here (`peers.py`).
    """
    if not path.exists():
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        draft.touch(0o600)
        try:
            draft.write_text(secrets.token_hex(32))
            with suppress(FileExistsError):  # another process was first
                path.hardlink_to(draft)
        finally:
            draft.unlink()
    # A folder that was copied to another machine must not make the two of them one.
    return hashlib.sha256(f"{socket.gethostname()}\0{path.read_text()}".encode()).hexdigest()


def mark_of(folder: Path) -> str:
    """What the requests of whoever uses that cache are recognised by, and tell nobody its name.

    Where none can be kept, it is made up for this process.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        name = machine_name(folder / "machine")
    except OSError:  # no links, no room; whether that is a failure, others say
        name = secrets.token_hex(32)
    return f"wheelkeep-{hashlib.sha256(f'mark {name}'.encode()).hexdigest()[:_MARK_DIGITS]}"
