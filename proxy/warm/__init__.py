"""Fills a cache with the files that lock files name, by asking for them as a client does.

`choosing.py` (pure) makes of a project's page and of what the lock files say a list of files;
`asking.py` asks a wheelkeep over HTTP; `engine.py` does so for all of them at once; `results.py`
tells how it ended. `inside.py` starts a wheelkeep in this process, for a cache without a server.
"""
