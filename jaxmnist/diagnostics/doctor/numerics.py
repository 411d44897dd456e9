"""The numeric self-check: do the programs of training and prediction give PyTorch's numbers on this machine?"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmnist import train
from jaxmnist.config import Recipe
from jaxmnist.diagnostics.doctor import reference
from jaxmnist.interop.torch import from_torch, shapes_of, to_torch
from jaxmnist.models import create_model
from jaxmnist.optim import make_optimizer
from jaxmnist.runtime.devices import Device
from jaxmnist.train.jit import build_programs

TOLERANCES = {"outputs": 2e-5, "loss": 2e-5, "gradient": 5e-5, "statistics": 2e-6}
"""Largest differences that count as rounding, those of the tests against PyTorch."""


class Check(NamedTuple):
    """How far a network's numbers are from the stored ones."""

    arch: str
    errors: dict[str, float]
    """Largest difference of each kind in `TOLERANCES`; infinite where a value is not finite."""
    worst: str
    """What exceeds its tolerance most: outputs, loss, or the name of a parameter or running statistic."""

    @property
    def passed(self) -> bool:
        """Whether all differences are rounding."""
        return all(error <= TOLERANCES[kind] for kind, error in self.errors.items())


def check(arch: str, device: Device) -> Check:
    """Compares a training step and a prediction of a network with the stored results.

    They are the programs that `train` and `predict` run, compiled with the same options. The step is one of SGD
    at a rate of 1, so that the gradient is what it takes away from the weights. On an accelerator products have
    full precision here, as it is errors that are looked for.
    """
    stored, (images, labels) = reference.reference(arch), reference.batch()
    weights = {key: reference.weight(arch, key, shape) for key, shape in shapes_of(arch).items()}
    with jax.default_device(device), jax.default_matmul_precision("highest"):
        log_probs, loss, after = _run(arch, device, weights, images, labels)
    differences = {
        "outputs": ("outputs", _largest(log_probs - stored.outputs)),
        "loss": ("loss", _largest(loss - stored.loss)),
    }
    for key, values in after.items():
        is_statistic = ".running_" in key
        found = reference.project(key, values if is_statistic else weights[key] - values)
        kind = "statistics" if is_statistic else "gradient"
        differences[key] = kind, _largest(found - stored.projections[key])
    errors = {}
    for kind, error in differences.values():
        errors[kind] = max(error, errors.get(kind, 0.0))
    worst = max(differences, key=lambda key: differences[key][1] / TOLERANCES[differences[key][0]])
    return Check(arch, errors, worst)


def _run(
    arch: str, device: Device, weights: dict[str, np.ndarray], images: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, float, dict[str, np.ndarray]]:
    """Log-probabilities, the mean loss, and all arrays after the step, under PyTorch's names."""
    recipe = Recipe(
        *("self-check", 1, len(images), "sgd"),
        learning_rate=1.0,
        momentum=0.0,
        mean=reference.MEAN,
        std=reference.STD,
    )
    programs = build_programs(create_model(arch, dropout=0.0), recipe, device)
    variables: Any = jax.device_put({"batch_stats": {}, **from_torch(arch, weights)}, device)
    _, log_probs = jax.device_get(programs.predict_chunk(variables, images))
    params = variables["params"]
    optimizer_state = make_optimizer(recipe).init(params)
    state = train.TrainState(jnp.int32(0), params, variables["batch_stats"], optimizer_state, jnp.int32(0))
    order = np.arange(len(images), dtype=np.int32)
    state, sums = programs.train_chunk(
        *(
            state,
            train.no_metrics(),
            train.EpochData(images, labels, order),
            np.int32(0),
            np.int32(1),
            jax.random.key(0),
        )
    )
    state, sums = jax.device_get((state, sums))
    after = {"params": state.params} | ({"batch_stats": state.batch_stats} if state.batch_stats else {})
    return log_probs, float(sums.loss_sum) / len(images), to_torch(arch, after)


def _largest(differences: Any) -> float:
    largest = float(np.abs(differences).max())
    return largest if math.isfinite(largest) else math.inf
