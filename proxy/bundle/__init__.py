"""A cache as one file, to be carried to a machine that the network does not reach.

`archive.py` knows the format, `manifest.py` what stands at its beginning. On the way out,
`choice.py` (pure) says what is wanted, `planning.py` finds it, `exporting.py` writes it; on the way
in, `opening.py` sees whether it is the bundle that is meant, `importing.py` takes it in, and
`pages.py` (pure) judges its pages.
"""
