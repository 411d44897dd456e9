"""Learning-rate range test: the rate rises step by step, and the steepest fall of the loss names one to train at.

The test is that of the source of `dilated`: SGD with Nesterov momentum 0.9, no weight decay and the plain
negative log-likelihood, whatever the recipe's own optimizer and loss. It trains a state of its own from the
weights and the order that a run with the same seed begins with, so no run is changed by one before it.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float32, Float64, Int32, Key, Shaped

from jaxmnist import ops, train
from jaxmnist.config import Recipe
from jaxmnist.config.run import RunConfig
from jaxmnist.data import Dataset
from jaxmnist.errors import UsageError
from jaxmnist.runtime.devices import Device
from jaxmnist.train.jit import build_programs

CHUNK_SECONDS = 0.4
"""Aimed length of a device call: progress moves, and Ctrl-C is honoured within a second."""

MOMENTUM = 0.9

_FEWEST_POINTS = 3  # with fewer, no point has a neighbour on either side


@dataclasses.dataclass(frozen=True)
class RangeTest:
    """How to test; the defaults are the published settings."""

    start: float = 0.1
    """Learning rate of the first step."""
    end: float = 2.0
    """Learning rate of the last step; those between form a geometric sequence."""
    steps: int = 1500
    """Steps, unless the loss diverges before."""
    smoothing: float = 0.05
    """Weight of a step's loss in the smoothed loss; the rest is the smoothed loss before it."""
    divergence: float = 5.0
    """The test ends when the smoothed loss is more than this many times its lowest value."""
    skip_first: int = 10
    """Points at the beginning that are not considered: the network is still settling."""
    skip_last: int = 5
    """Points at the end that are not considered: the loss may be exploding."""

    def __post_init__(self) -> None:
        def require(field: str, holds: bool, wanted: str) -> None:
            if not holds:
                value = getattr(self, field)
                raise UsageError(f"the range test has {field}={value!r}, which must be {wanted}.")

        require("start", 0 < self.start < math.inf, "a learning rate above 0")
        # Beyond 1e38 there is no float32.
        wanted = f"a learning rate above the start, {self.start:g}, and at most 1e38"
        require("end", self.start < self.end <= 1e38, wanted)
        require("steps", self.steps >= 2, "at least 2")
        require("smoothing", 0 < self.smoothing <= 1, "above 0 and at most 1")
        require("divergence", self.divergence > 1, "above 1")
        for field in ("skip_first", "skip_last"):
            require(field, getattr(self, field) >= 0, "at least 0")

    @property
    def rates(self) -> Float64[np.ndarray, " steps"]:
        """Learning rate of every step: start (end / start)^(t / (steps - 1)) in step t, counted from 0."""
        return self.start * (self.end / self.start) ** (np.arange(self.steps) / (self.steps - 1))


@dataclasses.dataclass(frozen=True, eq=False)
class RangeResult:
    """What a test found. Arrays have one number per step taken, all finite; steps are counted from 0."""

    settings: RangeTest
    rates: Float64[np.ndarray, " taken"]
    losses: Float64[np.ndarray, " taken"]
    """Mean negative log-likelihood of each step's batch, before its update."""
    smoothed: Float64[np.ndarray, " taken"]
    step: int | None
    """Where the smoothed loss falls most steeply; None when nothing can be suggested."""
    diverged: bool
    """The loss left all bounds, or was not finite, and ended the test before its last step or in it."""
    reason: str | None
    """Why nothing can be suggested, as a phrase."""

    @property
    def suggestion(self) -> float | None:
        """The learning rate of `step`."""
        return None if self.step is None else float(self.rates[self.step])

    @property
    def kept(self) -> slice:
        """Points that are considered: all but the settings' first and last ones."""
        first = min(self.settings.skip_first, len(self.losses))
        return slice(first, max(first, len(self.losses) - self.settings.skip_last))


def find_learning_rate(
    config: RunConfig,
    dataset: Dataset,
    device: Device,
    settings: RangeTest = RangeTest(),
    report: Callable[[RangeResult], None] = lambda so_far: None,
) -> RangeResult:
    """Tests a range of learning rates on the training images of a run.

    Args:
        config: the run that a rate is wanted for; its recipe's optimizer, rate and label smoothing play no
            part. Weights, order, augmentation and dropout are those that the run begins with.
        dataset: the data that `config.dataset` names.
        device: where to compute.
        settings: which rates, and when to stop.
        report: told every half a second or so what is known so far; a suggestion then is no more than a
            guess.
    """
    result = analyse(np.zeros(0, np.float32), settings)
    for losses in _measure(config, dataset, device, settings):
        result = analyse(losses, settings)
        report(result)
        if result.diverged:
            break
    return result


