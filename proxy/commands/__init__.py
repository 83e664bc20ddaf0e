"""The commands people type, one module each."""

import signal

INTERRUPTED = 128 + signal.SIGINT
"""The exit status of a command that was ended by Ctrl-C, as shells have it."""
