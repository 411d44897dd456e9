"""Numeric self-check: training and prediction on this machine against stored results of PyTorch."""

import math
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmnist import train
from jaxmnist.config import Recipe
from jaxmnist.diagnostics.doctor import reference
from jaxmnist.errors import shortened
from jaxmnist.interop.torch import from_torch, shapes_of, to_torch
from jaxmnist.models import create_model
from jaxmnist.optim import make_optimizer
from jaxmnist.runtime.devices import Device
from jaxmnist.train.jit import build_programs

TOLERANCES = {"outputs": 2e-5, "loss": 2e-5, "gradient": 5e-5, "statistics": 2e-6}
"""Largest differences that count as rounding, as in the tests against PyTorch."""


class Check(NamedTuple):
    """Differences of a network's numbers from the stored ones."""

    arch: str
    errors: dict[str, float]
    """Largest difference of each kind in `TOLERANCES`; infinite if a value is not finite."""
    worst: str | None
    """Value with the largest difference relative to its tolerance: outputs, loss, or the name of an array."""
    failure: str | None = None
    """Message of the error that ended the check."""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """True if all differences are rounding."""
        return self.failure is None and all(error <= TOLERANCES[kind] for kind, error in self.errors.items())

    def as_json(self) -> dict[str, Any]:
        """Returns the check as JSON values; a difference that is not finite is null."""
        errors = {kind: error if math.isfinite(error) else None for kind, error in self.errors.items()}
        tolerances = {kind: TOLERANCES[kind] for kind in errors}
        return self._asdict() | {"errors": errors, "tolerances": tolerances, "passed": self.passed}


def check(arch: str, device: Device) -> Check:
    """Compares a training step and a prediction of a network with the stored results.

    The programs are those of `train` and `predict`, compiled with the same options. The step is one of SGD at a rate
    of 1, so it subtracts the gradient from the weights. On an accelerator products have full precision here, so that
    differences are errors.

    Args:
        arch: one of `jaxmnist.diagnostics.doctor.reference.archs()`.
        device: device to compute on.
    """
    began = time.perf_counter()
    try:
        errors, worst = _compare(arch, device)
        found = Check(arch, errors, worst)
    # Errors of XLA, and those of dtypes that a setting of JAX makes incompatible.
    except (RuntimeError, TypeError, ValueError) as error:
        found = Check(arch, {}, None, failure=shortened(str(error).strip().split("\n")[0]))
    return found._replace(seconds=round(time.perf_counter() - began, 3))


def _compare(arch: str, device: Device) -> tuple[dict[str, float], str]:
    """`errors` and `worst` of a `Check`."""
    stored, (images, labels) = reference.reference(arch), reference.batch()
    weights = {key: reference.weight(arch, key, shape) for key, shape in shapes_of(arch).items()}
    with jax.default_device(device), jax.default_matmul_precision("highest"):
        log_probs, loss, after = _run(arch, device, weights, images, labels)
    differences = {
        "outputs": ("outputs", _largest(log_probs - stored.outputs)),
        "loss": ("loss", _largest(np.float64(loss - stored.loss))),
    }
    for key, values in after.items():
        is_statistic = ".running_" in key
        found = reference.project(key, values if is_statistic else weights[key] - values)
        kind = "statistics" if is_statistic else "gradient"
        differences[key] = kind, _largest(found - stored.projections[key])
    errors: dict[str, float] = {}
    for kind, error in differences.values():
        errors[kind] = max(error, errors.get(kind, 0.0))
    worst = max(differences, key=lambda key: differences[key][1] / TOLERANCES[differences[key][0]])
    return errors, worst


def _run(
    arch: str, device: Device, weights: dict[str, np.ndarray], images: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, float, dict[str, np.ndarray]]:
    """Log-probabilities, the mean loss, and all arrays after the step, under PyTorch's names."""
    mean, std = reference.MEAN, reference.STD
    recipe = Recipe("self-check", batch_size=64, learning_rate=1.0, momentum=0.0, mean=mean, std=std)
    programs = build_programs(create_model(arch, dropout=0.0), recipe, device)
    variables: Any = jax.device_put({"batch_stats": {}, **from_torch(arch, weights)}, device)
    _, log_probs = jax.device_get(programs.predict_chunk(variables, images))
    params, batch_stats = variables["params"], variables["batch_stats"]
    opt_state = make_optimizer(recipe).init(params)
    state = train.TrainState(jnp.int32(0), params, batch_stats, opt_state, jnp.int32(0))
    order = jnp.arange(len(images), dtype=jnp.int32)
    data = train.EpochData(jnp.asarray(images), jnp.asarray(labels), order)
    state, sums = jax.device_get(
        programs.train_chunk(state, train.no_metrics(), data, np.int32(0), np.int32(1), jax.random.key(0))
    )
    after = {"params": state.params} | ({"batch_stats": state.batch_stats} if state.batch_stats else {})
    return log_probs, float(sums.loss_sum) / len(images), to_torch(arch, after)


def _largest(differences: np.ndarray | np.float64) -> float:
    largest = float(np.abs(differences).max())
    return largest if math.isfinite(largest) else math.inf
