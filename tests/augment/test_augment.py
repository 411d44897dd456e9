"""Tests of augmentation: pixels equal Pillow's, draws follow the recipe, images do not affect each other."""

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxmnist.augment import augment, draw, nearest, normalise, strength_at
from jaxmnist.augment.bilinear import elastic
from jaxmnist.config import Augmentation, get_recipe
from jaxmnist.data import load_dataset
from tests.augment.test_bilinear import scipy_elastic
from tests.augment.test_nearest import (
    affine_jit,
    perspective_jit,
    pillow_affine,
    pillow_perspective,
    translate_jit,
)

FIRST = get_recipe("first").augmentation
augment_jit = jax.jit(augment, static_argnums=2)


@partial(jax.jit, static_argnums=2)
def rotate_jit(images, degrees, fill):
    return nearest.copy_pixels(images, [(nearest.rotation(degrees), fill)])


@pytest.fixture(scope="module")
def digits(mnist_dir):
    """Returns 200 real test digits, uint8 [200, 28, 28]."""
    return load_dataset("mnist", mnist_dir).test_images[:200]


@pytest.fixture(scope="module")
def noise():
    """Returns 200 images of noise, in which no wrong copy goes unnoticed; uint8 [200, 28, 28]."""
    return np.random.default_rng(0).integers(1, 256, (200, 28, 28)).astype(np.uint8)


def pillow_rotate(images, degrees, fill):
    turned = [
        Image.fromarray(image).rotate(float(angle), Image.Resampling.NEAREST, fillcolor=fill)
        for image, angle in zip(images, degrees, strict=True)
    ]
    return np.stack([np.asarray(image) for image in turned])


def pillow_translate(images, shift):
    """Translates as torchvision's RandomAffine(translate=...) does on PIL images: inverse matrix, filled with 0."""
    moved = [
        Image.fromarray(image).transform(
            image.shape,
            Image.Transform.AFFINE,
            (1.0, 0.0, -float(right), 0.0, 1.0, -float(down)),
            Image.Resampling.NEAREST,
            fillcolor=0,
        )
        for image, (right, down) in zip(images, shift, strict=True)
    ]
    return np.stack([np.asarray(image) for image in moved])


def random_angles(limit, seed):
    return np.random.default_rng(seed).uniform(-limit, limit, 200).astype(np.float32)


def random_shifts(limit, seed):
    return np.random.default_rng(seed).integers(-limit, limit + 1, (200, 2)).astype(np.int32)


@pytest.mark.parametrize(("limit", "fill"), [(7, 1), (8, 1), (15, 0), (180, 255), (1000, 3)])
@pytest.mark.parametrize("source", ["digits", "noise"])
def test_rotation_agrees_with_pillow(source, limit, fill, request):
    images = request.getfixturevalue(source)
    equal = []
    for seed in range(5):
        degrees = random_angles(limit, seed)
        equal.append(np.asarray(rotate_jit(images, degrees, fill)) == pillow_rotate(images, degrees, fill))
    # Required: 99.9 %. Measured over 16 million pixels of noise: all but 1.5 in a million up to 15 degrees.
    assert np.mean(equal) >= 0.99999


@pytest.mark.parametrize("angle", [0, 45, -45, 90, -90, 180, -180, 270, 360, 1e-3])
def test_rotation_equals_pillow_where_pixel_borders_meet_exactly(noise, angle):
    degrees = np.full(200, angle, np.float32)
    np.testing.assert_array_equal(rotate_jit(noise, degrees, 9), pillow_rotate(noise, degrees, 9))


def test_a_positive_angle_turns_counter_clockwise():
    bar = np.zeros((1, 28, 28), np.uint8)
    bar[0, 2, 14] = 255  # near the top, so a quarter turn brings it to the left
    turned = rotate_jit(np.repeat(bar, 200, 0), np.full(200, 90, np.float32), 0)
    assert turned[0, 13, 2] == 255


@pytest.mark.parametrize("limit", [3, 40])
def test_translation_equals_pillow(noise, limit):
    shift = random_shifts(limit, 1)
    np.testing.assert_array_equal(translate_jit(noise, shift), pillow_translate(noise, shift))


