"""Tests of bilinear changes, which agree with SciPy: blur, displacement, and reading between pixels."""

from typing import Any

import jax
import numpy as np
import pytest
from scipy.ndimage import affine_transform, gaussian_filter, map_coordinates

from jaxmnist.augment import Affine, Changes, apply
from jaxmnist.augment.bilinear import displacement, elastic, own_places, read
from jaxmnist.config import Augmentation
from tests.augment.test_nearest import perspective_jit


def sample(images, moves):
    """Reads each pixel at its own place plus a move."""
    x, y = own_places()
    return read(images, x + moves[:, 0], y + moves[:, 1])


elastic_jit = jax.jit(elastic, static_argnums=(2, 3))
displacement_jit = jax.jit(displacement, static_argnums=(1, 2))
sample_jit = jax.jit(sample)
apply_jit: Any = jax.jit(apply, static_argnums=2)
IMAGES = np.random.default_rng(0).integers(0, 256, (50, 28, 28)).astype(np.uint8)
NOISE = np.random.default_rng(1).uniform(-1, 1, (50, 2, 28, 28)).astype(np.float32)


def scipy_sample(images, displacements):
    """Reads at displaced places; the first displacement is along the row, as in torchvision."""
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


BILINEAR = Augmentation(elastic=10.0, interpolation="bilinear")


def affine_matrix(degrees, right, down, scale, shear):
    """Maps places (x, y, 1) of the result to those of the image: torchvision's inverse, rotation first."""
    radians = np.radians(degrees)
    turn = np.array(
        [[np.cos(radians), -np.sin(radians), 0], [np.sin(radians), np.cos(radians), 0], [0, 0, 1]]
    )
    lean = np.array([[1, np.tan(np.radians(shear)), 0], [0, 1, 0], [0, 0, scale]]) / scale
    to_centre = np.array([[1, 0, -13.5], [0, 1, -13.5], [0, 0, 1]])
    shift = np.array([[1, 0, -right], [0, 1, -down], [0, 0, 1]])
    return np.linalg.inv(to_centre) @ turn @ lean @ to_centre @ shift


def random_changes(count) -> tuple[list[Any], Any]:
    random = np.random.default_rng(4)
    degrees, scale, shear = (
        random.uniform(low, high, count) for low, high in ((-20, 20), (0.8, 1.25), (-15, 15))
    )
    return [values.astype(np.float32) for values in (degrees, scale, shear)], random.integers(
        -4, 5, (count, 2), np.int32
    )


def make_changes(**values: Any) -> Changes:
    return Changes(**values)


def test_bilinear_rotation_shift_scale_and_shear_agree_with_scipy():
    (degrees, scale, shear), shift = random_changes(50)
    changes = make_changes(degrees=degrees, affine=Affine(shift, scale, shear))
    ours = np.asarray(apply_jit(changes, IMAGES, BILINEAR))
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])  # SciPy counts rows first
    for index, image in enumerate(IMAGES):
        matrix = affine_matrix(degrees[index], shift[index, 0], shift[index, 1], scale[index], shear[index])
        expected = affine_transform(image.astype(float), swap @ matrix @ swap, order=1, mode="grid-constant")
        np.testing.assert_allclose(ours[index] / 255, expected / 255, atol=1e-4)


def test_bilinear_and_nearest_changes_go_the_same_way():
    # On smooth images the nearest pixel, of the nearest one, is nearly the interpolated one.
    rows, columns = np.mgrid[:28, :28]
    image = (255 * np.exp(-((rows - 9) ** 2 + (columns - 17) ** 2) / 50)).astype(np.uint8)
    (degrees, scale, shear), shift = random_changes(8)
    changes = make_changes(degrees=degrees, affine=Affine(shift, scale, shear))
    images = np.repeat(image[None], 8, 0)
    near = np.asarray(apply_jit(changes, images, Augmentation()), np.float32)
    assert np.abs(near - np.asarray(apply_jit(changes, images, BILINEAR))).max() < 255 * 0.2
    assert np.abs(near - image).max() > 255 * 0.3


def test_the_elastic_change_and_the_perspective_join_the_bilinear_ones():
    changes = make_changes(noise=NOISE, shift=np.full((50, 2), 2, np.int32))
    moved = np.pad(IMAGES, ((0, 0), (2, 0), (2, 0)))[:, :28, :28]
    ours, expected = apply_jit(changes, IMAGES, BILINEAR), elastic_jit(moved, NOISE, 10.0, 3.0)
    # But for what the shift moved out of the image and the elastic change would bring back.
    np.testing.assert_allclose(ours[:, :24, :24] / 255, expected[:, :24, :24] / 255, atol=1e-4)
    inward = np.random.default_rng(5).integers(0, 3, (50, 4, 2)).astype(np.int32)
    ours = np.asarray(
        apply_jit(make_changes(inward=inward, degrees=np.zeros(50, np.float32)), IMAGES, BILINEAR)
    )
    np.testing.assert_array_equal(ours, perspective_jit(IMAGES, inward))
