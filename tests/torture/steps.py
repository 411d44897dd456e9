"""The real `fit` in this process, one step at a time, with an action after each step."""

import contextlib
import dataclasses
import functools
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from jaxmnist.config import get_recipe
from jaxmnist.config.run import RunConfig
from jaxmnist.data import load_dataset
from jaxmnist.errors import InterruptedRunError
from jaxmnist.runs import loop as fit_module
from jaxmnist.runs.devices import training_devices
from jaxmnist.runs.folder import create_run, read_config
from jaxmnist.runs.progress import Progress

EPOCHS, BATCHES = 2, 22
TOTAL = EPOCHS * BATCHES


def new_run(folder: Path, **recipe: Any) -> Path:
    """Creates the folder of a run of `second` on the digits, without training it."""
    dataset = load_dataset("digits")
    # Named as the program names a changed recipe.
    chosen = dataclasses.replace(get_recipe("second"), name="second-modified", epochs=EPOCHS, **recipe)
    return create_run(folder, RunConfig("second", chosen, "digits", 1, "val", dataset.fingerprint), {})


def go_on(run: Path, after_step: Callable[[int], None] = lambda step: None) -> None:
    """Trains or resumes a run to its end, in chunks of one step."""
    with _chunks_of_one_step():
        dataset, config = load_dataset("digits"), read_config(run)
        devices = training_devices(config, jax.devices("cpu")[0])

        def tell(progress: Progress) -> None:
            if progress.kind == "step":
                after_step((progress.epoch - 1) * progress.total + progress.done)

        fit_module.fit(config, dataset, run, devices, [tell])


def trained(folder: Path) -> Path:
    """Returns a run trained from the beginning to the end."""
    return shutil.copytree(_trained(), folder / "run")


@functools.cache
def _trained() -> Path:
    # Most attacks start from one; `_PLACE` is deleted when the process ends.
    run = new_run(Path(_PLACE.name))
    go_on(run)
    return run


_PLACE = tempfile.TemporaryDirectory(prefix="trained-")


def stopped(folder: Path, step: int) -> Path:
    """Returns a run that was stopped by SIGTERM after a step."""
    run = new_run(folder)

    def stop(now: int) -> None:
        if now == step:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        go_on(run, stop)
    except InterruptedRunError:
        return run
    raise AssertionError(f"the run continued after SIGTERM in step {step}")


@contextlib.contextmanager
def _chunks_of_one_step() -> Iterator[None]:
    before = fit_module.CHUNK_SECONDS
    fit_module.CHUNK_SECONDS = 1e-9
    try:
        yield
    finally:
        fit_module.CHUNK_SECONDS = before
