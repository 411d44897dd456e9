"""Tests of averaged weights: the average over steps, statistics included, and its use in evaluation."""

import dataclasses
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmnist import train
from jaxmnist.config import Averaging, Recipe
from jaxmnist.optim import make_optimizer
from jaxmnist.optim.averaging import moved_average
from tests.small_network import Small

RECIPE = Recipe("averaged", batch_size=20, epochs=2, learning_rate=0.1, averaging=Averaging(0.4, 1))
TOTAL = 6
KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def states():
    """Returns the states before and after five steps; the first three belong to the first epoch."""
    random = np.random.default_rng(0)
    images = jnp.asarray(random.integers(0, 256, (20, 28, 28), np.uint8))
    batch = train.Batch(images, jnp.arange(20, dtype=jnp.int32) % 10, jnp.ones(20))
    setup = {"model": Small(dropout=0.0), "optimizer": make_optimizer(RECIPE), "recipe": RECIPE}
    # The beginning of the average compiles nothing anew.
    once = chex.assert_max_traces(train.train_step, n=1)
    step = jax.jit(partial(once, batch=batch, key=KEY, total_steps=TOTAL, **setup))
    found = [jax.jit(partial(train.create_state, **setup))(KEY)]
    for _ in range(5):
        found.append(step(found[-1])[0])
    return found


def test_the_average_is_the_moving_one_over_five_steps_statistics_included(states):
    paths = [("params", "conv1", "kernel"), ("params", "bn1", "scale"), ("batch_stats", "bn1", "var")]

    def at(variables, path):
        for name in path:
            variables = variables[name]
        return np.asarray(variables, np.float64)

    for path in paths:
        expected = at(states[0].last_variables, path)
        for number, state in enumerate(states[1:]):
            n = number - 3  # the second epoch begins with the fourth step
            kept = 0.0 if n < 0 else min(0.4, (1 + n) / (10 + n))
            expected = kept * expected + (1 - kept) * at(state.last_variables, path)
            np.testing.assert_allclose(at(state.variables, path), expected, rtol=1e-5)
        assert np.abs(at(states[-1].variables, path) - at(states[-1].last_variables, path)).max() > 1e-5


def test_the_average_is_evaluated(states):
    batch = train.Batch(jnp.zeros((4, 28, 28), jnp.uint8), jnp.zeros(4, jnp.int32), jnp.ones(4))
    evaluate = jax.jit(partial(train.eval_step, model=Small(dropout=0.0), recipe=RECIPE))
    state = states[-1]
    averaged, last = (
        evaluate(state, batch)[1],
        evaluate(state._replace(average=state.last_variables), batch)[1],
    )
    as_weights = state._replace(average=None, **state.average)
    np.testing.assert_array_equal(averaged, evaluate(as_weights, batch)[1])
    assert np.abs(averaged - last).max() > 1e-5


def test_an_average_that_begins_late_must_know_the_number_of_steps(states):
    batch = train.Batch(jnp.zeros((4, 28, 28), jnp.uint8), jnp.zeros(4, jnp.int32), jnp.ones(4))
    setup = {"model": Small(dropout=0.0), "optimizer": make_optimizer(RECIPE), "recipe": RECIPE}
    with pytest.raises(ValueError, match="needs total_steps"):
        train.train_step(states[0], batch, key=KEY, **setup)


def test_without_averaging_a_state_holds_no_average():
    plain = dataclasses.replace(RECIPE, averaging=None)
    setup = {"model": Small(), "optimizer": make_optimizer(plain)}
    with_recipe = jax.eval_shape(partial(train.create_state, recipe=plain, **setup), KEY)
    assert with_recipe.average is None
    names = {path[0].name for path, _ in jax.tree_util.tree_leaves_with_path(with_recipe)}
    assert names == {"step", "params", "batch_stats", "opt_state", "bad_steps"}


def test_a_long_average_is_not_biased_by_its_start():
    average: dict = {"w": jnp.float32(1000.0)}
    for step in range(50):
        average = moved_average(average, {"w": jnp.float32(1.0)}, jnp.int32(step), Averaging(0.9999))
    # Without a warm-up 995 of the initial 1,000 would remain.
    assert float(average["w"]) == pytest.approx(1.0, abs=1e-3)
