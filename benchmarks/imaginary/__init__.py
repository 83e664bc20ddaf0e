"""An index that nobody has to hold, and a server of it that fails on purpose.

All of it follows from names, a seed and the clock (`index.py`), so whoever asks knows beforehand
what a right answer is, to the byte. `upstream.py` serves it; `faults.py` says how it fails.
"""
