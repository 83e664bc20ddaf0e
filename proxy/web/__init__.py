"""URLs and headers on one side, the catalog and the downloads on the other."""