def analyse(losses: Shaped[np.ndarray, " taken"], settings: RangeTest) -> RangeResult:
    """Smooths the losses of consecutive steps, from the first on, and looks for the steepest fall.

    Points from the one on at which the test stops are left out, but for a finite one that shows it. The
    slope is the central difference per step of the smoothed loss, as `numpy.gradient` gives it.
    """
    smoothed, diverged = _smooth(losses, settings)
    taken = len(smoothed)
    result = RangeResult(
        settings=settings,
        rates=settings.rates[:taken],
        losses=losses[:taken].astype(np.float64),
        smoothed=smoothed,
        step=None,
        diverged=diverged,
        reason=None,
    )
    points = smoothed[result.kept]
    if len(points) < _FEWEST_POINTS:
        ended = f"the loss diverged after {taken} steps" if diverged else f"there are {taken} steps"
        dropped = f"the first {settings.skip_first} and the last {settings.skip_last}"
        reason = f"{ended}, too few to find a slope in without {dropped}"
        return dataclasses.replace(result, reason=reason)
    slopes = np.gradient(points)
    steepest = int(slopes.argmin())
    if not slopes[steepest] < 0:
        return dataclasses.replace(result, reason="the smoothed loss never falls")
    return dataclasses.replace(result, step=settings.skip_first + steepest)


def _smooth(
    losses: Shaped[np.ndarray, " taken"], settings: RangeTest
) -> tuple[Float64[np.ndarray, " points"], bool]:
    """The smoothed losses up to where the test stops, and whether it stops because they diverge."""
    smoothed: list[float] = []
    best = math.inf
    for loss in losses.tolist():
        if not math.isfinite(loss):
            return np.array(smoothed, np.float64), True
        share = settings.smoothing if smoothed else 1.0
        smoothed.append(share * loss + (1 - share) * (smoothed[-1] if smoothed else 0.0))
        best = min(best, smoothed[-1])
        if smoothed[-1] > settings.divergence * best:
            return np.array(smoothed, np.float64), True
    return np.array(smoothed, np.float64), False


def _measure(
    config: RunConfig, dataset: Dataset, device: Device, settings: RangeTest
) -> Iterator[Float32[np.ndarray, " taken"]]:
    """Trains under rising rates; after every chunk of steps, the losses of all steps so far."""
    model, recipe = config.create_model(), _range_recipe(config.recipe)
    programs, take_steps = build_programs(model, recipe, device), _build_range_chunk(model, recipe, device)
    put = partial(jax.device_put, device=device)
    images, labels = put((dataset.train_images, dataset.train_labels))
    split = config.splits(len(dataset.train_labels), len(dataset.test_labels))["train"]
    keys, split = put((train.Keys.from_seed(config.seed), split))
    initial = programs.create_state(keys.init)
    state = put(initial._replace(opt_state=jax.jit(_optimizer(0.0).init)(initial.params)))
    batches = -(-len(split) // recipe.batch_size)
    earlier = np.zeros(0, np.float32)
    # One step first: progress shows at once, and its time tells how many make a chunk.
    steps = 1
    for epoch in range(-(-settings.steps // batches)):
        rates = settings.rates[epoch * batches :][:batches].astype(np.float32)
        # Filled up, so that the last epoch needs no program of its own.
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


def _range_recipe(recipe: Recipe) -> Recipe:
    """The recipe without what plays no part, so that recipes that differ there share a program."""
    return dataclasses.replace(
        recipe,
        name="range test",
        optimizer="sgd",
        learning_rate=1.0,
        weight_decay=0.0,
        label_smoothing=0.0,
        plateau=None,
        schedule=None,
        nesterov=False,
        decay_on="everything",
        averaging=None,
        distillation=None,
        augmentation=dataclasses.replace(recipe.augmentation, fade=0.0, fade_to=0.0),
    )


@functools.lru_cache(maxsize=8)
def _build_range_chunk(model: Any, recipe: Recipe, device: Device) -> Any:
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
    model: Any,
    recipe: Recipe,
) -> tuple[train.TrainState, Float32[Array, " batches"]]:
    """Consecutive steps of the test within an epoch, as `jaxmnist.train.train_chunk` takes those of a run.

    Args:
        state: the state before them, with the test's own optimizer state.
        losses: a place for the mean loss of every batch of the epoch.
        rates: the learning rate of every batch of the epoch; a value, so a new range compiles nothing.
        data, start, steps, key: as for `train_chunk`.
        model, recipe: as for `jaxmnist.train.train_step`.

    Returns:
        The state after the steps, and the losses with those of the steps filled in.
    """

    def body(i: Array, carry: tuple[train.TrainState, Array]) -> tuple[train.TrainState, Array]:
        state, losses = carry
        index = start + i
        setup = {"model": model, "optimizer": _optimizer(rates[index]), "recipe": recipe}
        state, sums = train.epoch_step(state, train.no_metrics(), data, index, key, **setup)
        return state, losses.at[index].set(sums.loss_sum / sums.examples.astype(jnp.float32))

    return lax.fori_loop(0, steps, body, (state, losses))


def _optimizer(rate: float | Float32[Array, ""]) -> optax.GradientTransformation:
    return optax.chain(optax.trace(MOMENTUM, nesterov=True), optax.scale(-rate))
