"""`wheelkeep stats`."""
