"""The time from a fresh process to its first prediction."""

import os
import subprocess
import sys

import pytest

MOST_SECONDS = 1.5
UNNEEDED = {"orbax", "matplotlib", "sklearn", "skimage", "pandas", "tensorflow_datasets", "tyro"}
PROGRAM = """
import sys, time
began = time.perf_counter()
import numpy as np
import jaxmnist
jaxmnist.load(sys.argv[1]).predict(np.zeros((28, 28), np.uint8))
print(time.perf_counter() - began, *{name.partition(".")[0] for name in sys.modules})
"""


@pytest.mark.battery
def test_a_run_is_loaded_and_predicts_within_a_second_and_a_half(tiny_run):
    def seconds():
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, tiny_run],
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            check=True,
        )
        seconds, *modules = done.stdout.split()
        assert not UNNEEDED & set(modules)
        return float(seconds)

    seconds()  # fills the cache of compiled programs
    assert min(seconds() for _ in range(5)) < MOST_SECONDS
