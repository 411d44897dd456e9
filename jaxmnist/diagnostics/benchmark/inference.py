"""Evaluation and prediction, as `evaluate` and `predict` do them, with weights as they start."""

from typing import Any

import jax
import numpy as np

from jaxmnist import train
from jaxmnist.config import Recipe
from jaxmnist.diagnostics.benchmark.training import IMAGES, random_dataset
from jaxmnist.diagnostics.benchmark.turns import Timed
from jaxmnist.models import create_model
from jaxmnist.runtime.devices import Device
from jaxmnist.train.jit import EVAL_BATCH, build_programs
from jaxmnist.train.network import Network

EVALUATED = 10_000
"""Images of an evaluation, as many as MNIST has for testing."""


def evaluation(arch: str, recipe: Recipe, device: Device) -> Timed:
    """Sums of loss and hits over so many images in evaluation mode, in one device call."""
    model = create_model(arch)
    programs = build_programs(model, recipe, device)
    state = jax.device_put(programs.create_state(train.Keys.from_seed(0).init), device)
    images, labels = random_dataset(device)
    order = np.resize(np.arange(IMAGES, dtype=np.int32), EVALUATED)
    order = jax.device_put(np.pad(order, (0, -EVALUATED % EVAL_BATCH), constant_values=train.PADDING), device)

    def evaluate(count: int) -> Any:
        metrics = jax.device_put(train.no_metrics(), device)
        batches = np.int32(-(-count // EVAL_BATCH))
        return programs.evaluate_chunk(
            state, metrics, train.EpochData(images, labels, order), np.int32(0), batches
        )

    return Timed(evaluate)


def prediction(arch: str, recipe: Recipe, device: Device) -> Timed:
    """Images classified one at a time, each from an array on the host to a digit on the host."""
    model = create_model(arch)
    state = build_programs(model, recipe, device).create_state(train.Keys.from_seed(0).init)
    variables = jax.device_put({"params": state.params, "batch_stats": state.batch_stats}, device)
    network = Network(arch, model, recipe, variables, device)
    images = np.asarray(random_dataset(device)[0])

    def predict(count: int) -> None:
        for number in range(count):
            network.predict(images[number : number + 1])

    return Timed(predict)
