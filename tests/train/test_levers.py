"""All levers of a recipe together: a run with them resumes as exactly as one without."""

import dataclasses
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmnist.config import Augmentation, Averaging, Distillation, Recipe, Schedule
from jaxmnist.config.run import RunConfig
from jaxmnist.data import load_dataset
from jaxmnist.errors import InterruptedRunError
from jaxmnist.models.initialisers import initialised
from jaxmnist.optim import make_optimizer
from jaxmnist.runs import loop as fit_module
from jaxmnist.runs.folder import open_run, read_metrics
from jaxmnist.runs.loop import fit
from jaxmnist.runs.restore import restore_run
from jaxmnist.runs.teacher import open_teacher
from jaxmnist.train import create_state
from tests.runs.test_loop import saved, snapshot_of
from tests.small_network import Small

DEVICE = jax.devices()[0]
RECIPE = Recipe(
    "levers",
    epochs=2,
    learning_rate=0.2,
    weight_decay=1e-3,
    schedule=Schedule("one_cycle", 0.3),
    nesterov=True,
    decay_on="kernels",
    averaging=Averaging(0.95, start_epoch=1),
    initialiser="orthogonal",
    deskew=True,
    augmentation=Augmentation(
        rotation=10.0, translation=0.1, interpolation="bilinear", fade=0.5, fade_to=0.1
    ),
)


@pytest.mark.parametrize("kind", ["uniform", "he", "orthogonal"])
def test_the_initialiser_of_the_recipe_draws_the_weights(kind):
    model, recipe, key = Small(), dataclasses.replace(RECIPE, initialiser=kind), jax.random.key(3)
    params = create_state(key, model, make_optimizer(recipe, total_steps=1), recipe).params
    expected = model.init(key, jnp.zeros((1, 28, 28, 1)))["params"]
    if kind != "uniform":
        expected = initialised(expected, jax.random.fold_in(key, 1), kind)
    jax.tree.map(np.testing.assert_array_equal, params, expected)


def test_a_run_with_every_lever_goes_on_from_the_middle_of_an_epoch_to_the_same_bytes(
    tmp_path, tiny_run, monkeypatch
):
    digits = load_dataset("digits")
    recipe = dataclasses.replace(RECIPE, distillation=Distillation(str(tiny_run)))
    config = RunConfig("second", recipe, "digits", 3, "last", digits.fingerprint, norm="layer")
    open_teacher(config)  # while the arch is still its own network
    # The small network has no arch, which a weights file needs; with this `norm` there is no weights file.
    monkeypatch.setattr("jaxmnist.config.run.create_model", lambda arch, **fields: Small())
    monkeypatch.setattr(fit_module, "CHUNK_SECONDS", 1e-6)

    def interrupt(progress):
        if (progress.kind, progress.epoch, progress.done) == ("step", 2, 7):
            os.kill(os.getpid(), signal.SIGTERM)

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for run in (whole, broken):
        open_run(run, config, {})
    fit(config, digits, whole, DEVICE)
    with pytest.raises(InterruptedRunError):
        fit(config, digits, broken, DEVICE, [interrupt])
    fit(config, digits, broken, DEVICE)
    assert saved(broken, config) == saved(whole, config)
    rows = [[row | {"seconds": 0} for row in read_metrics(run)] for run in (whole, broken)]
    assert rows[0] == rows[1]
    # In the first epoch the average equals the weights.
    first, second = rows[0]
    assert first["plain_test_loss"] == first["test_loss"]
    assert second["plain_test_loss"] != second["test_loss"]
    network = restore_run(whole, "best", DEVICE)
    assert network.step == 48
    average = snapshot_of(whole, config).state.average
    jax.tree.map(np.testing.assert_array_equal, network.variables, average)
    assert first["learning_rate"] > 10 * second["learning_rate"]
