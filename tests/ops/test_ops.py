"""Tests of kernels: the fast lowering agrees with the definition, with the gradients of the sources."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxmnist import ops
from jaxmnist.runtime.devices import count_cores


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def library_conv(x, kernel, padding, dilation):
    return lax.conv_general_dilated(
        x,
        kernel,
        (1, 1),
        [(padding, padding)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("CHWN", "HWIO", "CHWN"),
        precision="highest",
    )


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("rows", [11, 7])
@pytest.mark.parametrize(
    ("size", "padding", "dilation"), [(3, 0, 1), (3, 1, 1), (1, 0, 1), (3, 1, 2), (5, 2, 1), (2, 0, 3)]
)
def test_convolution_and_its_gradients_equal_those_of_the_library(size, padding, dilation, channels, rows):
    x, kernel = normal(0, channels, rows, 9, 6), normal(1, size, size, channels, 5)

    def both(conv):
        out, vjp = jax.vjp(lambda x, kernel: conv(x, kernel, padding, dilation), x, kernel)
        return out, *vjp(normal(2, *out.shape))

    for ours, reference in zip(jax.jit(lambda: both(ops.conv2d))(), both(library_conv), strict=True):
        np.testing.assert_allclose(ours, reference, atol=5e-5)


def test_other_platforms_use_the_convolution_of_the_library():
    x, kernel = normal(0, 4, 11, 9, 6), normal(1, 3, 3, 4, 5)
    text = jax.jit(ops.conv2d).trace(x, kernel).lower(lowering_platforms=("cuda",)).as_text()
    assert "stablehlo.convolution" in text
    assert "stablehlo.convolution" not in jax.jit(ops.conv2d).lower(x, kernel).as_text()


def test_compiler_options_keep_the_barriers_that_the_speed_rests_on():
    x, kernel = normal(0, 4, 11, 9, 6), normal(1, 3, 3, 4, 5)
    options = ops.compiler_options(jax.devices("cpu")[0])
    compiled = jax.jit(ops.conv2d, compiler_options=options).lower(x, kernel).compile()
    assert "opt-barrier" in (compiled.as_text() or "")


def test_a_product_follows_the_copies_that_it_reads_so_that_the_next_take_their_place():
    x, kernel = normal(0, 16, 26, 26, 32), normal(1, 3, 3, 16, 32)
    options = ops.compiler_options(jax.devices("cpu")[0])
    usage = jax.jit(ops.conv2d, compiler_options=options).lower(x, kernel).compile().memory_analysis()
    # The six products, which last until the result is made of them, and nothing else.
    products = 6 * 32 * (6 * 24) * 32 * 4
    assert usage
    assert usage.temp_size_in_bytes < 1.1 * products


@pytest.mark.skipif(count_cores() == 1, reason="one core has nothing to divide loops among")
@pytest.mark.parametrize("devices", [1, 2])
def test_loops_are_divided_among_cores_only_where_a_device_has_several(devices):
    options = ops.compiler_options(jax.devices("cpu")[0], devices)
    loop = jax.jit(lambda x: jnp.sin(x) + 1, compiler_options=options).lower(normal(0, 64, 1024)).compile()
    assert ('"outer_dimension_partitions":["' in (loop.as_text() or "")) == (devices == 1)


def test_pooling_takes_the_maximum_and_drops_an_odd_last_row_and_column():
    x = normal(3, 2, 7, 5, 3)
    expected = np.asarray(x)[:, :6, :4].reshape(2, 3, 2, 2, 2, 3).max((2, 4))
    np.testing.assert_array_equal(ops.max_pool2(x), expected)


def test_pooling_sends_the_gradient_of_a_tie_to_the_first_element_in_row_order():
    window = jnp.array([[1.0, 2.0, 0.0, 0.0, 5.0], [2.0, 2.0, 0.0, 0.0, 5.0], [9.0, 9.0, 9.0, 9.0, 9.0]])
    gradient = jax.grad(lambda x: (3.0 * ops.max_pool2(x)).sum())(window[None, :, :, None])
    expected = np.zeros((3, 5), np.float32)
    expected[0, 1] = expected[0, 2] = 3.0
    np.testing.assert_array_equal(gradient[0, :, :, 0], expected)


@pytest.mark.parametrize(
    ("size", "out", "index"),
    [
        (12, 10, [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]),
        (10, 6, [0, 1, 3, 5, 6, 8]),
        (14, 7, [0, 2, 4, 6, 8, 10, 12]),
        (3, 7, [0, 0, 0, 1, 1, 2, 2]),
        (5, 5, [0, 1, 2, 3, 4]),
    ],
)
def test_nearest_resize_reads_the_published_indices_and_its_gradient_adds_up(size, out, index):
    x = normal(4, 2, size, size, 3)
    np.testing.assert_array_equal(ops.resize_nearest(x, out), np.asarray(x)[:, index][:, :, index])
    gradient = jax.grad(lambda x: ops.resize_nearest(x, out).sum())(x)
    counts = np.bincount(index, minlength=size)
    np.testing.assert_array_equal(gradient[0, :, :, 0], np.outer(counts, counts))


MASK = jnp.array([1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0])


def test_moments_of_a_masked_batch_are_those_of_the_images_that_count():
    x = normal(5, 3, 4, 4, 8)
    counted = np.asarray(x)[..., np.asarray(MASK) > 0].astype(np.float64)
    _, moments = ops.batch_norm(x.at[..., 2].set(1e6), jnp.ones(3), jnp.zeros(3), MASK, 1e-5)
    np.testing.assert_allclose(moments.mean, counted.mean((1, 2, 3)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(moments.variance, counted.var((1, 2, 3)), rtol=1e-4)
    assert float(moments.values) == 5 * 16


@pytest.mark.parametrize("mask", [None, MASK])
def test_batch_norm_and_its_gradients_are_those_of_the_images_that_count(mask):
    x, dy = normal(6, 3, 4, 5, 8), normal(7, 3, 4, 5, 8)
    scale, bias = jnp.array([0.5, 1.0, -2.0]), jnp.array([0.0, 1.0, 3.0])
    counted = slice(None) if mask is None else np.flatnonzero(mask)

    def plain(x, scale, bias):
        centred = x - x.mean((1, 2, 3), keepdims=True)
        normalised = centred / jnp.sqrt((centred**2).mean((1, 2, 3), keepdims=True) + 1e-3)
        return normalised * scale[:, None, None, None] + bias[:, None, None, None]

    def fast(x, scale, bias):
        return ops.batch_norm(x, scale, bias, mask, 1e-3)[0]

    # Padding has no gradient, as its loss does not count.
    dy = dy if mask is None else dy * mask[None, None, None]
    actual, vjp = jax.vjp(fast, x, scale, bias)

    expected, plain_vjp = jax.vjp(plain, x[..., counted], scale, bias)
    np.testing.assert_allclose(actual[..., counted], expected, rtol=1e-5, atol=1e-5)
    (dx, *others), (plain_dx, *plain_others) = vjp(dy), plain_vjp(dy[..., counted])
    np.testing.assert_allclose(dx[..., counted], plain_dx, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(dx.sum(), plain_dx.sum(), atol=1e-4)
    for other, plain_other in zip(others, plain_others, strict=True):
        np.testing.assert_allclose(other, plain_other, rtol=1e-4, atol=1e-4)


def shares(first, second, count=2**20):
    """Draws random words as numbers in [0, 1)."""
    words = ops.random_words(jnp.array([first, second], jnp.uint32), (count,))
    return np.asarray(words).astype(np.float64) / 2**32


def test_random_words_are_uniform():
    counts = np.histogram(shares(1, 2), bins=64, range=(0, 1))[0]
    expected = 2**20 / 64
    # Chi-square with 63 degrees of freedom: mean 63, standard deviation 11.2.
    assert ((counts - expected) ** 2 / expected).sum() < 63 + 5 * 11.2


@pytest.mark.parametrize("rate", [0.03, 0.1, 0.5])
def test_random_words_are_uncorrelated_between_keys_and_between_neighbours(rate):
    def dropped(first, second):
        return (shares(first, second) < rate) - rate

    a = dropped(1, 2)
    others = [dropped(1, 3), dropped(2, 2), dropped(2, 1), np.roll(a, 1), np.roll(a, 64), np.roll(a, 676)]
    for other in others:
        # Five standard deviations: a false alarm once in two million.
        assert abs((a * other).mean()) / (rate * (1 - rate)) < 5 / 2**10


def kept_by_dropout(first, second, rate):
    """Returns which values of 512 pixels in 64 images a dropout keeps, with mean 0 and variance 1."""
    mask = ops.dropout_mask(jnp.array([first, second], jnp.uint32), (8, 8, 8, 64), rate)
    return (np.asarray(mask).reshape(512, 64) - (1 - rate)) / (rate * (1 - rate)) ** 0.5


@pytest.mark.parametrize("rate", [0.03, 0.5])
def test_a_dropout_keeps_values_of_pixels_and_images_independently(rate):
    masks = np.stack([kept_by_dropout(3, number, rate) for number in range(20)])
    assert abs(masks.mean()) < 5 / masks.size**0.5
    # The first pixel of the first image, the second of the second, ...
    assert abs(np.diagonal(masks, axis1=1, axis2=2).mean()) < 5 / (20 * 64) ** 0.5
    between_keys = (masks[1:] * masks[:-1]).mean()
    assert abs(between_keys) < 5 / masks[1:].size ** 0.5
    for maps in (masks, masks.transpose(0, 2, 1)):
        # Correlations of two images over all pixels, and of two pixels over all images: of variance 1 if independent.
        correlations = (maps.transpose(0, 2, 1) @ maps) / maps.shape[1] ** 0.5
        different = correlations[:, ~np.eye(maps.shape[2], dtype=bool)]
        assert abs((different**2).mean() - 1) < 0.05
        if rate == 0.5:
            # Two pixels in two images: the fourth moment of a normal distribution is 3.
            assert abs((different**4).mean() - 3) < 0.25


def test_dropout_masks_repeat_what_they_were():
    # Another hash would give every seed another training.
    mask = ops.dropout_mask(jax.random.key(5), (2, 1, 1, 8), 0.5)
    np.testing.assert_array_equal(mask.reshape(2, 8), [[0, 1, 0, 1, 0, 1, 1, 1], [0, 1, 1, 0, 0, 1, 1, 0]])


def test_random_words_take_typed_and_raw_keys_and_repeat():
    key = jax.random.key(3)
    words = ops.random_words(key, (2, 5))
    np.testing.assert_array_equal(words, ops.random_words(jax.random.key_data(key), (2, 5)))
    assert not np.array_equal(words, ops.random_words(jax.random.key(4), (2, 5)))


def test_random_words_repeat_what_they_were():
    # Another hash would give every seed other weights and dropouts.
    words = ops.random_words(jnp.array([1, 2], jnp.uint32), (4,))
    np.testing.assert_array_equal(words, np.array([3432877968, 821347078, 862483055, 3726264125], np.uint32))
