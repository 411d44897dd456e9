"""Tests of deskewing: agreement with NumPy, and odd images that must stay as they are."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmnist import ops
from jaxmnist.augment import normalise
from jaxmnist.augment.deskew import deskew as deskew_batch
from jaxmnist.config import get_recipe
from jaxmnist.data import load_dataset
from jaxmnist.inference.model_card import DESKEW_IN_NUMPY


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits").test_images[:100]


def deskew(images):
    return np.asarray(deskew_batch(jnp.asarray(images, jnp.float32)))


def by_card(image):
    """Deskews with the function that the model card shows."""
    names: dict = {}
    exec(DESKEW_IN_NUMPY, names)
    return names["deskew"](image)


def lean(image):
    """Slope of the principal axis: pixels to the right per pixel down."""
    ink = image.astype(np.float64)
    y, x = (
        np.arange(side) - np.average(np.arange(side), weights=ink.sum(axis))
        for side, axis in ((28, 1), (28, 0))
    )
    return (y[:, None] * x * ink).sum() / (y[:, None] ** 2 * ink).sum()


def test_deskewing_agrees_with_the_numpy_of_the_model_card(digits):
    expected = np.stack([by_card(image) for image in digits])
    assert np.abs(expected - digits).max() > 100
    np.testing.assert_allclose(deskew(digits), expected, rtol=0, atol=1e-2)


def test_leaning_digits_become_upright(digits):
    leaning = np.array([lean(image) for image in digits])
    assert np.abs(leaning).max() > 0.2
    upright = deskew(digits)
    assert max(abs(lean(image)) for image in upright) < 0.02
    np.testing.assert_allclose(upright.sum((1, 2)), digits.sum((1, 2)), rtol=1e-5)


def test_an_upright_image_stays_as_it_is():
    image = np.zeros((1, 28, 28), np.float32)
    image[0, 4:24, 11:17] = 200
    np.testing.assert_allclose(deskew(image), image, atol=1e-3)


@pytest.mark.parametrize(
    "rows", [slice(0, 0), slice(5, 6), slice(0, 28)], ids=["blank", "one row", "all ink"]
)
def test_images_without_an_axis_stay_as_they_are(rows):
    image = np.zeros((1, 28, 28), np.float32)
    image[0, rows] = 255
    np.testing.assert_allclose(deskew(image), image, atol=1e-2)


def test_rows_move_ten_pixels_at_most():
    image = np.zeros((1, 28, 28), np.float32)
    image[0, 13, 2:26] = image[0, 14, 2:26] = 10
    image[0, 0, 0] = image[0, 27, 27] = 255
    moved = deskew(image)[0]
    assert np.flatnonzero(moved[0] > 1).tolist() == [10]
    assert np.flatnonzero(moved[27] > 1).tolist() == [17]


def test_the_compiler_options_of_training_change_nothing(digits):
    images = jnp.asarray(digits[:64], jnp.float32)
    compiled = jax.jit(deskew_batch, compiler_options=ops.compiler_options(jax.devices()[0]))
    np.testing.assert_allclose(compiled(images), deskew(images), rtol=0, atol=1e-3)


def test_normalise_deskews_if_the_recipe_says_so(digits):
    recipe = get_recipe("flagship")
    plain = dataclasses.replace(recipe, deskew=False)
    assert recipe.deskew
    images, upright = jnp.asarray(digits), deskew(digits)
    np.testing.assert_allclose(
        normalise(images, recipe), normalise(jnp.asarray(upright), plain), rtol=0, atol=1e-6
    )
    assert np.abs(np.asarray(normalise(images, recipe) - normalise(images, plain))).max() > 1
