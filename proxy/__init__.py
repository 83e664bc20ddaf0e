"""wheelkeep: a caching proxy in front of PyPI and other Python package indexes.

Read `app.py` first: it tells the journey of a request through the modules.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("wheelkeep")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
