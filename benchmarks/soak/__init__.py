"""Looks for leaks: `python -m benchmarks.soak` asks a million times, and counts what is left.

Cheap clients (wrk, by `mix.lua`) ask for what is ready, for what the framework has to answer, and
for what is not there; others hang up. After each fifty thousand everybody goes, and once it is
quiet the server must hold what it held before: descriptors, tasks, threads, memory.
"""
