"""Tests of changes that copy pixels: affine and perspective changes take Pillow's pixels."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxmnist.augment import nearest


def copying(change):
    """Jits a single change: (images, *arguments of the change) -> images."""
    return jax.jit(lambda images, *arguments: nearest.copy_pixels(images, [(change(*arguments), 0)]))


affine_jit, perspective_jit = copying(nearest.affine), copying(nearest.perspective)
translate_jit = copying(nearest.translation)

# Noise, in which no wrong copy goes unnoticed.
NOISE = np.random.default_rng(0).integers(1, 256, (500, 28, 28)).astype(np.uint8)


def pillow(image, method, coefficients):
    changed = Image.fromarray(image).transform((28, 28), method, coefficients, Image.Resampling.NEAREST)
    return np.asarray(changed)


def pillow_affine(images, shift, scale, shear):
    """Changes as torchvision's RandomAffine does on PIL images: inverse of shift, centre, scale, shear, centre."""
    result = []
    for image, (right, down), factor, degrees in zip(images, shift, scale, shear, strict=True):
        to_centre = np.array([[1, 0, 14], [0, 1, 14], [0, 0, 1]], float)
        lean = np.array([[1, -math.tan(math.radians(degrees)), 0], [0, 1, 0], [0, 0, 1 / factor]])
        move = np.array([[1, 0, right], [0, 1, down], [0, 0, 1]], float)
        inverse = np.linalg.inv(move @ to_centre @ lean @ np.linalg.inv(to_centre))
        inverse /= inverse[2, 2]
        result.append(pillow(image, Image.Transform.AFFINE, tuple(inverse[:2].ravel())))
    return np.stack(result)


def perspective_coefficients(moves):
    """Solves as torchvision's RandomPerspective: least squares from the moved corners to the original."""
    start = np.array([[0, 0], [27, 0], [27, 27], [0, 27]], float)
    rows = []
    for (x, y), (u, v) in zip(start + moves * [[1, 1], [-1, 1], [-1, -1], [1, -1]], start, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    return np.linalg.lstsq(np.array(rows), start.ravel(), rcond=None)[0]


def pillow_perspective(images, inward):
    method = Image.Transform.PERSPECTIVE
    return np.stack(
        [
            pillow(image, method, tuple(perspective_coefficients(moves)))
            for image, moves in zip(images, inward, strict=True)
        ]
    )


def true_places(inward):
    """Returns the place in the input of each result pixel's centre, in pixels (x, y); float64 [n, 2, 28, 28]."""
    y, x = np.mgrid[:28, :28] + 0.5
    return np.stack(
        [
            np.stack([a * x + b * y + c, d * x + e * y + f]) / (g * x + h * y + 1)
            for a, b, c, d, e, f, g, h in map(perspective_coefficients, inward)
        ]
    )


def random_affine(count, shift, scale, shear, seed=0):
    random = np.random.default_rng(seed)
    return (
        random.integers(-shift, shift + 1, (count, 2)).astype(np.int32),
        random.uniform(1 - scale, 1 + scale, count).astype(np.float32),
        random.uniform(-shear, shear, count).astype(np.float32),
    )


@pytest.mark.parametrize(
    ("shift", "scale", "shear"), [(3, 0.15, 10), (3, 0.15, 0), (0, 0, 10), (14, 0.6, 60)]
)
def test_affine_changes_agree_with_pillow(shift, scale, shear):
    changes = random_affine(500, shift, scale, shear)
    equal = np.asarray(affine_jit(NOISE, *changes)) == pillow_affine(NOISE, *changes)
    # Required: 99.9 %. Measured: all of these 1.6 million pixels.
    assert equal.mean() >= 0.99999


def test_an_affine_change_without_scale_and_shear_is_the_translation():
    shift, _, _ = random_affine(500, 14, 0, 0)
    moved = affine_jit(NOISE, shift, jnp.ones(500), jnp.zeros(500))
    np.testing.assert_array_equal(moved, translate_jit(NOISE, shift))


EVERY_MOVE = np.array(list(itertools.product(range(3), repeat=8)), np.int32).reshape(-1, 4, 2)


@pytest.mark.parametrize(
    "inward",
    [EVERY_MOVE[::5], np.random.default_rng(1).integers(0, 9, (500, 4, 2)).astype(np.int32)],
    ids=["published", "strong"],
)
def test_perspective_agrees_with_pillow(inward):
    images = np.resize(NOISE, (len(inward), 28, 28))
    ours, places = np.asarray(perspective_jit(images, inward)), true_places(inward)
    equal = ours == pillow_perspective(images, inward)
    on_a_border = (np.abs(places - np.round(places)) < 1e-7).any(1)
    # 0.13 % and 0.16 % differ. NumPy's and LAPACK's solvers of the equations differ as often from each other.
    assert equal[~on_a_border].all()
    assert equal.mean() >= 0.998
    column, row = np.moveaxis(np.floor(places + 1e-7).astype(int), 1, 0)
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    later_pixel = framed[np.arange(len(images))[:, None, None], *np.clip((row + 1, column + 1), 0, 29)]
    np.testing.assert_array_equal(ours, later_pixel)


def test_corners_that_stay_change_nothing():
    np.testing.assert_array_equal(perspective_jit(NOISE, np.zeros((500, 4, 2), np.int32)), NOISE)


def test_corners_are_counted_clockwise_from_the_top_left_one():
    white = np.full((4, 28, 28), 255, np.uint8)
    inward = np.zeros((4, 4, 2), np.int32)
    inward[np.arange(4), np.arange(4)] = 2
    corners = np.asarray(perspective_jit(white, inward))[:, [0, 0, -1, -1], [0, -1, -1, 0]]
    np.testing.assert_array_equal(corners == 0, np.eye(4, dtype=bool))


def test_the_first_number_of_a_corner_moves_it_along_the_row():
    white = np.full((1, 28, 28), 255, np.uint8)
    inward = np.zeros((1, 4, 2), np.int32)
    inward[:, [0, 3], 0] = 2  # both corners on the left, to the right
    changed = np.asarray(perspective_jit(white, inward))
    assert not changed[:, :, :2].any()
    assert changed[:, :, 2:].all()


def test_shear_leans_to_the_right_and_scale_enlarges():
    bar = np.zeros((2, 28, 28), np.uint8)
    bar[:, 4:24, 13:15] = 255
    upright = np.zeros((2, 2), np.int32)
    factors, degrees = np.array([1.0, 1.2], np.float32), np.array([20.0, 0.0], np.float32)
    changed = np.asarray(affine_jit(bar, upright, factors, degrees))
    leaning, larger = changed
    assert leaning[4].argmax() > 15
    assert 0 < leaning[23].argmax() < 12
    np.testing.assert_array_equal(np.flatnonzero(larger.any(1)), np.arange(2, 26))
