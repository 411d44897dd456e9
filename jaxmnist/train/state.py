"""What training starts from and changes: the random streams of a run, and its state."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int32, Key, PyTree

from jaxmnist.config import Recipe
from jaxmnist.models import IMAGE_SHAPE
from jaxmnist.models.initialisers import initialised


class TrainState(NamedTuple):
    """Everything that training changes."""

    step: Int32[Array, ""]
    """Steps taken; an array from the start, as a Python number would compile the step twice."""
    params: PyTree
    batch_stats: PyTree
    opt_state: PyTree
    bad_steps: Int32[Array, ""]
    """Steps in a row, up to now, that were skipped because a value was not finite."""
    average: PyTree = None
    """Moving average of `params` and `batch_stats`, under these names, where the recipe has one."""

    @property
    def variables(self) -> PyTree:
        """What the network is evaluated, kept and exported with."""
        return self.last_variables if self.average is None else self.average

    @property
    def last_variables(self) -> PyTree:
        """What the last step left, before any averaging."""
        return {"params": self.params, "batch_stats": self.batch_stats}


class Keys(NamedTuple):
    """Independent random streams of a run, all derived from its seed."""

    init: Key[Array, ""]
    order: Key[Array, ""]
    step: Key[Array, ""]

    @classmethod
    def from_seed(cls, seed: int | Int32[Array, ""]) -> "Keys":
        """The streams of a run with that seed."""
        return cls(*jax.random.split(jax.random.key(seed), 3))


def create_state(
    key: Key[Array, ""], model: Any, optimizer: optax.GradientTransformation, recipe: Recipe | None = None
) -> TrainState:
    """Initial state. Jit it: un-jitted, initialisation compiles dozens of small programs.

    Without a recipe there is no average of weights, and initial weights are the network's own.
    """
    variables = model.init(key, jnp.zeros((1, *IMAGE_SHAPE)))
    params = variables["params"]
    if recipe is not None and recipe.initialiser != "uniform":
        params = initialised(params, jax.random.fold_in(key, 1), recipe.initialiser)
    batch_stats, opt_state = variables.get("batch_stats", {}), optimizer.init(params)
    state = TrainState(jnp.int32(0), params, batch_stats, opt_state, jnp.int32(0))
    if recipe is None or recipe.averaging is None:
        return state
    # A copy, as a state is donated and must not have a buffer twice.
    return state._replace(average=jax.tree.map(jnp.copy, state.last_variables))
