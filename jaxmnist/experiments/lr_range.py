"""Learning-rate range test: the rate rises step by step, and the steepest fall of the loss suggests a rate.

The recipe's own optimizer and objective are tested, from a rate at which nothing is learnt to one at which nothing can
be, as by fast.ai's `lr_find`. The source of `dilated` has another test, see `PUBLISHED`. A test trains a state of its
own, with the initial weights and the order of a run with the same seed, so it changes no run after it.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float32, Int32, Key

from jaxmnist import ops, train
from jaxmnist.config import Recipe
from jaxmnist.config.run import RunConfig
from jaxmnist.data import Dataset
from jaxmnist.experiments.range_curve import (
    FROM_NOTHING_ON,
    PUBLISHED,
    RangeResult,
    RangeTest,
    analyse,
    doubt,
    range_test_of,
)
from jaxmnist.models import Model
from jaxmnist.optim import at_learning_rate, make_optimizer
from jaxmnist.runs.initial import initial_state
from jaxmnist.runtime.devices import Device
from jaxmnist.train.jit import build_programs

__all__ = [
    "FROM_NOTHING_ON",
    "PUBLISHED",
    "RangeResult",
    "RangeTest",
    "analyse",
    "doubt",
    "find_learning_rate",
    "range_chunk",
    "range_test_of",
]

CHUNK_SECONDS = 0.4
"""Target length of a device call, short enough for progress and Ctrl-C."""

_NESTEROV: Mapping[str, Any] = {
    "optimizer": "sgd",
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 0.0,
    "decay_on": "everything",
    "label_smoothing": 0.0,
}
"""Optimizer and objective of the published test, whatever those of the recipe."""


def find_learning_rate(
    config: RunConfig,
    dataset: Dataset,
    device: Device,
    settings: RangeTest | None = None,
    callback: Callable[[RangeResult], None] = lambda so_far: None,
) -> RangeResult:
    """Tests a range of learning rates on the training images of a run.

    Args:
        config: the run that needs a rate. The test uses its initial weights, order, augmentation and dropout, and
            unless `settings` say otherwise its optimizer and objective, without schedule, averaging and teacher.
        dataset: the data that `config.dataset` names.
        device: the device to compute on.
        settings: the settings of the test; by default those of `range_test_of`.
        callback: called about twice a second with the result so far, whose suggestion is only a guess.
    """
    settings = settings or range_test_of(config.recipe)
    result = analyse(np.zeros(0, np.float32), settings)
    for losses in _measure(config, dataset, device, settings):
        result = analyse(losses, settings)
        callback(result)
        if result.diverged:
            break
    return result


def _measure(
    config: RunConfig, dataset: Dataset, device: Device, settings: RangeTest
) -> Iterator[Float32[np.ndarray, " taken"]]:
    """Trains at rising rates; after every chunk of steps yields the losses of all steps so far."""
    model, recipe = config.create_model(), _range_recipe(config.recipe, settings)
    programs, take_steps = build_programs(model, recipe, device), _build_range_chunk(model, recipe, device)
    put = partial(jax.device_put, device=device)
    images, labels = put((dataset.train_images, dataset.train_labels))
    split = config.splits(len(dataset.train_labels), len(dataset.test_labels))["train"]
    keys, split = put((train.Keys.from_seed(config.seed), split))
    state = put(initial_state(programs.create_state(keys.init), config))
    batches = -(-len(split) // recipe.batch_size)
    earlier = np.zeros(0, np.float32)
    # A single step first: progress shows at once, and its time sets the length of a chunk.
    steps = 1
    for epoch in range(-(-settings.steps // batches)):
        rates = settings.rates[epoch * batches :][:batches].astype(np.float32)
        # Padded, so that the last epoch needs no other program.
        rates, losses = put((np.resize(rates, batches), np.zeros(batches, np.float32)))
        order = programs.epoch_order(keys.order, jnp.int32(epoch), split)
        done, total = 0, min(batches, settings.steps - len(earlier))
        while done < total:
            began = time.perf_counter()
            steps = min(steps, total - done)
            part = (train.EpochData(images, labels, order), np.int32(done), np.int32(steps))
            state, losses = take_steps(state, losses, rates, *part, keys.step)
            done += steps
            taken = np.concatenate([earlier, np.asarray(losses)[:done]])
            steps = max(1, round(CHUNK_SECONDS * steps / (time.perf_counter() - began)))
            yield taken
        earlier = np.concatenate([earlier, np.asarray(losses)[:total]])


def _range_recipe(recipe: Recipe, settings: RangeTest) -> Recipe:
    """Resets the fields that the test ignores, so that recipes that differ in them share a program."""
    own = {} if settings.optimizer == "recipe" else _NESTEROV
    return dataclasses.replace(
        recipe,
        name="range-test",
        learning_rate=1.0,
        plateau=None,
        schedule=None,
        averaging=None,
        distillation=None,
        augmentation=dataclasses.replace(recipe.augmentation, fade=0.0, fade_to=0.0),
        **own,
    )


@functools.lru_cache(maxsize=8)
def _build_range_chunk(model: Model, recipe: Recipe, device: Device) -> Callable[..., Any]:
    return jax.jit(
        partial(range_chunk, model=model, recipe=recipe),
        donate_argnums=0,
        compiler_options=ops.compiler_options(device),
    )


def range_chunk(
    state: train.TrainState,
    losses: Float32[Array, " batches"],
    rates: Float32[Array, " batches"],
    data: train.EpochData,
    start: Int32[Array, ""],
    steps: Int32[Array, ""],
    key: Key[Array, ""],
    *,
    model: Model,
    recipe: Recipe,
) -> tuple[train.TrainState, Float32[Array, " batches"]]:
    """Takes consecutive steps of the test within an epoch, as `jaxmnist.train.train_chunk` does for a run.

    Args:
        state: the state before the steps, with the test's own optimizer state.
        losses: mean loss of every batch of the epoch, as far as known.
        rates: learning rate of every batch of the epoch; traced, so a new range compiles nothing.
        data: images, labels and order, as for `train_chunk`.
        start: first batch, as for `train_chunk`.
        steps: number of steps, as for `train_chunk`.
        key: as for `train_chunk`.
        model: as for `jaxmnist.train.train_step`.
        recipe: as for `jaxmnist.train.train_step`.

    Returns:
        The state after the steps, and the losses with those of the steps filled in.
    """

    def body(i: Array, carry: tuple[train.TrainState, Array]) -> tuple[train.TrainState, Array]:
        state, losses = carry
        index = start + i
        state = state._replace(opt_state=at_learning_rate(state.opt_state, rates[index]))
        setup = {"model": model, "optimizer": make_optimizer(recipe), "recipe": recipe}
        state, sums = train.epoch_step(state, train.no_metrics(), data, index, key, **setup)
        return state, losses.at[index].set(sums.loss_sum / sums.examples.astype(jnp.float32))

    return lax.fori_loop(0, steps, body, (state, losses))
