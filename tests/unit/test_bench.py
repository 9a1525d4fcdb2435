"""The bench is run by hand: that it can be started at all is seen here."""

import importlib
import pkgutil

import pytest

import bench


@pytest.mark.parametrize("name", [module.name for module in pkgutil.walk_packages(bench.__path__, "bench.")])
def test_module_of_the_bench_can_be_imported(name: str) -> None:
    importlib.import_module(name)