def test_a_shift_moves_right_and_down(noise):
    moved = translate_jit(noise, np.tile(np.array([2, 3], np.int32), (200, 1)))
    np.testing.assert_array_equal(moved[:, 3:, 2:], noise[:, :-3, :-2])
    assert not moved[:, :3].any()
    assert not moved[:, :, :2].any()


def draws(key, count, augmentation):
    """Draws the angles and shifts of `augment` for this key, image by image."""

    def draw(position):
        return jax.random.uniform(jax.random.fold_in(key, position), (3,), minval=-1.0, maxval=1.0)

    uniform = jax.lax.map(draw, jnp.arange(count, dtype=jnp.int32))
    shift = jnp.round(uniform[:, 1:] * (augmentation.translation * 28)).astype(jnp.int32)
    return uniform[:, 0] * augmentation.rotation, shift


@pytest.mark.parametrize(
    "augmentation",
    [
        FIRST,
        Augmentation(rotation=30.0, rotation_fill=77, translation=0.3),
        Augmentation(rotation=5.0, rotation_fill=9, translation=1.0),
    ],
)
def test_both_changes_in_one_gather_equal_one_after_the_other(noise, augmentation):
    key = jax.random.key(3)
    degrees, shift = draws(key, 200, augmentation)
    in_turn = translate_jit(rotate_jit(noise, degrees, augmentation.rotation_fill), shift)
    np.testing.assert_array_equal(augment_jit(key, noise, augmentation), in_turn)


def test_the_recipe_of_the_first_family_agrees_with_pillow_from_end_to_end(digits):
    key = jax.random.key(4)
    degrees, shift = draws(key, 200, FIRST)
    reference = pillow_translate(pillow_rotate(digits, np.asarray(degrees), 1), np.asarray(shift))
    assert np.mean(np.asarray(augment_jit(key, digits, FIRST)) == reference) >= 0.99999


def test_no_augmentation_returns_the_very_same_array(noise):
    images = jnp.asarray(noise)
    assert augment(jax.random.key(0), images, Augmentation(rotation_fill=5)) is images
    program = jax.make_jaxpr(lambda key, images: augment(key, images, Augmentation()))(
        jax.random.key(0), images
    )
    assert not program.eqns


@pytest.mark.parametrize(
    "augmentation", [Augmentation(rotation=8.0, rotation_fill=1), Augmentation(translation=0.1), FIRST]
)
def test_the_same_key_gives_the_same_images_and_another_key_gives_others(noise, augmentation):
    one = np.asarray(augment_jit(jax.random.key(1), noise, augmentation))
    np.testing.assert_array_equal(one, augment_jit(jax.random.key(1), noise, augmentation))
    assert np.mean(one != np.asarray(augment_jit(jax.random.key(2), noise, augmentation))) > 0.5


def test_padding_a_batch_changes_none_of_its_images(noise):
    key = jax.random.key(5)
    whole = np.asarray(augment_jit(key, noise, FIRST))
    for batch in (1, 33):
        np.testing.assert_array_equal(augment_jit(key, noise[:batch], FIRST), whole[:batch])


def test_what_rotation_brings_in_is_its_fill_and_what_translation_brings_in_is_black():
    white = np.full((200, 28, 28), 255, np.uint8)
    turned = np.asarray(augment_jit(jax.random.key(0), white, Augmentation(rotation=8.0, rotation_fill=1)))
    assert set(np.unique(turned)) == {1, 255}
    moved = np.asarray(augment_jit(jax.random.key(0), white, Augmentation(translation=0.1)))
    assert set(np.unique(moved)) == {0, 255}
    both = np.asarray(augment_jit(jax.random.key(0), white, FIRST))
    assert set(np.unique(both)) == {0, 1, 255}


