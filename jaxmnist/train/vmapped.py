"""Many runs in one program: what differs between them is traced, so that they share all that is compiled.

Pure, as `jaxmnist.train` is, of which every function here does the work for several runs.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Float32, Int32, PyTree

from jaxmnist import train
from jaxmnist.config import Recipe
from jaxmnist.models import create_model
from jaxmnist.optim import make_optimizer
from jaxmnist.runtime.mesh import Where, first_device, over_seeds
from jaxmnist.train.loss import Teacher


class Varied(NamedTuple):
    """What may differ between runs, a value for each; None where all have the recipe's or the network's own."""

    seed: Int32[Array, " runs"]
    learning_rate: Float32[Array, " runs"] | None = None
    weight_decay: Float32[Array, " runs"] | None = None
    dropout: Float32[Array, " runs"] | None = None


Loop = Callable[..., Any]
"""Applies a function of one run to all: (function, runs, *shared) -> results, where runs and results are stacked along
their first axis and the function takes a run and what all of them share."""


def at_once(function: Callable[..., Any], runs: Any, *shared: Any) -> Any:
    """All runs side by side, as one computation on larger arrays."""
    return jax.vmap(lambda run: function(run, *shared))(runs)


def in_a_row(function: Callable[..., Any], runs: Any, *shared: Any) -> Any:
    """One run after the other."""
    return lax.map(lambda run: function(run, *shared), runs)


def loop_for(where: Where) -> Loop:
    """The faster way on a device; on a mesh each part of its axis `seed` does its own runs in this way.

    On a CPU both take the same time, as one run keeps its cores busy (4 seeds of `third`: 2,991 images/s in a
    row, 3,105 at once, 3,028 one by itself; `python scripts/benchmark.py --seeds 4`), and in a row takes a
    fraction of the memory. Elsewhere a run by itself leaves most of the device idle.
    """
    loop = in_a_row if first_device(where).platform == "cpu" else at_once
    return over_seeds(loop) if isinstance(where, Mesh) else loop


def create_states(
    varied: Varied, *, arch: Any, recipe: Recipe, loop: Loop
) -> tuple[train.TrainState, train.Metrics]:
    """Initial states of the runs, and sums over no images, stacked.

    Args:
        varied: what differs.
        arch: name of the network; or the network itself, where dropout does not differ.
        recipe: what all runs share.
        loop: `at_once`, `in_a_row`, or what `loop_for` gives.
    """

    def create(one: Varied) -> tuple[train.TrainState, train.Metrics]:
        keys = train.Keys.from_seed(one.seed)
        state = train.create_state(keys.init, _model(arch, one), _optimizer(recipe, one), recipe)
        return state, train.no_metrics()

    return loop(create, varied)


def epoch_orders(
    varied: Varied, epoch: Int32[Array, ""], split: Int32[Array, " n"], *, recipe: Recipe
) -> Int32[Array, "runs padded"]:
    """The order of each run's epoch, see `jaxmnist.train.epoch_order`."""

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
    arch: Any,
    recipe: Recipe,
    loop: Loop,
    total_steps: int | None = None,
    teacher: Teacher | None = None,
) -> tuple[train.TrainState, train.Metrics]:
    """`jaxmnist.train.train_chunk` for each run, on the same images.

    Each run does what it would do by itself, up to the rounding of float32: a learning rate, a weight decay
    or a dropout that is given here is a float32, and sums may be taken in another order.

    Args:
        states, metrics: of all runs, stacked.
        data: the images that all runs share, and their orders, stacked.
        start, steps: as for `train_chunk`.
        varied: what differs; the learning rates are in the states.
        arch, recipe, loop: as for `create_states`.
        total_steps, teacher: as for `jaxmnist.train.train_step`.
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


def _model(arch: Any, one: Varied) -> Any:
    if not isinstance(arch, str):
        return arch
    return create_model(arch) if one.dropout is None else create_model(arch, dropout=one.dropout)


def _optimizer(recipe: Recipe, one: Varied, total_steps: int | None = None) -> Any:
    values = {"learning_rate": one.learning_rate, "weight_decay": one.weight_decay}
    return make_optimizer(recipe, total_steps=total_steps, **values)
