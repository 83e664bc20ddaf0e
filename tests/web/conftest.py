"""What clients see is the same with ready answers and without: each test here runs both ways."""

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    is_about_it = metafunc.module.__name__.endswith("test_hotpath")
    if "hot_path" in metafunc.fixturenames and not is_about_it:
        metafunc.parametrize("hot_path", [True, False], ids=["hot", "framework"])