def observed_shifts(key, count, translation):
    """Reads shifts off the images themselves, by the place of one white pixel; [count, 2]."""
    dot = np.zeros((count, 28, 28), np.uint8)
    dot[:, 14, 14] = 255
    moved = np.asarray(augment_jit(key, dot, Augmentation(translation=translation)))
    position = moved.reshape(count, -1).argmax(1)
    return np.stack([position % 28, position // 28], axis=1) - 14


def test_shifts_are_rounded_uniform_draws_with_a_rarer_last_one():
    count = 20_000
    shifts = observed_shifts(jax.random.key(6), count, 0.1)
    # round(uniform +-2.8): 3 collects 2.5 to 2.8 only, every other shift a whole pixel.
    expected = {shift: (0.3 if abs(shift) == 3 else 1.0) / 5.6 for shift in range(-3, 4)}
    for axis in range(2):
        values, counts = np.unique(shifts[:, axis], return_counts=True)
        assert values.tolist() == list(expected)
        for value, seen in zip(values.tolist(), counts.tolist(), strict=True):
            share = expected[value]
            assert abs(seen / count - share) < 4.5 * math.sqrt(share * (1 - share) / count)


def test_the_axes_of_a_shift_are_independent():
    count = 20_000
    shifts = observed_shifts(jax.random.key(7), count, 0.1)
    together = np.histogram2d(shifts[:, 0], shifts[:, 1], bins=np.arange(-3.5, 4.5))[0]
    apart = np.outer(together.sum(1), together.sum(0)) / count
    # Chi-squared with 36 degrees of freedom exceeds 75 once in 7,000 times.
    assert ((together - apart) ** 2 / apart).sum() < 75


def test_angles_fill_their_range_evenly_and_do_not_leave_it():
    """The angle of an image is that of the most similar rotations on a grid of 0.1 degrees."""
    count, limit = 2_000, 8.0
    grid = np.linspace(-12.0, 12.0, 241).astype(np.float32)
    image = np.random.default_rng(1).integers(0, 256, (1, 28, 28)).astype(np.uint8)
    turned = np.asarray(
        augment_jit(jax.random.key(8), np.repeat(image, count, 0), Augmentation(rotation=limit))
    )
    references = np.asarray(rotate_jit(np.repeat(image, len(grid), 0), grid, 0))
    different = np.stack([(references != one).sum((1, 2)) for one in turned])
    best = different == different.min(1, keepdims=True)
    angles = (best * grid).sum(1) / best.sum(1)
    assert np.abs(angles).max() == pytest.approx(limit, abs=0.15)
    assert abs(angles.mean()) < 4.5 * limit / math.sqrt(3 * count)
    # Small angles move no pixel and cannot be told apart, so the middle is one bin.
    shares = np.histogram(angles, bins=(-9, -6, -4, 4, 6, 9))[0] / count
    np.testing.assert_allclose(shares, [1 / 8, 1 / 8, 1 / 2, 1 / 8, 1 / 8], atol=0.05)


def test_angle_and_shift_are_independent():
    count = 5_000
    degrees, shift = draws(
        jax.random.key(9), count, Augmentation(rotation=8.0, rotation_fill=1, translation=0.1)
    )
    table = np.corrcoef(np.stack([degrees, shift[:, 0], shift[:, 1]]))
    assert np.abs(table - np.eye(3)).max() < 4.5 / math.sqrt(count)


def test_many_keys_at_once_equal_one_after_the_other(noise):
    keys = jax.random.split(jax.random.key(10), 3)
    images = jnp.asarray(noise[:16])
    together = jax.jit(jax.vmap(lambda key: augment(key, images, FIRST)))(keys)
    in_a_loop = jax.lax.scan(lambda _, key: (None, augment(key, images, FIRST)), None, keys)[1]
    one_by_one = np.stack([np.asarray(augment_jit(key, images, FIRST)) for key in keys])
    np.testing.assert_array_equal(together, one_by_one)
    np.testing.assert_array_equal(in_a_loop, one_by_one)


def test_normalising_scales_then_standardises(digits):
    ours = jax.jit(normalise, static_argnums=1)(digits, get_recipe("first"))
    assert ours.shape == (200, 28, 28, 1)
    assert ours.dtype == jnp.float32
    reference = (digits[..., None] / 255 - 0.1307) / 0.3081
    np.testing.assert_allclose(np.asarray(ours), reference, atol=5e-7)
    # The extremes published for the training images.
    assert f"{ours.min():.4f} {ours.max():.4f}" == "-0.4242 2.8215"


# Every field in use, with a perspective probability and a fill that leave a trace.
EVERYTHING = Augmentation(0.2, 0.3, 8.0, 99, 0.1, 0.15, 10.0, 10.0, 3.0)
ALL_NEAREST = dataclasses.replace(EVERYTHING, elastic=0.0)
draw_jit = jax.jit(draw, static_argnums=(1, 2))


@pytest.fixture(scope="module")
def many_draws():
    """Draws for 20,000 images with all changes but the elastic one."""
    return jax.tree.map(np.asarray, draw_jit(jax.random.key(11), 20_000, ALL_NEAREST))


def test_what_one_field_draws_does_not_depend_on_the_others(many_draws):
    key = jax.random.key(11)
    degrees, shift = draws(key, 200, FIRST)
    np.testing.assert_array_equal(many_draws.degrees[:200], degrees)
    np.testing.assert_array_equal(many_draws.affine.shift[:200], shift)
    alone = draw_jit(key, 200, Augmentation(scale=0.15, elastic=10.0))
    np.testing.assert_array_equal(many_draws.affine.scale[:200], alone.affine.scale)
    assert not alone.affine.shear.any()
    assert not alone.affine.shift.any()
    np.testing.assert_array_equal(alone.noise, draw_jit(key, 200, EVERYTHING).noise)


def test_corners_move_by_all_whole_pixels_alike_in_the_given_share_of_images(many_draws):
    inward = many_draws.inward
    changed = inward.any((1, 2))
    # Of 3^8 moves that are equally likely one leaves all corners where they are.
    assert abs(changed.mean() - 0.3 * (1 - 3**-8)) < 4.5 * math.sqrt(0.3 * 0.7 / 20_000)
    moves = inward[changed].reshape(-1, 8)
    assert sorted(np.unique(moves)) == [0, 1, 2]
    for move in range(3):
        assert np.abs((moves == move).mean(0) - 1 / 3).max() < 4.5 * math.sqrt(2 / 9 / len(moves))
    assert np.abs(np.corrcoef(moves.T) - np.eye(8)).max() < 4.5 / math.sqrt(len(moves))


@pytest.mark.parametrize(("probability", "share"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_the_probability_of_a_perspective_includes_none_and_all(probability, share):
    inward = np.asarray(draw_jit(jax.random.key(12), 2_000, Augmentation(1.0, probability)).inward)
    assert abs(inward.any((1, 2)).mean() - share) <= 4.5 * math.sqrt(share * (1 - share) / 2_000)
    assert inward.max() == (14 if share else 0)  # half the side


def test_scale_and_shear_fill_their_ranges_evenly_and_independently(many_draws):
    scale, shear = many_draws.affine.scale, many_draws.affine.shear
    for values, low, high in ((scale, 0.85, 1.15), (shear, -10, 10)):
        margin = (high - low) / 1_000
        assert low - 1e-6 <= values.min() < low + margin
        assert high - margin < values.max() <= high + 1e-6
        shares = np.histogram(values, bins=10, range=(low - 1e-6, high + 1e-6))[0] / 20_000
        assert np.abs(shares - 0.1).max() < 4.5 * math.sqrt(0.09 / 20_000)
    drawn = np.stack([scale, shear, many_draws.degrees, *many_draws.affine.shift.T])
    assert np.abs(np.corrcoef(drawn) - np.eye(5)).max() < 4.5 / math.sqrt(20_000)


def test_elastic_noise_is_even_and_differs_between_images_and_axes():
    noise = np.asarray(draw_jit(jax.random.key(13), 200, EVERYTHING).noise)
    assert -1 <= noise.min() < -0.999
    assert 0.999 < noise.max() < 1
    shares = np.histogram(noise, bins=20, range=(-1, 1))[0] / noise.size
    assert np.abs(shares - 0.05).max() < 4.5 * math.sqrt(0.0475 / noise.size)
    fields = noise[:50].reshape(100, -1)
    # Of 4,950 pairs the furthest lies within 5 standard errors but for once in 350 times.
    assert np.abs(np.corrcoef(fields) - np.eye(100)).max() < 5 / math.sqrt(784)


def test_all_changes_at_once_equal_one_after_the_other(noise):
    key = jax.random.key(14)
    drawn = draw_jit(key, 200, EVERYTHING)
    images = rotate_jit(perspective_jit(noise, drawn.inward), drawn.degrees, 99)
    images = affine_jit(images, *drawn.affine)
    images = jax.jit(elastic, static_argnums=(2, 3))(images, drawn.noise, 10.0, 3.0)
    # The elastic change computes in float32, whose last bit depends on what it is compiled with.
    np.testing.assert_allclose(augment_jit(key, noise, EVERYTHING), images, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ["dilated", "evolution", "challenge"])
def test_published_recipes_agree_with_pillow_and_scipy_from_end_to_end(digits, name):
    augmentation = get_recipe(name).augmentation
    key = jax.random.key(15)
    drawn = jax.tree.map(np.asarray, draw_jit(key, 200, augmentation))
    images = digits if drawn.inward is None else pillow_perspective(digits, drawn.inward)
    images = pillow_rotate(images, drawn.degrees, augmentation.rotation_fill)
    if drawn.affine is not None:
        images = pillow_affine(images, *drawn.affine)
    if drawn.noise is not None:
        images = scipy_elastic(images, drawn.noise, augmentation.elastic, augmentation.elastic_sigma)
    ours = np.asarray(augment_jit(key, digits, augmentation))
    assert ours.dtype == (np.float32 if augmentation.elastic else np.uint8)
    # Measured: all but 4 pixels of dilated, whose perspective reads between pixels, see test_nearest.py.
    required = 0.9995 if name == "dilated" else 0.99999
    assert np.mean(np.abs(ours - images.astype(float)) < 255e-4) >= required


def test_neither_padding_nor_company_changes_what_happens_to_an_image(noise):
    key = jax.random.key(16)
    whole = np.asarray(augment_jit(key, noise, EVERYTHING))
    company = np.concatenate([noise[:33], np.zeros_like(noise[33:])])
    np.testing.assert_array_equal(augment_jit(key, company, EVERYTHING)[:33], whole[:33])
    np.testing.assert_allclose(augment_jit(key, noise[:33], EVERYTHING), whole[:33], rtol=0, atol=1e-3)


def test_many_keys_at_once_equal_one_after_the_other_for_all_changes(noise):
    keys = jax.random.split(jax.random.key(17), 2)
    images = jnp.asarray(noise)
    together = jax.jit(jax.vmap(lambda key: augment(key, images, EVERYTHING)))(keys)
    in_a_loop = jax.lax.scan(lambda _, key: (None, augment(key, images, EVERYTHING)), None, keys)[1]
    one_by_one = np.stack([np.asarray(augment_jit(key, images, EVERYTHING)) for key in keys])
    np.testing.assert_allclose(together, one_by_one, rtol=0, atol=1e-3)
    np.testing.assert_allclose(in_a_loop, one_by_one, rtol=0, atol=1e-3)


def test_normalising_takes_grey_values_of_both_kinds(digits):
    both = jax.jit(normalise, static_argnums=1)
    for recipe in (get_recipe("first"), get_recipe("flagship")):
        np.testing.assert_array_equal(both(digits, recipe), both(digits.astype(np.float32), recipe))


def test_a_fading_augmentation_falls_to_its_end_in_the_last_share_of_the_steps():
    fading = Augmentation(rotation=8.0, fade=0.5, fade_to=0.2)
    found = [float(strength_at(fading, jnp.int32(step), 8) or 0.0) for step in range(8)]
    np.testing.assert_allclose(found, [1, 1, 1, 1, 1, 0.8, 0.6, 0.4], rtol=1e-6)
    assert strength_at(Augmentation(rotation=8.0), jnp.int32(3), None) is None
    with pytest.raises(ValueError, match="needs total_steps"):
        strength_at(fading, jnp.int32(3), None)


def test_strength_multiplies_every_limit_and_full_strength_changes_nothing():
    key = jax.random.key(3)
    whole, half = (draw_jit(key, 300, EVERYTHING, jnp.float32(strength)) for strength in (1.0, 0.5))
    plain = draw_jit(key, 300, EVERYTHING)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), whole, plain)
    np.testing.assert_allclose(half.degrees, 0.5 * np.asarray(plain.degrees), rtol=1e-5)
    np.testing.assert_allclose(half.affine.shear, 0.5 * np.asarray(plain.affine.shear), rtol=1e-5)
    np.testing.assert_allclose(half.affine.scale - 1, 0.5 * np.asarray(plain.affine.scale - 1), atol=1e-6)
    np.testing.assert_allclose(half.noise, 0.5 * np.asarray(plain.noise), rtol=1e-5)
    assert np.abs(half.affine.shift).max() == 1  # of 0.05 x 28 = 1.4
    assert half.inward.max() == 1
