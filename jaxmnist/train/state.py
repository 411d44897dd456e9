"""The random streams of a run and the state that training changes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int32, Key, PyTree

from jaxmnist.config import Recipe
from jaxmnist.models import IMAGE_SHAPE, Model
from jaxmnist.models.initialisers import initialised


class TrainState(NamedTuple):
    """Everything that training changes."""

    step: Int32[Array, ""]
    """Steps taken; an array from the start, since a Python number would compile the step twice."""
    params: PyTree
    batch_stats: PyTree
    opt_state: PyTree
    bad_steps: Int32[Array, ""]
    """Consecutive steps, up to this one, that were skipped because a value was not finite."""
    average: PyTree = None
    """Moving average of `params` and `batch_stats`, under these names; None if the recipe has none."""

    @property
    def variables(self) -> PyTree:
        """Variables to evaluate, keep and export: the average, if there is one."""
        return self.last_variables if self.average is None else self.average

    @property
    def last_variables(self) -> PyTree:
        """Variables of the last step, before any averaging."""
        return {"params": self.params, "batch_stats": self.batch_stats}


class Keys(NamedTuple):
    """Independent random streams of a run, all derived from its seed."""

    init: Key[Array, ""]
    order: Key[Array, ""]
    step: Key[Array, ""]

    @classmethod
    def from_seed(cls, seed: int | Int32[Array, ""]) -> "Keys":
        """Derives the streams of a run from its seed."""
        return cls(*jax.random.split(jax.random.key(seed), 3))


def create_state(
    key: Key[Array, ""], model: Model, optimizer: optax.GradientTransformation, recipe: Recipe | None = None
) -> TrainState:
    """Creates the initial state. Jit it: un-jitted, initialisation compiles dozens of small programs.

    Args:
        key: the run's `Keys.init`.
        model: the network.
        optimizer: the optimizer that `jaxmnist.optim.make_optimizer` makes for the recipe.
        recipe: initialiser and averaging; without it the weights are the network's own and there is no average.
    """
    variables = model.init(key, jnp.zeros((1, *IMAGE_SHAPE)))
    params = variables["params"]
    if recipe is not None and recipe.initialiser != "uniform":
        params = initialised(params, jax.random.fold_in(key, 1), recipe.initialiser)
    batch_stats, opt_state = variables.get("batch_stats", {}), optimizer.init(params)
    state = TrainState(jnp.int32(0), params, batch_stats, opt_state, jnp.int32(0))
    if recipe is None or recipe.averaging is None:
        return state
    # A copy: the state is donated, so no buffer may be in it twice.
    return state._replace(average=jax.tree.map(jnp.copy, state.last_variables))
