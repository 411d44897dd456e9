"""Fixtures shared by all rooms."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The folder with the genuine data: `mnist` and `fashion_mnist` with four IDX files each."""
    folder = os.environ.get("JAXMNIST_DATA_DIR")
    if not folder:
        reason = "JAXMNIST_DATA_DIR does not name the folder with the genuine MNIST files"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Path(folder)
