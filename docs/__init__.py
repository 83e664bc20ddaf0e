"""The documentation: its pages, and in `reference/` what makes the rest from the code."""
