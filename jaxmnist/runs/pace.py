"""The time that an epoch takes, measured before a training whose course must end within a budget."""

import dataclasses
import time

import jax
import numpy as np

from jaxmnist import train
from jaxmnist.config.changes import modified
from jaxmnist.config.run import RunConfig
from jaxmnist.data import Dataset
from jaxmnist.runs.session import place
from jaxmnist.runs.teacher import open_teacher
from jaxmnist.runtime.mesh import Where, everywhere, put
from jaxmnist.train.jit import EVAL_BATCH, build_programs

_MEASURED_SECONDS = 1.0
_RESERVE = 0.05
"""Share of the budget for checkpoints and for a machine that becomes slower."""


def within_budget(config: RunConfig, dataset: Dataset, where: Where, seconds: float) -> RunConfig:
    """Returns the configuration with as many epochs, up to its own number and at least one, as fit into a time.

    The measurement compiles the programs of the training and counts; that they may be compiled again, for another
    number of epochs, counts as well.

    Raises:
        UsageError: the recipe begins to average after more epochs than that.
    """
    began = time.perf_counter()
    data, recipe = place(dataset, config, where), config.recipe
    total_steps = recipe.total_steps(len(data.train_split))
    programs = build_programs(config.create_model(), recipe, where, total_steps, open_teacher(config))
    keys = put(train.Keys.from_seed(config.seed), everywhere(where))
    state, metrics = put((programs.create_state(keys.init), train.no_metrics()), everywhere(where))
    visited = data.visit(programs.epoch_order(keys.order, np.int32(0), data.train_split))
    batches = -(-len(data.train_split) // recipe.batch_size)

    def timed_training(steps: int) -> float:
        nonlocal state, metrics
        start = time.perf_counter()
        steps_taken = np.int32(0), np.int32(steps)
        state, metrics = programs.train_chunk(state, metrics, visited, *steps_taken, keys.step)
        jax.block_until_ready(metrics)
        return time.perf_counter() - start

    def timed_evaluation(split: str) -> float:
        start = time.perf_counter()
        order, examples = data.eval_splits[split]
        batches = np.int32(0), np.int32(-(-examples // EVAL_BATCH))
        nothing = put(train.no_metrics(), everywhere(where))
        jax.block_until_ready(programs.evaluate_chunk(state, nothing, data.visit(order), *batches))
        return time.perf_counter() - start

    compiling = timed_training(1)
    steps = max(1, min(batches, round(_MEASURED_SECONDS / timed_training(1))))
    epoch = timed_training(steps) / steps * batches
    for split in data.eval_splits:
        timed_evaluation(split)  # the first time it is compiled
        epoch += timed_evaluation(split)
    left = (seconds - (time.perf_counter() - began) - compiling) * (1 - _RESERVE)
    epochs = max(1, min(recipe.epochs, int(left / epoch)))
    return dataclasses.replace(config, recipe=modified(recipe, epochs=epochs))
