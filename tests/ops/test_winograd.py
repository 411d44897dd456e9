"""Winograd's convolution: what the library computes, used where it gains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxmnist import ops


def library_conv(x, kernel, padding):
    dimensions = ("CHWN", "HWIO", "CHWN")
    return lax.conv_general_dilated(x, kernel, (1, 1), [(padding, padding)] * 2, dimension_numbers=dimensions)


def is_used(function, *arguments):
    """True if a function on a CPU takes Winograd's 16 products and not the single one of any other convolution."""
    return jax.jit(function).lower(*arguments).as_text().count("stablehlo.dot_general") >= 16


@pytest.mark.parametrize(
    ("height", "width", "padding"),
    [(16, 18, 0), (14, 20, 1), (14, 14, 2), (17, 18, 0), (16, 19, 0), (15, 15, 1)],
    ids=str,
)
def test_it_and_its_gradients_equal_those_of_the_library_on_even_maps_and_odd_ones(height, width, padding):
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), 3)
        x, kernel = (
            jax.random.normal(keys[0], (8, height, width, 3)),
            jax.random.normal(keys[1], (3, 3, 8, 5)),
        )
        dy = jax.random.normal(keys[2], library_conv(x, kernel, padding).shape)

        def both(conv):
            out, vjp = jax.vjp(lambda x, kernel: conv(x, kernel, padding), x, kernel)
            return out, *vjp(dy)

        for ours, reference in zip(
            jax.jit(both, static_argnums=0)(ops.conv2d), both(library_conv), strict=True
        ):
            assert ours.dtype == jnp.float64
            np.testing.assert_allclose(ours, reference, rtol=1e-12, atol=1e-11)
        assert is_used(lambda: both(ops.conv2d)) == (height % 2 == width % 2 == 0)


@pytest.mark.parametrize(
    ("channels", "size", "side", "dilation", "in_training", "without_gradient"),
    [
        (8, 3, 16, 1, True, False),
        (16, 3, 16, 1, True, True),
        (7, 3, 16, 1, False, False),
        (16, 3, 14, 1, False, False),
        (16, 3, 20, 2, False, False),
        (16, 5, 20, 1, False, False),
        (16, 1, 16, 1, False, False),
    ],
)
def test_it_is_for_large_maps_of_several_channels_and_without_a_gradient_for_more(
    channels, size, side, dilation, in_training, without_gradient
):
    x, kernel = jnp.zeros((channels, side, side, 2)), jnp.zeros((size, size, channels, 4))

    def conv(x, kernel):
        return ops.conv2d(x, kernel, 0, dilation)

    assert is_used(conv, x, kernel) == without_gradient
    assert is_used(lambda *values: jax.vjp(conv, *values)[0], x, kernel) == in_training
