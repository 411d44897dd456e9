"""The elastic change agrees with SciPy: blur, displacement, and reading between pixels."""

import jax
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from jaxmnist.augment import elastic
from jaxmnist.augment.bilinear import displacement, sample

elastic_jit = jax.jit(elastic, static_argnums=(2, 3))
displacement_jit = jax.jit(displacement, static_argnums=(1, 2))
sample_jit = jax.jit(sample)
IMAGES = np.random.default_rng(0).integers(0, 256, (50, 28, 28)).astype(np.uint8)
NOISE = np.random.default_rng(1).uniform(-1, 1, (50, 2, 28, 28)).astype(np.float32)


def scipy_sample(images, displacements):
    """The first displacement is along the row, as in torchvision."""
    y, x = np.mgrid[:28, :28]
    return np.stack(
        [
            map_coordinates(image.astype(float), (y + down, x + right), order=1, mode="grid-constant")
            for image, (right, down) in zip(images, displacements, strict=True)
        ]
    )


def scipy_elastic(images, noise, alpha, sigma):
    blurred = gaussian_filter(noise.astype(float), sigma, mode="mirror", truncate=4, axes=(2, 3))
    return scipy_sample(images, alpha / 2 * blurred)


@pytest.mark.parametrize(("alpha", "sigma"), [(10.0, 3.0), (50.0, 5.0), (300.0, 1.5), (40.0, 8.0)])
def test_the_elastic_change_agrees_with_scipy(alpha, sigma):
    ours = np.asarray(elastic_jit(IMAGES, NOISE, alpha, sigma))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours / 255, scipy_elastic(IMAGES, NOISE, alpha, sigma) / 255, atol=1e-4)


@pytest.mark.parametrize("furthest", [0.3, 3.0, 60.0])
def test_places_between_pixels_and_outside_read_as_scipy_does(furthest):
    moves = NOISE * np.float32(furthest)
    np.testing.assert_allclose(sample_jit(IMAGES, moves), scipy_sample(IMAGES, moves), atol=255e-4)


def test_whole_pixels_are_read_exactly_and_the_first_number_is_along_the_row():
    moves = np.zeros((50, 2, 28, 28), np.float32)
    np.testing.assert_array_equal(sample_jit(IMAGES, moves), IMAGES)
    moves[:, 0], moves[:, 1] = 2, -1
    read = np.asarray(sample_jit(IMAGES, moves))
    np.testing.assert_array_equal(read[:, 1:, :-2], IMAGES[:, :-1, 2:])
    assert not read[:, 0].any()
    assert not read[:, :, -2:].any()


def test_places_move_as_far_as_published():
    """The published standard deviation, 0.27 pixels for alpha 10 and sigma 3, holds away from the border."""
    noise = np.random.default_rng(2).uniform(-1, 1, (2_000, 2, 28, 28)).astype(np.float32)
    moves = np.asarray(displacement_jit(noise, 10.0, 3.0))
    assert np.std(moves[:, :, 14, 14]) == pytest.approx(0.27, abs=0.01)
