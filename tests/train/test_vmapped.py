"""Many runs in one program: each equals the same run by itself."""

import dataclasses
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmnist import train
from jaxmnist.config import Augmentation, Recipe
from jaxmnist.optim import learning_rate, make_optimizer
from jaxmnist.train import vmapped
from tests.small_network import Small

RECIPE = Recipe(name="quick", batch_size=8, weight_decay=0.01, augmentation=Augmentation(rotation=8.0))
SPLIT = jnp.arange(20, dtype=jnp.int32)
STEPS = 3


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(vmapped, "create_model", lambda arch, **fields: Small(**fields))


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    return random.integers(0, 256, (20, 28, 28), np.uint8), random.integers(0, 10, 20, np.int32)


def trained(varied, data, loop):
    setup = {"arch": "any", "recipe": RECIPE, "loop": loop}
    states, metrics = jax.jit(partial(vmapped.create_states, **setup))(varied)
    orders = vmapped.epoch_orders(varied, jnp.int32(0), SPLIT, recipe=RECIPE)
    return jax.jit(partial(vmapped.train_runs, **setup))(
        states, metrics, train.EpochData(data[0], data[1], orders), np.int32(0), np.int32(STEPS), varied
    )


def alone(seed, data, recipe=RECIPE, dropout=0.1):
    setup = {"model": Small(dropout=dropout), "optimizer": make_optimizer(recipe), "recipe": recipe}
    keys = train.Keys.from_seed(seed)
    state = train.create_state(keys.init, setup["model"], setup["optimizer"])
    order = train.epoch_order(keys.order, jnp.int32(0), SPLIT, recipe=recipe)
    chunk = jax.jit(partial(train.train_chunk, **setup))
    return chunk(
        state,
        train.no_metrics(),
        train.EpochData(data[0], data[1], order),
        np.int32(0),
        np.int32(STEPS),
        keys.step,
    )


def pick(results, index):
    return jax.tree.map(lambda leaf: leaf[index], results)


@pytest.mark.parametrize("loop", [vmapped.at_once, vmapped.in_a_row])
def test_each_seed_trains_as_by_itself(data, loop):
    results = trained(vmapped.Varied(jnp.array([3, 5])), data, loop)
    for index, seed in enumerate((3, 5)):
        chex.assert_trees_all_close(pick(results, index), alone(seed, data), rtol=1e-4, atol=1e-5)
    first, second = (pick(results, index)[0].params["conv1"]["kernel"] for index in range(2))
    assert np.abs(first - second).max() > 0.01


@pytest.mark.parametrize("loop", [vmapped.at_once, vmapped.in_a_row])
def test_rate_decay_and_dropout_may_differ(data, loop):
    rates, decays, dropouts = ([0.1, 0.02], [0.0, 0.5], [0.0, 0.4])
    varied = vmapped.Varied(jnp.array([7, 7]), *(jnp.array(values) for values in (rates, decays, dropouts)))
    results = trained(varied, data, loop)
    np.testing.assert_allclose(learning_rate(results[0].opt_state), np.array(rates, np.float32))
    for index in range(2):
        recipe = dataclasses.replace(RECIPE, learning_rate=rates[index], weight_decay=decays[index])
        single_state, single_metrics = alone(7, data, recipe, dropouts[index])
        state, metrics = pick(results, index)
        chex.assert_trees_all_close(state.params, single_state.params, rtol=1e-4, atol=1e-5)
        chex.assert_trees_all_close(metrics, single_metrics, rtol=1e-4)


def test_a_cpu_trains_one_run_after_the_other():
    assert vmapped.loop_for(jax.devices("cpu")[0]) is vmapped.in_a_row
