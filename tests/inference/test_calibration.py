"""Calibration: the temperature is the likeliest one, and confidences are right as often as they say."""

import shutil

import jax
import numpy as np
import pytest
from scipy.special import log_softmax

from jaxmnist.data import load_dataset
from jaxmnist.errors import CheckpointError
from jaxmnist.inference.calibration import Bin, expected_calibration_error, reliability
from jaxmnist.inference.classifier import load
from jaxmnist.runs.calibration import CALIBRATION, calibrate_run, fit_temperature, read_temperature
from jaxmnist.runs.restore import restore_run
from jaxmnist.train.network import calibrated


def drawn(temperature, count=20_000):
    """Log-probabilities of logits that were multiplied by a temperature after the labels were drawn from them."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (count, 10))
    chances = np.exp(log_softmax(logits, axis=1)).cumsum(1)
    labels = (chances < random.random((count, 1))).sum(1).clip(0, 9).astype(np.int32)
    return log_softmax(temperature * logits, axis=1).astype(np.float32), labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_temperature_that_was_put_in_is_found_and_the_error_goes(temperature):
    log_probs, labels = drawn(temperature)
    found = fit_temperature(log_probs, labels)
    assert found == pytest.approx(temperature, rel=0.03)
    shares = calibrated(log_probs, found)
    assert shares.sum(1) == pytest.approx(np.ones(len(shares)), abs=1e-5)
    np.testing.assert_array_equal(shares.argmax(1), log_probs.argmax(1))

    def error(probabilities):
        return expected_calibration_error(
            reliability(probabilities.max(1), probabilities.argmax(1) == labels)
        )

    assert error(shares) < 0.02
    assert temperature == 1 or error(shares) < error(np.exp(log_probs)) / 3


def test_bins_are_those_of_the_paper():
    confidences = np.array([0.5, 0.52, 0.95, 1.0], np.float32)
    bins = reliability(confidences, np.array([True, False, True, True]))
    assert [part.examples for part in bins] == [2, 2]
    assert [round(part.low * 15) for part in bins] == [7, 14]
    assert expected_calibration_error(bins) == pytest.approx((2 * 0.01 + 2 * 0.025) / 4, abs=1e-6)


def test_the_calibration_error_weighs_bins_by_their_predictions():
    bins = [Bin(0.4, 3, 0.45, 0.5), Bin(0.9, 1, 0.95, 0.5)]
    assert expected_calibration_error(bins) == pytest.approx((3 * 0.05 + 0.45) / 4)


def test_a_run_keeps_its_temperature_for_the_weights_it_belongs_to(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    digits, device = load_dataset("digits"), jax.devices("cpu")[0]
    network = restore_run(run, "best", device)
    found = calibrate_run(run, network, digits)
    assert found is not None
    assert found.temperature != 1
    again = restore_run(run, "best", device)
    assert again.temperature == found.temperature
    shares = load(run, device="cpu").predict(digits.test_images[:3]).probabilities
    expected = calibrated(network.predict(digits.test_images[:3])[1], found.temperature)
    np.testing.assert_array_equal(shares, expected)
    assert read_temperature(run, found.step + 1) == 1


def test_a_changed_calibration_is_refused(tmp_path):
    assert read_temperature(tmp_path, 1) == 1
    (tmp_path / CALIBRATION).write_text('{"temperature": 9, "step": 1, "examples": 5, "seal": "0"}')
    with pytest.raises(CheckpointError, match=r"calibration\.json is damaged .*delete it"):
        read_temperature(tmp_path, 1)
