"""Mixed precision: factors in bfloat16 in a training step, everything else in float32."""

import dataclasses
import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmnist import ops, train
from jaxmnist.config import get_recipe
from jaxmnist.config.run import RunConfig
from jaxmnist.data import load_dataset
from jaxmnist.models.layers import Dense
from jaxmnist.optim import make_optimizer
from jaxmnist.runs.folder import create_run, read_metrics
from jaxmnist.runs.loop import fit
from jaxmnist.train.batch import Batch
from tests.small_network import Small

DEVICE = jax.devices()[0]


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def as_bfloat16(x):
    return np.asarray(x).astype(jnp.bfloat16).astype(np.float32)


def test_a_convolution_and_its_gradients_multiply_rounded_factors():
    x, kernel, dy = normal(0, 4, 11, 9, 6), normal(1, 3, 3, 4, 5), normal(2, 5, 9, 7, 6)
    out: Any
    out, vjp = jax.vjp(lambda x, kernel: ops.conv2d(x, kernel, 0, 1, "bfloat16"), x, kernel)
    expected, expected_vjp = jax.vjp(ops.conv2d, as_bfloat16(x), as_bfloat16(kernel))
    np.testing.assert_array_equal(out, expected)
    for ours, rounded in zip(vjp(dy), expected_vjp(as_bfloat16(dy)), strict=True):
        np.testing.assert_array_equal(ours, rounded)
    assert out.dtype == jnp.float32


@pytest.mark.parametrize("factors", ["float32", "bfloat16"])
def test_on_an_accelerator_the_library_convolves_in_that_precision(factors):
    def loss(x, kernel):
        out: Any = ops.conv2d(x, kernel, 0, 1, factors)
        return out.sum()

    x, kernel = normal(0, 4, 11, 9, 6), normal(1, 3, 3, 4, 5)
    lowered = jax.jit(jax.grad(loss, (0, 1))).trace(x, kernel).lower(lowering_platforms=("cuda",)).as_text()
    convolutions = re.findall(
        r"stablehlo\.convolution.* : \(tensor<[^>]*x(\w+)>, tensor<[^>]*x(\w+)>", lowered
    )
    kind = {"float32": "f32", "bfloat16": "bf16"}[factors]
    assert convolutions == [(kind, kind)] * len(convolutions)
    assert len(convolutions) >= 2


def test_a_linear_layer_rounds_only_within():
    x, layer = normal(0, 6, 4), Dense(3)
    variables: Any = layer.init(jax.random.key(1), x)
    kernel = variables["params"]["kernel"]
    with ops.products_in("bfloat16"):
        within = layer.apply(variables, x)
    np.testing.assert_array_equal(within, as_bfloat16(x) @ as_bfloat16(kernel))
    np.testing.assert_array_equal(layer.apply(variables, x), x @ kernel)


def test_a_training_step_rounds_and_an_evaluation_does_not():
    digits, model = load_dataset("digits"), Small()
    recipes = {
        name: dataclasses.replace(get_recipe("second"), precision=name) for name in ("float32", "bfloat16")
    }
    images, labels = jnp.asarray(digits.train_images[:64]), jnp.asarray(digits.train_labels[:64])
    batch = Batch(images, labels, jnp.ones(64))
    losses, evaluated = {}, {}
    for name, recipe in recipes.items():
        optimizer = make_optimizer(recipe)
        state = train.create_state(jax.random.key(0), model, optimizer, recipe)
        step = partial(train.train_step, model=model, optimizer=optimizer, recipe=recipe)
        after, sums = jax.jit(step)(state, batch, key=jax.random.key(1))
        losses[name] = float(sums.loss_sum)
        evaluated[name] = train.eval_step(state, batch, model=model, recipe=recipe)[1]
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(after.params))
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=1e-2)
    np.testing.assert_array_equal(evaluated["bfloat16"], evaluated["float32"])


def test_a_cpu_is_warned_of_and_trains(tmp_path):
    digits = load_dataset("digits")
    recipe = dataclasses.replace(get_recipe("second"), epochs=1, precision="bfloat16")
    config = RunConfig("second", recipe, "digits", 1, "val", digits.fingerprint)
    run = create_run(tmp_path, config, {})
    with pytest.warns(UserWarning, match="bfloat16 makes a CPU round and no faster"):
        fit(config, digits, run, DEVICE)
    assert read_metrics(run)[0]["train_loss"] < 3
