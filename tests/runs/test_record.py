"""The sealed record of a run: what a change to one of its files does."""

import json
import shutil

import jax
import numpy as np
import pytest

from jaxmnist.config.run import read_file
from jaxmnist.config.seal import SealError, digest, first_difference, opened, sealed
from jaxmnist.errors import CheckpointError, JaxmnistWarning
from jaxmnist.report.gather import gather
from jaxmnist.runs.compare import compare
from jaxmnist.runs.folder import CONFIG, METRICS, RESULTS, read_config, read_metrics
from jaxmnist.runs.record import read_record
from jaxmnist.runs.restore import restore_run
from jaxmnist.runtime.json_text import json_text

CPU = jax.devices("cpu")[0]


@pytest.fixture
def run(tiny_run, tmp_path):
    """A complete run, for a test to change."""
    return shutil.copytree(tiny_run, tmp_path / "run")


@pytest.fixture
def bare(run):
    """The same without checkpoints, as a study leaves it."""
    shutil.rmtree(run / "checkpoints")
    return run


def change(path, old, new):
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def flips(path, count):
    """Yields the file with each of some single bits flipped, then restores it."""
    whole = path.read_bytes()
    for bit in np.random.default_rng(1).choice(8 * len(whole), count, replace=False).tolist():
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        yield bit
    path.write_bytes(whole)


def test_an_object_is_opened_as_it_was_sealed_and_not_otherwise():
    values = {"rate": 0.1, "none": None, "parts": {"list": [1, 2.0]}, "nan": float("nan")}
    written = json.loads(json_text(sealed(values)))
    assert json_text(opened(written)) == json_text(values)
    assert opened(dict(reversed(written.items())))["rate"] == 0.1
    for changes in ({"rate": 0.2}, {"parts": {}}, {"more": 1}, {"seal": "0"}):
        with pytest.raises(SealError, match="it has changed since it was written"):
            opened(written | changes)
    with pytest.raises(SealError, match="it has no seal"):
        opened(values)


def test_the_first_difference_names_both_values():
    assert first_difference({"a": {"b": 1}}, {"a": {"b": 2}}) == "its a.b is 1, not 2"
    assert first_difference({"a": 1, "c": 3}, {"a": 1}) == "its c is 3, not None"
    assert first_difference({"a": True}, {"a": 1}) == "its a is True, not 1"
    assert first_difference({"a": 1}, {"a": 1.0}) == ""


def test_json_has_null_for_a_figure_that_is_not_finite():
    text = json_text({"a": [float("nan"), (1.5, float("-inf"))], "b": {"c": float("inf")}})
    assert text == '{"a": [null, [1.5, null]], "b": {"c": null}}'


def test_a_changed_configuration_is_refused_with_both_values_wherever_the_run_is_read(run):
    mean = read_config(run).recipe.mean
    change(run / CONFIG, f'"mean": {mean}', '"mean": 0.9307')
    match = rf"its recipe\.mean is 0\.9307, not {mean} as the checkpoint of step 44 records; .* --config .*config\.json"
    for read in (
        read_config,
        lambda run: restore_run(run, "best", CPU),
        lambda run: gather([run], None, CPU),
        lambda run: read_record(run),
    ):
        with pytest.raises(CheckpointError, match=match) as error:
            read(run)
        assert error.value.exit_code == 4
    with pytest.warns(
        JaxmnistWarning, match="was changed after a run had written it; its values are used as they are"
    ):
        assert read_file(run / CONFIG)["recipe"]["mean"] == 0.9307


@pytest.mark.parametrize("of", ["run", "bare"])
def test_a_flipped_bit_of_the_configuration_is_refused_or_without_effect(of, request):
    run = request.getfixturevalue(of)
    config, refused = read_config(run), 0
    for bit in flips(run / CONFIG, 300):
        try:
            assert read_config(run) == config, bit
        except CheckpointError:
            refused += 1
    assert refused > 200  # the others are blanks
    assert read_config(run) == config


@pytest.mark.parametrize("of", ["run", "bare"])
@pytest.mark.parametrize("name", [METRICS, RESULTS])
@pytest.mark.filterwarnings("ignore:.*differs from the checkpoint")
def test_a_flipped_bit_of_metrics_or_results_changes_no_figure(of, name, request):
    run = request.getfixturevalue(of)
    (whole,), record = compare([run]), digest(read_record(run).rows)
    for bit in flips(run / name, 300):
        try:
            assert compare([run]) == [whole], bit
            assert digest(read_record(run).rows) == record, bit
        except CheckpointError:
            continue


def test_the_checkpoint_decides_and_a_file_that_differs_is_named(run):
    (whole,), lines = compare([run]), (run / METRICS).read_text().splitlines(keepends=True)
    for changed in (
        lines[0],
        "".join([*lines, lines[-1]]),
        "".join(lines).replace("test_accuracy", "test_exactness"),
    ):
        (run / METRICS).write_text(changed)
        with pytest.warns(JaxmnistWarning, match=r"metrics\.jsonl differs from the checkpoint of step 44"):
            assert compare([run]) == [whole]
    (run / METRICS).write_text("".join(lines))
    results = json.loads((run / RESULTS).read_text())
    (run / RESULTS).write_text(json.dumps(sealed(results | {"final_test_accuracy": 99.9})))
    with pytest.warns(
        JaxmnistWarning, match=r"results\.json differs .*its final_test_accuracy is 99\.9, not "
    ):
        assert compare([run]) == [whole]


def test_without_a_checkpoint_a_changed_file_is_refused(bare):
    lines = (bare / METRICS).read_text().splitlines(keepends=True)
    for changed in (lines[0], "".join([*lines, lines[-1]])):
        (bare / METRICS).write_text(changed)
        with pytest.raises(
            CheckpointError, match=r"metrics\.jsonl is damaged \(its lines are not those that results"
        ):
            compare([bare])
    (bare / METRICS).write_text("".join(lines))
    compare([bare])
    change(bare / RESULTS, '"best_epoch": 2', '"best_epoch": 1')
    with pytest.raises(
        CheckpointError, match=r"results\.json is damaged \(it has changed since it was written\)"
    ):
        compare([bare])


def test_with_a_damaged_latest_checkpoint_the_sealed_results_decide(run):
    (whole,) = compare([run])
    latest = run / "checkpoints" / "44" / "about.json"
    latest.write_text(latest.read_text().replace('"epoch": 2', '"epoch": 3', 1))
    assert compare([run]) == [whole]


def test_an_epoch_without_a_step_that_counts_is_null_on_disk_and_nan_in_memory(run):
    rows = read_metrics(run)
    (run / METRICS).write_text(json_text(rows[0] | {"train_loss": float("nan")}) + "\n")
    assert '"train_loss": null' in (run / METRICS).read_text()
    assert np.isnan(read_metrics(run)[0]["train_loss"])
