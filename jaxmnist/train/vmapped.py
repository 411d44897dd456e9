"""Many runs in one program: values that differ between runs are traced, so all runs share one compilation.

Pure functions, each the counterpart of one in `jaxmnist.train` for several runs.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import optax
from jax import lax
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float32, Int32, PyTree

from jaxmnist import train
from jaxmnist.config import Recipe
from jaxmnist.models import Model, create_model
from jaxmnist.optim import make_optimizer
from jaxmnist.runtime.mesh import SEED, WHOLE, Where, divide, first_device
from jaxmnist.train.jit import mapped_axes
from jaxmnist.train.loss import Teacher


class Varied(NamedTuple):
    """Values that differ between runs, one for each; None if all have the recipe's or the network's own."""

    seed: Int32[Array, " runs"]
    learning_rate: Float32[Array, " runs"] | None = None
    weight_decay: Float32[Array, " runs"] | None = None
    dropout: Float32[Array, " runs"] | None = None


Loop = Callable[..., Any]
"""Applies a function of one run to all: (function, runs, *shared) -> results. Runs and results are stacked along their
first axis; the function takes one run and the shared arguments."""


def at_once(function: Callable[..., PyTree], runs: PyTree, *shared: PyTree) -> PyTree:
    """Computes all runs side by side, as one computation on larger arrays."""
    return jax.vmap(lambda run: function(run, *shared))(runs)


def in_a_row(function: Callable[..., PyTree], runs: PyTree, *shared: PyTree) -> PyTree:
    """Computes one run after the other."""
    return lax.map(lambda run: function(run, *shared), runs)


def loop_for(where: Where) -> Loop:
    """Returns the faster loop for a device, or for each device of a mesh over its own runs.

    On a CPU both take the same time, since one run keeps its cores busy (4 seeds of `third`: 2,991 images/s in a row,
    3,105 at once, 3,028 for one alone; `python scripts/benchmark.py --seeds 4`), and in a row takes a fraction of the
    memory. On other devices one run leaves most of the device idle.
    """
    return in_a_row if first_device(where).platform == "cpu" else at_once


def create_states(
    varied: Varied, *, arch: str | Model, recipe: Recipe, loop: Loop
) -> tuple[train.TrainState, train.Metrics]:
    """Creates the initial states of the runs, and sums over no images, stacked.

    Args:
        varied: values that differ.
        arch: name of the network; or the network itself, if dropout does not differ.
        recipe: the recipe that all runs share.
        loop: `at_once` or `in_a_row`; see `loop_for`.
    """

    def create(one: Varied) -> tuple[train.TrainState, train.Metrics]:
        keys = train.Keys.from_seed(one.seed)
        state = train.create_state(keys.init, _model(arch, one), _optimizer(recipe, one), recipe)
        return state, train.no_metrics()

    return loop(create, varied)


def epoch_orders(
    varied: Varied, epoch: Int32[Array, ""], split: Int32[Array, " n"], *, recipe: Recipe
) -> Int32[Array, "runs padded"]:
    """Returns the order of each run's epoch; see `jaxmnist.train.epoch_order`."""

    def order(seed: Array) -> Array:
        return train.epoch_order(train.Keys.from_seed(seed).order, epoch, split, recipe=recipe)

    return lax.map(order, varied.seed)


def train_runs(
    states: train.TrainState,
    metrics: train.Metrics,
    data: train.EpochData,
    start: Int32[Array, ""],
    steps: Int32[Array, ""],
    varied: Varied,
    *,
    arch: str | Model,
    recipe: Recipe,
    loop: Loop,
    total_steps: int | None = None,
    teacher: Teacher | None = None,
) -> tuple[train.TrainState, train.Metrics]:
    """Applies `jaxmnist.train.train_chunk` to each run, on the same images.

    Each run trains as it would alone, up to the rounding of float32: a learning rate, a weight decay or a dropout
    given here is a float32, and sums may be taken in another order.

    Args:
        states: states of all runs, stacked.
        metrics: sums of all runs, stacked.
        data: the images that all runs share, and their orders, stacked.
        start: see `train_chunk`.
        steps: see `train_chunk`.
        varied: values that differ; the learning rates are in the states.
        arch: see `create_states`.
        recipe: see `create_states`.
        loop: see `create_states`.
        total_steps: see `jaxmnist.train.train_step`.
        teacher: see `jaxmnist.train.train_step`.
    """

    def train_one(
        run: tuple[train.TrainState, train.Metrics, Array, Varied],
        images: Array,
        labels: Array,
        start: Array,
        steps: Array,
    ) -> PyTree:
        state, sums, order, one = run
        return train.train_chunk(
            state,
            sums,
            train.EpochData(images, labels, order),
            start,
            steps,
            train.Keys.from_seed(one.seed).step,
            model=_model(arch, one),
            optimizer=_optimizer(recipe, one, total_steps),
            recipe=recipe,
            total_steps=total_steps,
            teacher=teacher,
        )

    return loop(train_one, (states, metrics, data.order, varied), data.images, data.labels, start, steps)


def train_runs_on(where: Where, **setup: Any) -> Callable[..., Any]:
    """Returns `train_runs` with its setup, mapped over a mesh: (states, metrics, data, start, steps, varied).

    Args:
        where: a device, or a mesh.
        **setup: `arch`, `recipe` and the further keywords of `train_runs`.
    """
    by_seed = PartitionSpec(SEED)
    data: Any = train.EpochData._make((WHOLE, WHOLE, by_seed))
    return divide(
        partial(train_runs, loop=loop_for(where), **setup),
        where,
        in_specs=(by_seed, by_seed, data, WHOLE, WHOLE, by_seed),
        out_specs=by_seed,
        axes=mapped_axes(setup["arch"], setup["recipe"], where),
    )


def _model(arch: str | Model, one: Varied) -> Model:
    if not isinstance(arch, str):
        return arch
    return create_model(arch) if one.dropout is None else create_model(arch, dropout=one.dropout)


def _optimizer(recipe: Recipe, one: Varied, total_steps: int | None = None) -> optax.GradientTransformation:
    values = {"learning_rate": one.learning_rate, "weight_decay": one.weight_decay}
    return make_optimizer(recipe, total_steps=total_steps, **values)
