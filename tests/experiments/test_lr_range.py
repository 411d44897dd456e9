"""The range test: its rates, its analysis of curves, and no effect on training runs.

A small network with every kind of layer that matters here replaces the published ones, as it compiles in a second.
"""

import dataclasses
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest
from PIL import Image

from jaxmnist import ops, train
from jaxmnist.cli import main as cli
from jaxmnist.cli.find_lr import FindLr
from jaxmnist.cli.train import Train
from jaxmnist.config import RECIPES, RateRange, get_recipe
from jaxmnist.config.run import RunConfig
from jaxmnist.data import load_dataset
from jaxmnist.errors import UsageError
from jaxmnist.experiments import lr_range
from jaxmnist.experiments.lr_range import (
    FROM_NOTHING_ON,
    RangeTest,
    analyse,
    doubt,
    find_learning_rate,
    range_test_of,
)
from jaxmnist.report.plots.lr_range import save_range
from jaxmnist.runtime.devices import select_device
from jaxmnist.train.jit import build_programs
from tests import lr_range_table
from tests.small_network import Small

EVERYTHING = RangeTest(start=0.01, end=1.0, smoothing=1.0, skip_first=0, skip_last=0)
QUICK = RangeTest(start=0.01, end=1.0, steps=30)


MODEL: Any = Small()


@pytest.fixture(scope="module", autouse=True)
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunConfig, "create_model", lambda self: MODEL)
        yield


@pytest.fixture(scope="module")
def device():
    # As in the command, which would otherwise compile everything anew: the default device is part of a program.
    return select_device("cpu")


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="module")
def config(digits):
    # 1,375 of the 1,500 training images train: 22 batches an epoch, the last one padded.
    return RunConfig("second", get_recipe("second"), "digits", 3, "val", digits.fingerprint)


@pytest.fixture(scope="module")
def quick_result(config, digits, device):
    return find_learning_rate(config, digits, device, QUICK)


@pytest.fixture
def call(monkeypatch, capsys, device):
    """Runs the command in this process on digits; returns exit code, standard output, standard error."""

    def run(*arguments):
        options = ("--arch", "second", "--dataset", "digits", "--device", "cpu", "--no-compile-cache")
        monkeypatch.setattr(sys, "argv", ["find_lr", *options, *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main("find_lr")
        return end.value.code, *capsys.readouterr()

    return run


def test_the_published_rates_are_those_of_the_published_picks():
    rates = RangeTest().rates
    assert (len(rates), rates[0]) == (1500, 0.1)
    assert rates[-1] == pytest.approx(2.0, rel=1e-12)
    assert rates[[23, 25]] == pytest.approx([0.104704, 0.105123], abs=5e-7)
    np.testing.assert_allclose(rates[1:] / rates[:-1], 20 ** (1 / 1499), rtol=1e-12)


@pytest.mark.parametrize("name", ["dilated", "dilated-modified"])
def test_the_recipe_dilated_has_the_published_settings(name):
    command = FindLr()
    given = {"start": command.start_rate, "end": command.end_rate, "steps": command.steps}
    recipe = dataclasses.replace(get_recipe("dilated"), name=name)
    assert range_test_of(recipe, **given) == RangeTest()


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "dilated"])
def test_every_other_recipe_is_tested_with_its_own_optimizer_from_a_millionth_on(name):
    settings = range_test_of(get_recipe(name), steps=300)
    assert (settings.start, settings.end, settings.steps) == (1e-6, 10.0, 300)
    assert settings.optimizer == "recipe"


def test_a_recipe_s_own_range_replaces_the_default_and_options_replace_it():
    recipe = dataclasses.replace(get_recipe("third"), rate_range=RateRange(start=1e-4, steps=20))
    settings = range_test_of(recipe, steps=30)
    assert (settings.start, settings.end, settings.steps) == (1e-4, 10.0, 30)
    with pytest.raises(
        UsageError, match=r"the range test has end=10\.0, which must be a learning rate above the"
    ):
        range_test_of(dataclasses.replace(recipe, rate_range=RateRange(start=20.0)))


