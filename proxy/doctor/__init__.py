"""Looks at everything that wheelkeep needs, and says what is wrong and what to do about it.

Each check is a small function that uses the parts the server itself is made of: what they find
here is what the server would find. `examination.py` runs all of them side by side.
"""
