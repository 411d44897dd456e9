"""Variants of evaluation and prediction, with initial weights."""

import jax
import numpy as np

from jaxmnist import train
from jaxmnist.config import Recipe
from jaxmnist.diagnostics.benchmark.training import IMAGES, prepare, shuffled
from jaxmnist.diagnostics.benchmark.turns import Variant, timed
from jaxmnist.models import create_model
from jaxmnist.runtime.devices import Device
from jaxmnist.runtime.mesh import every_core, everywhere, put
from jaxmnist.train.jit import EVAL_BATCH
from jaxmnist.train.network import Network

EVALUATED = 10_000
"""Images of an evaluation, as many as MNIST has for testing."""


def evaluation(arch: str, recipe: Recipe, device: Device) -> Variant:
    """Returns the sums of loss and hits over images in evaluation mode, in one device call."""
    order = np.resize(np.arange(IMAGES, dtype=np.int32), EVALUATED)
    order = np.pad(order, (0, -EVALUATED % EVAL_BATCH), constant_values=train.PADDING)
    where = every_core(device)
    programs, keys, data = prepare(arch, recipe, where, order)
    state = programs.create_state(keys.init)

    def evaluate(count: int) -> train.Metrics:
        metrics = put(train.no_metrics(), everywhere(where))
        return programs.evaluate_chunk(state, metrics, data, np.int32(0), np.int32(-(-count // EVAL_BATCH)))

    return timed(evaluate)


def prediction(arch: str, recipe: Recipe, device: Device) -> Variant:
    """Returns the classification of single images, each from an array on the host to a digit on the host."""
    programs, keys, data = prepare(arch, recipe, device, shuffled(1))
    state = programs.create_state(keys.init)
    variables = jax.device_put({"params": state.params, "batch_stats": state.batch_stats}, device)
    network, images = Network(arch, create_model(arch), recipe, variables, device), np.asarray(data.images)

    def predict(count: int) -> None:
        for number in range(count):
            network.predict(images[number : number + 1])

    return timed(predict)
