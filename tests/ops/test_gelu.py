"""Tests of GELU against its definition."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmnist import ops


@pytest.mark.parametrize(("dtype", "most"), [(jnp.float32, 1e-6), (jnp.float64, 1e-14)])
def test_gelu_and_its_gradient_are_exact_to_the_rounding_of_their_type(dtype, most):
    with jax.enable_x64(True):
        x = jnp.concatenate([jnp.linspace(-10, 10, 20_001), jnp.geomspace(1e-6, 1, 99)]).astype(dtype)
        value, slopes = jax.jit(lambda x: (ops.gelu(x), jax.vmap(jax.grad(ops.gelu))(x)))(x)
    wide = np.asarray(x, np.float64)
    probability = (1 + np.array([math.erf(one / math.sqrt(2)) for one in wide])) / 2
    density = np.exp(-(wide**2) / 2) / math.sqrt(2 * math.pi)
    assert value.dtype == slopes.dtype == dtype
    np.testing.assert_allclose(value, wide * probability, rtol=0, atol=most)
    np.testing.assert_allclose(slopes, probability + wide * density, rtol=0, atol=most)


def test_gelu_of_large_numbers_is_zero_or_the_number():
    x = jnp.array([-1e4, -100.0, 100.0, 1e4])
    # Within the rounding of float32, as a share of the number.
    np.testing.assert_allclose(ops.gelu(x) / x, [0, 0, 1, 1], atol=1e-7)
    np.testing.assert_allclose(jax.vmap(jax.grad(ops.gelu))(x), [0, 0, 1, 1], atol=1e-6)


def test_other_platforms_compute_gelu_by_erf():
    def operations(platform):
        return jax.jit(ops.gelu).trace(jnp.ones(3)).lower(lowering_platforms=(platform,)).as_text()

    assert "erf" in operations("cuda")
    assert "erf" not in operations("cpu")
