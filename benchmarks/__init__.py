"""What the figures in the documentation come from. Run it with `python -m benchmarks`.

`rows/` says what is measured; everything else is what that takes: `data` generates an index,
`nginx` and `servers` start who is compared, `load` asks, `figures` compares, `report` tells.
Nothing here leaves the loopback interface except the installation of the other proxies.
"""
