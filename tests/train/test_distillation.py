"""Learning from a teacher: its part of the objective, and the teachers that are refused."""

import dataclasses
import shutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmnist import train
from jaxmnist.augment import normalise
from jaxmnist.config import Distillation, Recipe
from jaxmnist.config.run import RunConfig, run_config
from jaxmnist.errors import CheckpointError, UsageError
from jaxmnist.optim import make_optimizer
from jaxmnist.runs.folder import RESULTS, read_config, write_json
from jaxmnist.runs.teacher import open_teacher
from jaxmnist.train.batch import Batch
from jaxmnist.train.loss import Teacher, distilled
from jaxmnist.training import checked_config
from tests.resealed import reseal
from tests.small_network import Small


def softmax(x):
    powers = np.exp(x - x.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_the_objective_is_the_one_of_the_publication_over_the_images_that_count():
    random = np.random.default_rng(0)
    outputs, teachers = random.normal(size=(2, 5, 10)).astype(np.float32)
    mask = np.array([1, 1, 0, 1, 0], np.float32)
    outputs[2] = np.nan
    batch = Batch(jnp.zeros((5, 28, 28), jnp.uint8), jnp.zeros(5, jnp.int32), jnp.asarray(mask))
    given = distilled(
        jnp.float32(7), jnp.asarray(outputs), jnp.asarray(teachers), batch, Distillation("t", 0.25, 3.0)
    )
    counted = mask > 0
    cross_entropy = -(softmax(teachers / 3) * np.log(softmax(outputs / 3))).sum(1)[counted].sum()
    assert float(given) == pytest.approx(0.75 * 7 + 0.25 * 9 * cross_entropy, rel=1e-6)
    # Log-probabilities, which some networks give, are as good as logits.
    shifted = distilled(
        jnp.float32(7),
        jnp.asarray(outputs) - 4,
        jnp.asarray(teachers) + 2,
        batch,
        Distillation("t", 0.25, 3.0),
    )
    assert float(shifted) == pytest.approx(float(given), rel=1e-5)


def test_a_step_learns_from_the_teacher_and_reports_the_loss_against_the_labels():
    random = np.random.default_rng(0)
    images = jnp.asarray(random.integers(0, 256, (8, 28, 28), np.uint8))
    batch = Batch(images, jnp.arange(8, dtype=jnp.int32), jnp.ones(8))
    plain = Recipe("plain", learning_rate=0.5)
    model: Any = Small(dropout=0.0)
    optimizer, keys = make_optimizer(plain), train.Keys.from_seed(0)
    state = train.create_state(keys.init, model, optimizer, plain)
    variables = train.create_state(train.Keys.from_seed(1).init, model, optimizer, plain).variables
    teachers_recipe = dataclasses.replace(plain, mean=0.5, std=0.25, deskew=True)
    teacher = Teacher(model, jax.device_get(variables), teachers_recipe)
    setup = {"key": keys.step, "model": model, "optimizer": optimizer}
    after, sums = train.train_step(state, batch, recipe=plain, **setup)
    whole = dataclasses.replace(plain, distillation=Distillation("t", weight=1.0, temperature=1.0))
    taught, same_sums = train.train_step(state, batch, recipe=whole, teacher=teacher, **setup)
    assert float(same_sums.loss_sum) == pytest.approx(float(sums.loss_sum), rel=1e-6)

    def from_teacher(params):
        normalised = normalise(images, plain)
        outputs, _ = model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            normalised,
            train=True,
            mask=batch.mask,
            mutable=["batch_stats"],
        )
        seen = model.apply(variables, normalise(images, teachers_recipe))
        return -(jax.nn.softmax(seen) * jax.nn.log_softmax(outputs)).sum(1).mean()

    gradient = jax.grad(from_teacher)(state.params)
    expected = jax.tree.map(lambda value, slope: value - 0.5 * slope, state.params, gradient)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), taught.params, expected)
    moved = [
        not np.allclose(a, b)
        for a, b in zip(*map(jax.tree.leaves, (taught.params, after.params)), strict=True)
    ]
    assert any(moved)


