"""Initial weights: kernels have the right distribution, and other parameters are not drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmnist.models.initialisers import initialised

PARAMS = {
    "conv1": {"kernel": jnp.zeros((3, 3, 16, 32)), "bias": jnp.ones(32)},
    "conv2": {"kernel": jnp.zeros((3, 3, 16, 32))},
    "bn1": {"scale": jnp.full(32, 3.0), "bias": jnp.ones(32)},
}


@pytest.mark.parametrize("kind", ["he", "orthogonal"])
def test_kernels_are_drawn_and_biases_zero_and_scales_as_they_were(kind):
    params = initialised(PARAMS, jax.random.key(0), kind)
    np.testing.assert_array_equal(params["bn1"]["scale"], 3.0)
    for module in ("conv1", "bn1"):
        np.testing.assert_array_equal(params[module]["bias"], 0.0)
    first, second = (np.asarray(params[module]["kernel"]).reshape(144, 32) for module in ("conv1", "conv2"))
    assert np.abs(first - second).max() > 0.1
    if kind == "he":
        assert first.std() == pytest.approx((2 / 144) ** 0.5, rel=0.05)
    else:
        np.testing.assert_allclose(first.T @ first, 2 * np.eye(32), atol=1e-5)