def test_the_range_of_a_file_is_that_of_find_lr_and_of_lr_auto(tmp_path, monkeypatch):
    """Both stop at once, with the settings that they would have tested."""

    class Tested(Exception):
        pass

    def test(config, dataset, device, settings, callback):
        raise Tested(settings.start, settings.end, settings.steps)

    monkeypatch.setattr("jaxmnist.experiments.lr_range.find_learning_rate", test)
    file = tmp_path / "recipe.json"
    content = {"arch": "second", "dataset": "digits", "recipe": {"rate_range": {"start": 1e-3, "end": 2}}}
    file.write_text(json.dumps(content))
    more = ("rate_range.steps=40",)
    for command in (
        FindLr(config=file, recipe_settings=more, out=tmp_path / "out"),
        Train(config=file, settings=more, learning_rate="auto", runs=tmp_path / "runs"),
    ):
        with pytest.raises(Tested) as caught:
            command.run()
        assert caught.value.args == (1e-3, 2.0, 40)


def curve(steepest, steps=350, fall=1.8, noise=0.05, explodes=True):
    """Returns losses like those of real tests: level, then a fall over a decade around a rate, then an explosion."""
    rates = FROM_NOTHING_ON.rates[:steps]
    losses = 2.3 - fall / (1 + np.exp(-4 * np.log10(rates / steepest)))
    losses += np.random.default_rng(1).normal(0, noise, steps)
    return np.where(rates > 100 * steepest, 1e6, losses) if explodes else losses


@pytest.mark.parametrize("steepest", [1e-4, 3e-3, 0.03])
def test_half_the_rate_of_the_steepest_fall_is_suggested_whatever_the_noise(steepest):
    result = analyse(curve(steepest), FROM_NOTHING_ON)
    assert result.suggestion == pytest.approx(steepest / 2, rel=0.35)
    assert result.diverged


@pytest.mark.parametrize(("steepest", "end"), [(1e-7, "start"), (1e-6, "start"), (8.0, "end")])
def test_a_fall_near_an_end_of_the_range_suggests_nothing(steepest, end):
    result = analyse(curve(steepest, fall=2.2, noise=0.01, explodes=False), FROM_NOTHING_ON)
    assert result.suggestion is None
    assert result.reason is not None
    assert re.fullmatch(
        rf"the loss falls most steeply at [\de.-]+, near the {end} of the tested rates", result.reason
    )


def test_a_loss_without_slope_suggests_nothing():
    result = analyse(curve(1e-3, fall=0.2), FROM_NOTHING_ON)
    assert result.suggestion is None
    assert result.reason is not None
    assert re.match("the loss falls by 1?[0-9]% only", result.reason)


@pytest.mark.parametrize(
    ("own_rate", "doubted"), [(0.09, "6 times below"), (0.0025, "6 times above"), (0.06, None), (0.004, None)]
)
def test_a_suggestion_more_than_five_times_from_the_recipes_rate_is_doubted(own_rate, doubted):
    result = analyse(curve(0.03, noise=0.0), FROM_NOTHING_ON)
    said = doubt(result, own_rate)
    assert (said is None) if doubted is None else (doubted in str(said))


def test_a_fall_about_as_steep_over_a_decade_is_doubted():
    rates = FROM_NOTHING_ON.rates
    losses = np.interp(np.log10(rates), [-4, -1.5], [2.3, 0.3])
    result = analyse(losses, FROM_NOTHING_ON)
    assert result.suggestion is not None
    assert "about as steeply at all rates from" in str(doubt(result, result.suggestion))


def test_the_published_pick_lies_near_the_start_of_its_range_and_is_named_so():
    losses = 2.3 * np.exp(-np.arange(1500) / 15) + 0.3
    result = analyse(losses, RangeTest())
    assert result.suggestion is None
    assert result.reason == "the loss falls most steeply at 0.1035, near the start of the tested rates"


