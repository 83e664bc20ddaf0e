"""A cache as one file, to be carried to a machine that the network does not reach."""
