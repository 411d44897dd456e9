"""Winograd's convolution: what the library computes, used where it gains."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxmnist import ops
from jaxmnist.ops import winograd


def library_conv(x, kernel, padding, dilation):
    dimensions = ("CHWN", "HWIO", "CHWN")
    return lax.conv_general_dilated(
        x, kernel, (1, 1), [(padding, padding)] * 2, None, (dilation, dilation), dimensions
    )


def products(function, *arguments):
    """Number of products that a function takes on a CPU: six or four and that for the kernel, or a single one."""
    return jax.jit(function).lower(*arguments).as_text().count("stablehlo.dot_general")


@pytest.mark.parametrize(
    ("height", "width", "padding", "dilation", "tile"),
    [
        (14, 9, 0, 1, 4),
        (14, 8, 1, 1, 2),
        (12, 7, 2, 1, 2),
        (15, 8, 0, 1, None),
        (20, 9, 0, 2, 4),
        (6, 6, 1, 2, 2),
        (10, 8, 0, 2, None),
        (18, 12, 0, 3, 4),
    ],
    ids=str,
)
def test_it_and_its_gradients_equal_those_of_the_library_whatever_the_tiles(
    height, width, padding, dilation, tile
):
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), 3)
        x = jax.random.normal(keys[0], (5, height, width, 3))
        kernel = jax.random.normal(keys[1], (3, 3, 5, 7))
        dy = jax.random.normal(keys[2], library_conv(x, kernel, padding, dilation).shape)

        def both(conv):
            out, vjp = jax.vjp(lambda x, kernel: conv(x, kernel, padding, dilation), x, kernel)
            return out, *vjp(dy)

        assert winograd.row_tile(dy.shape[1], dilation) == tile
        for ours, reference in zip(
            jax.jit(both, static_argnums=0)(ops.conv2d), both(library_conv), strict=True
        ):
            assert ours.dtype == jnp.float64
            np.testing.assert_allclose(ours, reference, rtol=1e-12, atol=1e-12)


def test_rounding_errors_are_small_and_smaller_than_with_the_usual_points(monkeypatch):
    keys = jax.random.split(jax.random.key(0), 3)
    x, kernel = jax.random.normal(keys[0], (16, 26, 26, 4)), jax.random.normal(keys[1], (3, 3, 16, 8))
    dy = jax.random.normal(keys[2], (8, 24, 24, 4))

    def both(conv, *arguments):
        x, kernel, dy = arguments
        out, vjp = jax.vjp(lambda x, kernel: conv(x, kernel, 0, 1), x, kernel)
        return out, *vjp(dy)

    with jax.enable_x64(True):
        exact = both(library_conv, *(np.asarray(value, np.float64) for value in (x, kernel, dy)))

    def errors():
        results = jax.jit(partial(both, ops.conv2d))(x, kernel, dy)
        return np.array(
            [
                np.linalg.norm(np.asarray(result) - np.asarray(right)) / np.linalg.norm(right)
                for result, right in zip(results, exact, strict=True)
            ]
        )

    ours = errors()
    monkeypatch.setitem(winograd._POINTS, 4, (0.0, 1.0, -1.0, 2.0, -2.0))
    winograd._transform.cache_clear()
    usual = errors()
    winograd._transform.cache_clear()
    assert (ours < 1e-6).all()
    assert (ours < 0.85 * usual).all()


@pytest.mark.parametrize(
    ("channels", "size", "height", "dilation", "expected"),
    [
        (2, 3, 26, 1, 7),
        (2, 3, 6, 1, 7),
        (2, 3, 12, 1, 5),
        (2, 3, 12, 2, 7),
        (1, 3, 26, 1, 1),
        (2, 3, 13, 1, 1),
        (2, 3, 10, 2, 1),
        (2, 5, 26, 1, 1),
        (2, 1, 26, 1, 1),
    ],
)
def test_it_is_for_maps_of_several_channels_and_even_height(channels, size, height, dilation, expected):
    x, kernel = jnp.zeros((channels, height, 26, 2)), jnp.zeros((size, size, channels, 4))

    def conv(x, kernel):
        return ops.conv2d(x, kernel, 0, dilation)

    def gradients(x, kernel):
        out, vjp = jax.vjp(conv, x, kernel)
        return vjp(out)

    assert products(conv, x, kernel) == expected
    # Two for each of the forward pass, and those for the kernel.
    assert (products(gradients, x, kernel) > 2 * 4) == (expected > 1)