def test_steps_of_the_recipe_are_those_of_its_own_optimizer(config, digits, device):
    recipe = dataclasses.replace(config.recipe, momentum=0.5, weight_decay=0.3, label_smoothing=0.2)
    config = dataclasses.replace(config, recipe=recipe)
    settings = dataclasses.replace(FROM_NOTHING_ON, start=0.0099999, end=0.01, steps=3)
    tested = find_learning_rate(config, digits, device, settings)
    # A training at that rate, whose loss after each step is known by the sums of longer and longer chunks.
    recipe = dataclasses.replace(recipe, learning_rate=0.01)
    programs, keys = build_programs(MODEL, recipe, device), train.Keys.from_seed(config.seed)
    order = programs.epoch_order(keys.order, jax.numpy.int32(0), np.arange(1375, dtype=np.int32))
    data, sums = train.EpochData(digits.train_images, digits.train_labels, order), [0.0]
    for steps in (1, 2, 3):
        state = programs.create_state(keys.init)
        part = np.int32(0), np.int32(steps)
        _, metrics = programs.train_chunk(state, train.no_metrics(), data, *part, keys.step)
        sums.append(float(metrics.loss_sum) / 64)
    assert tested.losses == pytest.approx(np.diff(sums), rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": 0.0}, "start=0.0, which must be a learning rate above 0"),
        ({"start": math.nan}, "start=nan"),
        ({"end": 0.1}, "end=0.1, which must be a learning rate above the start, 0.1"),
        ({"end": 1e39}, "end=1e[+]39"),
        ({"steps": 1}, "steps=1, which must be at least 2"),
        ({"smoothing": 0.0}, "smoothing=0.0"),
        ({"smoothing": 1.5}, "smoothing=1.5"),
        ({"divergence": 1.0}, "divergence=1.0"),
        ({"skip_first": -1}, "skip_first=-1"),
        ({"skip_last": -1}, "skip_last=-1"),
    ],
)
def test_impossible_settings_are_named(changes, message):
    with pytest.raises(UsageError, match=f"^the range test has {message}"):
        RangeTest(**changes)


def test_a_loss_counts_a_twentieth_in_the_smoothed_loss():
    result = analyse(np.array([2.0, 1.0, 3.0]), RangeTest())
    np.testing.assert_allclose(result.smoothed, [2.0, 1.95, 0.05 * 3 + 0.95 * 1.95], rtol=1e-15)
    np.testing.assert_array_equal(result.losses, [2.0, 1.0, 3.0])
    np.testing.assert_array_equal(result.rates, RangeTest().rates[:3])


def test_the_pick_is_the_middle_of_the_steepest_fall():
    # Central differences: -0.1, -0.2, -0.65, -0.7, -0.2, -0.1; one-sided ones would say step 2 or 4.
    losses = np.array([2.0, 1.9, 1.6, 0.6, 0.2, 0.2])
    result = analyse(losses, EVERYTHING)
    assert result.step == 3
    assert result.suggestion == EVERYTHING.rates[3]
    assert not result.diverged
    assert result.reason is None


def test_falls_among_the_first_and_last_points_do_not_count():
    losses = np.array([9.0, 5.0, 4.0, 3.9, 3.7, 3.4, 3.3, 1.0, 0.9])
    settings = dataclasses.replace(EVERYTHING, divergence=100.0, skip_first=2, skip_last=2)
    result = analyse(losses, settings)
    assert result.kept == slice(2, 7)
    assert result.step == 4  # (3.4 - 3.9) / 2 is the steepest between 4.0 and 3.3
    assert analyse(losses, dataclasses.replace(settings, skip_first=0)).step == 0


def test_the_test_ends_at_the_point_beyond_five_times_the_lowest_smoothed_loss():
    losses = np.array([1.0, 0.5, 0.2, 0.9, 1.0, 1.01, 0.1, 0.1])
    result = analyse(losses, EVERYTHING)
    assert result.diverged
    np.testing.assert_array_equal(result.losses, losses[:6])  # 1.0 is five times 0.2, not more
    assert not analyse(losses, RangeTest()).diverged  # smoothed, it is far from that


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_test_and_stays_out(bad):
    result = analyse(np.array([2.0, 1.8, 1.0, 0.9, bad, 0.1], np.float32), EVERYTHING)
    assert result.diverged
    assert len(result.rates) == len(result.losses) == len(result.smoothed) == 4
    assert result.step == 1
    nothing = analyse(np.array([bad]), EVERYTHING)
    assert (len(nothing.losses), nothing.suggestion) == (0, None)
    assert nothing.reason is not None
    assert nothing.reason.startswith("the loss diverged after 0 steps, too few")


