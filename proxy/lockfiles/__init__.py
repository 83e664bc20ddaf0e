"""Lock files and requirements files: what they ask for, as data.

`read` is all that others need. Each format has its module, which makes a `LockFile` of the text;
nothing here asks a network. What fits a Python and a platform, `targets.py` tells.
"""

from proxy.lockfiles.model import (
    Format,
    LockedFile,
    LockedRequirement,
    LockFile,
    LockFileError,
    PassedOver,
    Reason,
)
from proxy.lockfiles.reading import read, read_stream, read_text
from proxy.lockfiles.targets import ANY, Target, fitting, targets_of

__all__ = [
    "ANY",
    "Format",
    "LockFile",
    "LockFileError",
    "LockedFile",
    "LockedRequirement",
    "PassedOver",
    "Reason",
    "Target",
    "fitting",
    "read",
    "read_stream",
    "read_text",
    "targets_of",
]
