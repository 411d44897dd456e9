"""Forks after JAX has started: refused at once instead of waiting forever."""

import subprocess
import sys

import pytest

PROGRAM = """
import multiprocessing, sys, warnings
import numpy as np
import jaxmnist
from jaxmnist.errors import UsageError

def work(how):
    try:
        if how == "predict":
            classifier.predict(np.zeros((28, 28), np.uint8))
        elif how == "load":
            jaxmnist.load(sys.argv[1], device="cpu")
        else:
            jaxmnist.train_run("second", dataset="digits", device="cpu", progress=False)
    except UsageError as error:
        return str(error)

warnings.simplefilter("ignore", RuntimeWarning)  # JAX's own, at the fork
classifier = jaxmnist.load(sys.argv[1], device="cpu")
classifier.predict(np.zeros((28, 28), np.uint8))
context = multiprocessing.get_context("fork")
with context.Pool(1) as pool:
    for message in pool.map(work, ["predict", "load", "train"]):
        print(message)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="fork is the default of Linux")
def test_a_process_forked_after_use_says_so_instead_of_hanging(tiny_run):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tiny_run], capture_output=True, text=True, timeout=60
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr
    assert all("was forked from one in which JAX had started" in line for line in lines)
    assert all("multiprocessing.get_context('spawn')" in line for line in lines)
