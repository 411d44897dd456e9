"""Statistics over seeds: against hand-computed examples and SciPy's tests."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from jaxmnist.experiments.statistics import (
    between_seeds,
    by_seed,
    mcnemar,
    over_images,
    share_settled,
    summarise,
)


def test_a_summary_is_what_a_table_of_student_s_t_gives():
    # Deviations -2, 0, 1, 1: sum of squares 6, sd sqrt(6 / 3); t for 3 degrees of freedom is 3.182446.
    found = summarise([97.0, 99.0, 100.0, 100.0])
    assert (found.count, found.mean, found.minimum, found.maximum) == (4, 99.0, 97.0, 100.0)
    assert found.standard_deviation == pytest.approx(2**0.5)
    half = 3.182446305 * 2**0.5 / 2
    assert (found.low, found.high) == pytest.approx((99.0 - half, 99.0 + half))


def test_one_seed_has_no_interval():
    found = summarise([99.0])
    assert (found.mean, found.standard_deviation, found.low, found.high) == (99.0, None, None, None)


def test_a_seed_is_settled_when_all_of_its_last_five_epochs_reach_the_threshold():
    curves = [[10.0, 99.4, 99.4, 99.5, 99.4, 99.41], [99.5, 99.3, 99.5, 99.5, 99.5, 99.5], [99.9, 99.4]]
    assert share_settled(curves, 99.4) == pytest.approx(2 / 3)


def test_independent_seeds_are_tested_by_welch_and_common_ones_in_pairs():
    random = np.random.default_rng(0)
    a, b = random.normal(99.4, 0.05, 7).tolist(), random.normal(99.5, 0.2, 5).tolist()
    found = between_seeds(a, b)
    expected: Any = stats.ttest_ind(a, b, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert (found.p_value, found.low, found.high) == pytest.approx((expected.pvalue, *interval))
    assert found.mean == pytest.approx(np.mean(a) - np.mean(b))
    found = by_seed(a[:5], b)
    expected = stats.ttest_rel(a[:5], b)
    interval = expected.confidence_interval(0.95)
    assert (found.p_value, found.low, found.high) == pytest.approx((expected.pvalue, *interval))


def test_what_cannot_be_tested_has_no_p_value():
    assert between_seeds([99.0], [98.0, 98.5]).p_value is None
    assert between_seeds([99.0, 99.0], [98.0, 98.0]).p_value is None
    assert by_seed([99.0, 98.0], [98.0, 97.0]).p_value is None


def test_images_are_tested_by_random_signs():
    # The sides differ on ten images, nine times in favour of the first: exactly, 22 of the 1,024 signs are as far.
    first, second = np.ones((2, 100), bool), np.ones((3, 100), bool)
    second[:, :9] = False
    first[:, 9] = False
    found = over_images(first, second)
    assert (found.mean, found.count) == (8.0, 10)
    assert found.p_value == pytest.approx(22 / 1024, abs=0.005)
    assert over_images(first, first).p_value is None


def test_seeds_of_a_side_are_not_counted_as_more_images():
    random = np.random.default_rng(1)
    first, second = random.random((1, 500)) < 0.95, random.random((1, 500)) < 0.93
    once, often = over_images(first, second), over_images(np.tile(first, (9, 1)), np.tile(second, (9, 1)))
    assert (once.mean, once.p_value) == pytest.approx((often.mean, often.p_value))


def test_mcnemars_p_value_is_that_of_the_binomial_distribution():
    assert mcnemar(1, 7) == pytest.approx(2 * (1 + 8) / 2**8)
    assert mcnemar(5, 0) == pytest.approx(2 / 2**5)
    assert mcnemar(3, 3) == mcnemar(0, 0) == 1.0
