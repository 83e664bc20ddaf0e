"""The commands people type, one module each."""
