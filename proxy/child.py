"""What runs in a process of its own: one piece of work, read from stdin, its outcome to stdout.

`own_process.py` starts it. It loads nothing but what the work needs, which is a third of the
memory of a worker.
"""

import os
import pickle
import signal
import sys
import threading
import traceback
from contextlib import suppress

_NICENESS = 5


def main() -> None:
    """Do the work, and end. It ends early where whoever started it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started this
    with suppress(PermissionError):  # a container may refuse it, and the work goes on
        os.nice(_NICENESS)  # those who answer clients go first
    try:
        work = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    except (EOFError, pickle.UnpicklingError):
        return  # it is gone already
    threading.Thread(target=_end_with_parent, daemon=True).start()
    outcome: tuple[bool, object]
    try:
        outcome = True, work()
    except Exception as problem:
        problem.add_note(traceback.format_exc())
        outcome = False, problem
    sys.stdout.buffer.write(pickle.dumps(outcome))
    sys.stdout.buffer.flush()
    # The thread still reads: an orderly end would wait for its lock on stdin.
    os._exit(0)


def _end_with_parent() -> None:
    """Nothing more comes: stdin ends when the process does that holds its other side."""
    sys.stdin.buffer.read()
    os._exit(1)
