"""Load held while everything around it fails: `python -m benchmarks.held`.

A crowd of clients (`crowd.py`) asks for what `questions.py` draws, over connections that it
keeps, and `oracle.py` holds each answer against the imaginary index: to the byte. Meanwhile
`disturber.py` kills Redis and workers. `verdict.py` says afterwards which of the problems that
clients met break a promise, `story.py` what else is to be told.
"""
