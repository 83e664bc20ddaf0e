"""wheelkeep: a caching proxy in front of PyPI and other Python package indexes.

Read `app.py` first: it tells the journey of a request through the modules.
"""

__version__ = "0.1.0"
