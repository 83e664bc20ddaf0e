"""The Simple API as data: no input, no output, no clock.

Specification: https://packaging.python.org/specifications/simple-repository-api/
Bytes become a model in `parse`, the model becomes bytes in `render`, and `negotiate`
says which bytes a client wants.
"""