@pytest.mark.parametrize("losses", [np.linspace(1, 2, 40), np.full(40, 2.0)])
def test_a_loss_that_never_falls_suggests_nothing(losses):
    result = analyse(losses, RangeTest())
    assert (result.step, result.suggestion) == (None, None)
    assert result.reason == "the smoothed loss never falls"


@pytest.mark.parametrize("taken", [0, 1, 14, 15, 17])
def test_fewer_than_three_points_suggest_nothing(taken):
    losses = np.linspace(2, 1, 40)
    result = analyse(losses[:taken], RangeTest())
    assert result.suggestion is None
    assert result.reason == (
        f"there are {taken} steps, too few for a slope without the first 10 and the last 5"
    )
    assert analyse(losses[:18], RangeTest()).suggestion is not None


def test_every_step_has_the_loss_of_a_hand_made_loop_also_in_the_second_epoch(
    config, digits, device, quick_result
):
    assert len(quick_result.losses) == QUICK.steps > 22
    # The same steps one by one, with momentum and rate written out.
    model, recipe = MODEL, config.recipe
    keys = train.Keys.from_seed(config.seed)
    programs = build_programs(model, recipe, device)
    state = programs.create_state(keys.init)
    gradient_of = jax.jit(
        lambda state, batch: _gradients(state, batch, keys.step, model, recipe),
        compiler_options=ops.compiler_options(device),
    )
    trace = jax.tree.map(np.zeros_like, state.params)
    for step in range(QUICK.steps):
        epoch, number = divmod(step, 22)
        order = programs.epoch_order(keys.order, jax.numpy.int32(epoch), np.arange(1375, dtype=np.int32))
        index = np.asarray(order)[64 * number :][:64]
        labels = digits.train_labels[index]
        mask = jax.numpy.asarray(index >= 0, np.float32)
        after, metrics, gradients = gradient_of(state, train.Batch(digits.train_images[index], labels, mask))
        expected = float(metrics.loss_sum) / (index >= 0).sum()
        assert quick_result.losses[step] == pytest.approx(expected, rel=2e-4), step
        rate = np.float32(QUICK.rates[step])
        trace = jax.tree.map(lambda v, g: np.float32(0.9) * v + g, trace, gradients)
        params = jax.tree.map(
            lambda w, v, g, rate=rate: w - rate * (g + np.float32(0.9) * v), state.params, trace, gradients
        )
        state = after._replace(params=params)
    assert int(state.step) == QUICK.steps


def _gradients(state, batch, key, model, recipe):
    """Returns state and sums after a step, and its gradients."""

    def update(updates, state, params=None):
        return updates, updates

    kept = optax.GradientTransformation(lambda params: params, update)
    state = state._replace(opt_state=state.params)
    after, metrics = train.train_step(state, batch, key=key, model=model, optimizer=kept, recipe=recipe)
    return after, metrics, after.opt_state


def test_the_same_seed_gives_the_same_bytes_however_the_steps_are_cut(
    config, digits, device, quick_result, monkeypatch
):
    monkeypatch.setattr(lr_range, "CHUNK_SECONDS", 1e-6)
    reports = []
    again = find_learning_rate(config, digits, device, QUICK, reports.append)
    assert [len(report.losses) for report in reports] == list(range(1, 31))
    assert again.losses.tobytes() == quick_result.losses.tobytes()
    assert again.step == quick_result.step
    other = find_learning_rate(dataclasses.replace(config, seed=4), digits, device, QUICK)
    assert other.losses.tobytes() != quick_result.losses.tobytes()


def test_in_the_published_test_the_recipes_optimizer_rate_and_label_smoothing_play_no_part(
    config, digits, device, quick_result
):
    recipe = dataclasses.replace(
        config.recipe, optimizer="adamw", learning_rate=7.0, weight_decay=0.1, label_smoothing=0.1
    )
    result = find_learning_rate(dataclasses.replace(config, recipe=recipe), digits, device, QUICK)
    assert result.losses.tobytes() == quick_result.losses.tobytes()


