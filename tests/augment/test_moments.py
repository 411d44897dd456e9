"""Tests of changes by moments: agreement with NumPy, and odd images that must stay as they are."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmnist import ops
from jaxmnist.augment import moments, normalise, views
from jaxmnist.config import get_recipe
from jaxmnist.data import load_dataset
from jaxmnist.inference.model_card import IN_NUMPY


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits").test_images[:100]


def deskew(images):
    return np.asarray(moments.deskew(jnp.asarray(images, jnp.float32)))


def rescale(images):
    return np.asarray(moments.rescale(jnp.asarray(images, jnp.float32)))


def by_card(name, images, *numbers):
    """Changes images with the function that the model card shows."""
    names: dict = {"np": np}
    exec(IN_NUMPY[name], names)
    return np.stack([names[name](image, *numbers) for image in images])


def spreads(image):
    """Centre of mass, from the middle, and standard deviation of the ink, of the height and of the width."""
    at, ink = np.arange(28) - 13.5, image.astype(np.float64)
    profiles = [ink.sum(1) / ink.sum(), ink.sum(0) / ink.sum()]
    centres = [profile @ at for profile in profiles]
    return centres, [
        (profile @ (at - centre) ** 2) ** 0.5 for profile, centre in zip(profiles, centres, strict=True)
    ]


def lean(image):
    """Slope of the principal axis: pixels to the right per pixel down."""
    ink = image.astype(np.float64)
    y, x = (
        np.arange(side) - np.average(np.arange(side), weights=ink.sum(axis))
        for side, axis in ((28, 1), (28, 0))
    )
    return (y[:, None] * x * ink).sum() / (y[:, None] ** 2 * ink).sum()


def tilted(images, degrees=8.0):
    return np.asarray(views.tilted(jnp.asarray(images, jnp.float32), degrees))


@pytest.mark.parametrize(
    ("name", "function", "numbers"),
    [("deskew", deskew, ()), ("rescale", rescale, ()), ("tilt", tilted, (8.0,)), ("tilt", tilted, (-30.0,))],
)
def test_the_numpy_of_the_model_card_agrees(digits, name, function, numbers):
    expected = by_card(name, digits, *numbers)
    assert np.abs(expected - digits).max() > 100
    np.testing.assert_allclose(function(digits, *numbers), expected, rtol=0, atol=1e-2)


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
    compiled = jax.jit(moments.deskew, compiler_options=ops.compiler_options(jax.devices()[0]))
    np.testing.assert_allclose(compiled(images), deskew(images), rtol=0, atol=1e-3)


def rectangle(rows, columns):
    image = np.zeros((1, 28, 28), np.float32)
    image[0, rows, columns] = 200
    return image


@pytest.mark.parametrize(
    ("rows", "columns"), [(slice(8, 20), slice(6, 22)), (slice(1, 25), slice(3, 11))], ids=["wide", "high"]
)
def test_height_and_width_become_those_of_the_others(rows, columns):
    (y, x), (height, width) = spreads(rescale(rectangle(rows, columns))[0])
    assert max(abs(x), abs(y)) < 0.05
    # Interpolation adds to the spread of short sides.
    assert (height, width) == (pytest.approx(5.2, abs=0.1), pytest.approx(3.4, abs=0.1))


def test_a_thin_digit_grows_to_the_limit_only():
    image = rectangle(slice(4, 22), slice(12, 15))
    before, after = spreads(image[0])[1][1], spreads(rescale(image)[0])[1][1]
    assert before < 3.4 * 0.5
    assert before / 0.55 < after < 1.2 * before / 0.55  # interpolation adds to it


def test_a_level_line_goes_down_to_the_right_when_tilted():
    line = tilted(rectangle(slice(13, 15), slice(0, 28)), np.degrees(np.arctan(0.5)))[0]
    rows = np.arange(28) @ line / line.sum(0)
    np.testing.assert_allclose(np.diff(rows), 0.5, atol=1e-5)
    assert rows.mean() == pytest.approx(13.5)


def test_blank_images_stay_blank_and_single_pixels_finite_when_rescaled():
    images = np.zeros((2, 28, 28), np.float32)
    images[1, 0, 27] = 255
    blank, single = rescale(images)
    assert not blank.any()
    assert np.isfinite(single).all()


@pytest.mark.parametrize(
    "used", [("deskew",), ("rescale",), ("deskew", "rescale")], ids=["deskew", "rescale", "both"]
)
def test_normalise_uses_moments_as_the_recipe_says(digits, used):
    plain = dataclasses.replace(get_recipe("flagship"), deskew=False, rescale=False)
    recipe, images, changed = plain, jnp.asarray(digits), digits.astype(np.float32)
    for name, function in (("deskew", deskew), ("rescale", rescale)):
        if name in used:
            recipe, changed = dataclasses.replace(recipe, **{name: True}), function(changed)
    np.testing.assert_allclose(
        normalise(images, recipe), normalise(jnp.asarray(changed), plain), rtol=0, atol=1e-6
    )
    assert np.abs(np.asarray(normalise(images, recipe) - normalise(images, plain))).max() > 1
