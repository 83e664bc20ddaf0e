"""A folder of wheels as an index."""