def test_a_training_run_has_the_same_bytes_with_and_without_a_test_before_it(config, digits, device):
    def trained():
        keys = train.Keys.from_seed(config.seed)
        programs = build_programs(MODEL, config.recipe, device)
        order = programs.epoch_order(keys.order, jax.numpy.int32(0), np.arange(1375, dtype=np.int32))
        state, metrics = programs.train_chunk(
            programs.create_state(keys.init),
            train.no_metrics(),
            *(
                train.EpochData(digits.train_images, digits.train_labels, order),
                np.int32(0),
                np.int32(5),
                keys.step,
            ),
        )
        return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves((state, metrics))]

    before = trained()
    images = digits.train_images.tobytes()
    find_learning_rate(config, digits, device, QUICK)
    assert trained() == before
    assert digits.train_images.tobytes() == images


def test_rates_that_no_network_survives_end_the_test_early(config, digits, device):
    settings = RangeTest(start=1e25, end=1e30, steps=1000)
    result = find_learning_rate(config, digits, device, settings)
    assert result.diverged
    assert len(result.losses) < 20
    assert np.isfinite(result.losses).all()


def test_the_command_prints_the_number_and_writes_curves_and_picture(call, tmp_path):
    # The small network learns too little for the test of other recipes.
    options = (
        "--steps",
        40,
        "--start",
        0.001,
        "--end",
        0.3,
        "--recipe",
        "dilated",
        "--out",
        tmp_path / "new",
    )
    code, out, error = call(*options, "--json")
    assert code == 0, error
    printed = json.loads(out)
    saved = json.loads((tmp_path / "new" / "lr_range.json").read_text())
    assert printed.pop("files") == [str(tmp_path / "new" / f"lr_range.{kind}") for kind in ("json", "png")]
    assert {name: saved[name] for name in printed} == printed
    assert printed["suggestion"] == saved["rates"][printed["step"]]
    assert len(saved["losses"]) == printed["steps_taken"] == 40
    with Image.open(tmp_path / "new" / "lr_range.png") as picture:
        assert picture.size == (960, 600)

    code, out, _ = call(*options)
    assert code == 0
    assert f"suggested learning rate {printed['suggestion']:.4g} (step {printed['step']} of 40)\n" in out
    assert "This is not MNIST" in out


def test_without_a_suggestion_the_command_warns_in_a_sentence_and_prints_no_number(call, tmp_path):
    code, out, error = call("--steps", 10, "--out", tmp_path, "--json")
    assert code == 0
    printed = json.loads(out)
    assert (printed["suggestion"], printed["step"]) == (None, None)
    (warning,) = [line for line in error.splitlines() if line.startswith("warning")]
    assert warning == (
        "warning: no learning rate is suggested: there are 10 steps, too few for a slope without the first 10 and "
        "the last 5; try more --steps than 10, or another --start and --end."
    )
    code, out, error = call("--start", 1e25, "--end", 1e30, "--out", tmp_path)
    assert code == 0
    assert "suggested learning rate" not in out
    assert "the loss diverged after" in error
    assert "; try a lower --start than 1e+25." in error


def test_wrong_options_end_the_command_with_2(call, tmp_path):
    code, _, error = call("--start", 30, "--out", tmp_path / "out")
    assert code == 2
    assert "end=10.0, which must be a learning rate above the start, 30" in error
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    code, _, error = call("--out", tmp_path / "file")
    assert code == 2
    assert "name another folder with --out" in error


def test_ctrl_c_ends_the_command_with_130(call, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(lr_range, "find_learning_rate", interrupted)
    monkeypatch.setattr(cli, "_end_at_once", sys.exit)  # it would end the tests, too
    code, _, error = call("--out", tmp_path / "new")
    assert code == 130
    assert error.endswith("error: interrupted.\n")
    assert not list((tmp_path / "new").iterdir())


@pytest.mark.parametrize("losses", [[], [2.0], np.linspace(2, 1, 40), [2.0, *[0.1] * 40, 1e30]])
def test_a_picture_is_drawn_of_any_curve(tmp_path, losses):
    result = analyse(np.asarray(losses, np.float64), RangeTest())
    path = save_range(result, "second, recipe second, digits, seed 1", tmp_path / "range.png")
    with Image.open(path) as picture:
        assert picture.size == (960, 600)


def test_the_table_of_the_documentation_is_the_one_that_was_measured():
    docs = Path(__file__).parents[2] / "docs"
    figures = json.loads((docs / "results" / "lr_range" / "table.json").read_text())
    assert lr_range_table.table(figures["lines"]) in (docs / "going-on.md").read_text()