def taught_by(run, select_on, fingerprint):
    recipe = Recipe("taught", distillation=Distillation(str(run)))
    return RunConfig("second", recipe, "digits", 1, select_on, fingerprint)


@pytest.fixture
def teacher_run(tiny_run, tmp_path):
    """A complete run with `--select-on val`, for a test to change."""
    return shutil.copytree(tiny_run, tmp_path / "teacher")


def test_a_teacher_is_the_best_of_its_run_and_opened_once(teacher_run):
    config = taught_by(teacher_run, "val", read_config(teacher_run).data_fingerprint)
    teacher = open_teacher(config)
    assert teacher is not None
    assert teacher.recipe == read_config(teacher_run).recipe
    assert teacher.outputs(jnp.zeros((2, 28, 28), jnp.uint8)).shape == (2, 10)
    assert open_teacher(config) is teacher
    assert open_teacher(dataclasses.replace(config, recipe=Recipe("alone"))) is None


def test_with_folds_a_teacher_must_have_held_out_the_same_images(teacher_run):
    its = dataclasses.replace(read_config(teacher_run), folds=3)
    reseal(teacher_run, {"folds": 3})
    ours = dataclasses.replace(
        taught_by(teacher_run, "val", its.data_fingerprint), folds=3, seed=its.seed + 3
    )
    assert open_teacher(ours) is not None
    for other in (dataclasses.replace(ours, seed=its.seed + 1), dataclasses.replace(ours, folds=None)):
        with pytest.raises(UsageError, match="has seen images that are held out here"):
            open_teacher(other)


@pytest.mark.parametrize("its", ["val", "test", "last"])
@pytest.mark.parametrize("ours", ["val", "test", "last"])
def test_what_judges_a_run_its_teacher_must_not_have_seen(teacher_run, its, ours):
    config = dataclasses.replace(read_config(teacher_run), select_on=its)
    reseal(teacher_run, {"select_on": its})
    write_json(teacher_run / RESULTS, {})
    ours_config = taught_by(teacher_run, ours, config.data_fingerprint)
    if its in ("val", ours) or ours == "test":
        assert open_teacher(ours_config) is not None
    else:
        with pytest.raises(
            UsageError,
            match=f"--select-on {its}, so it has seen images that judge a run with --select-on {ours}",
        ):
            open_teacher(ours_config)


def test_no_run_an_unfinished_one_and_other_data_are_refused(teacher_run, tmp_path):
    config = taught_by(teacher_run, "val", "other")
    with pytest.raises(UsageError, match="was trained on other data"):
        open_teacher(config)
    (teacher_run / RESULTS).unlink()
    with pytest.raises(CheckpointError, match="not the folder of a complete run"):
        open_teacher(config)
    with pytest.raises(CheckpointError, match="not the folder of a complete run"):
        open_teacher(taught_by(tmp_path / "nothing", "val", "other"))


def test_a_teacher_is_named_in_a_configuration_from_where_it_is_read(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    values = {"recipe": {"name": "flagship", "distillation": {"teacher": "runs/large", "weight": 0.3}}}
    config = checked_config(values, {})
    assert config.recipe.distillation == Distillation(str(tmp_path / "runs" / "large"), weight=0.3)
    with pytest.raises(UsageError, match="has a distillation without a teacher"):
        run_config({"recipe": {"distillation": {"weight": 0.3}}})
    with pytest.raises(UsageError, match=r"weight=0\.0, which must be above 0"):
        run_config({"recipe": {"distillation": {"teacher": "runs/large", "weight": 0}}})
    with pytest.raises(UsageError, match=r"temperature=0\.0"):
        run_config({"recipe": {"distillation": {"teacher": "runs/large", "temperature": 0}}})
