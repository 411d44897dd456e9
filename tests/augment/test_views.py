"""Scores over several views: the mean for the image and for it tilted to either side, everywhere but in training."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmnist import train
from jaxmnist.augment.views import scores
from jaxmnist.config import get_recipe
from jaxmnist.inference.model_card import IN_NUMPY
from tests.exported_networks import made, network_of

PLAIN = dataclasses.replace(get_recipe("flagship"), tilt=0.0)
TILTED = dataclasses.replace(PLAIN, tilt=12.0)


def by_card(images):
    """The image as it is and tilted to either side, by the function that the model card shows."""
    names: dict = {"np": np}
    exec(IN_NUMPY["tilt"], names)
    return [np.stack([names["tilt"](image, degrees) for image in images]) for degrees in (0, -12, 12)]


@pytest.fixture(scope="module")
def digits():
    return made("flagship").images


@pytest.fixture(scope="module")
def expected(digits):
    """Log-probabilities from the mean scores of the three views, each by the recipe without a tilt."""
    network = network_of("flagship")._replace(recipe=PLAIN)
    views = [network.predict(view.astype(np.float32))[1] for view in by_card(digits)]
    assert np.abs(views[0] - views[1]).max() > 1e-3
    return np.asarray(jax.nn.log_softmax(np.mean(views, 0)))


def test_a_prediction_is_the_mean_over_the_views(digits, expected):
    predictions, log_probs = network_of("flagship")._replace(recipe=TILTED).predict(digits)
    np.testing.assert_allclose(log_probs, expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(predictions, expected.argmax(1))


def test_an_evaluation_is_of_the_mean_over_the_views(digits, expected):
    network, labels = network_of("flagship"), np.arange(len(digits)) % 10
    batch = train.Batch(jnp.asarray(digits), jnp.asarray(labels, jnp.int32), jnp.ones(len(digits)))
    state = train.TrainState(jnp.int32(0), **network.variables, opt_state=None, bad_steps=jnp.int32(0))
    sums, _ = train.eval_step(state, batch, model=network.model, recipe=TILTED)
    assert float(sums.loss_sum) == pytest.approx(-expected[np.arange(len(labels)), labels].sum(), rel=1e-5)
    assert int(sums.correct) == (expected.argmax(1) == labels).sum()


def test_without_a_tilt_the_network_sees_an_image_once(digits):
    calls = []
    scores(lambda images: calls.append(images) or images[:, 0, :, 0], jnp.asarray(digits), PLAIN)
    assert len(calls) == PLAIN.views == 1
