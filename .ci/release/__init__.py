"""What a release is made with, and what is looked at before (`PYTHONPATH=.ci`).

`closure.py` tells what is installed together with wheelkeep, `sbom.py` writes that down, `audit.py`
asks whether any of it has a known vulnerability, and `__main__.py` makes the files of a release.
"""

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The checkout."""
