"""The host loop: files of a run, selection, interruption and resume, divergence."""

import dataclasses
import errno
import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest

from jaxmnist import train
from jaxmnist.config import Plateau, get_recipe
from jaxmnist.config.run import RunConfig
from jaxmnist.data import load_dataset
from jaxmnist.data.splits import SelectOn
from jaxmnist.errors import (
    CheckpointError,
    DataError,
    DivergedError,
    InterruptedRunError,
    StorageError,
    UsageError,
)
from jaxmnist.runs import epoch as epochs
from jaxmnist.runs import loop as fit_module
from jaxmnist.runs.checkpoints import Checkpoints, Snapshot, abstract
from jaxmnist.runs.devices import training_devices
from jaxmnist.runs.folder import METRICS, RESULTS, create_run, read_config, read_metrics, write_metrics
from jaxmnist.runs.loop import fit
from jaxmnist.runs.restore import restore_run
from jaxmnist.runs.weights import read_weights
from jaxmnist.runtime.files import LOCK
from jaxmnist.train.jit import build_programs
from jaxmnist.train.loss import no_metrics
from jaxmnist.train.state import Keys
from tests.resealed import reseal

DEVICE = jax.devices()[0]


class Watcher:
    """Callback that records the progress, and calls a function at every step."""

    def __init__(self, on_progress=lambda epoch, done: None):
        self.rows, self.progress, self.epochs_done, self._call = [], [], None, on_progress

    def __call__(self, progress):
        if progress.kind == "start":
            self.epochs_done = progress.epoch
        elif progress.kind == "step":
            self.progress.append((progress.epoch, progress.done, progress.total))
            self._call(progress.epoch, progress.done)
        else:
            self.rows.append(progress.row)


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.fixture
def new_run(tmp_path, digits):
    """Makes a run folder for `second` on digits; options replace fields of the recipe or the configuration."""

    def make(select_on: SelectOn = "val", seed=1, **recipe):
        chosen = dataclasses.replace(get_recipe("second"), **({"epochs": 2} | recipe))
        config = RunConfig("second", chosen, "digits", seed, select_on, digits.fingerprint)
        return config, create_run(tmp_path / "runs", config, {"device": "test"})

    return make


def snapshot_of(run, config, which="latest"):
    """A checkpoint of a run."""
    programs = build_programs(config.create_model(), config.recipe, DEVICE)
    shapes = jax.eval_shape(programs.create_state, Keys.from_seed(1).init)
    restore = getattr(Checkpoints(run, config.arch), f"restore_{which}")
    return restore(*abstract((shapes, no_metrics()), DEVICE))


def saved(run, config, which="latest"):
    """Leaves of a checkpoint of a run, as bytes."""
    snapshot = snapshot_of(run, config, which)
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves((snapshot.state, snapshot.metrics))]


def without_times(rows):
    # The seals of results cover their times.
    times = ("seconds", "seal", "metrics_sha256")
    return [{key: value for key, value in row.items() if key not in times} for row in rows]


def test_a_run_leaves_its_configuration_metrics_checkpoints_and_results(new_run, digits):
    config, run = new_run()
    watcher = Watcher()
    results = fit(config, digits, run, DEVICE, [watcher])
    assert read_config(run) == config
    rows = read_metrics(run)
    assert rows == watcher.rows
    assert [row["epoch"] for row in rows] == [1, 2]
    # A twelfth of the 1,500 training images is held out; every image of a split counts once.
    assert rows[0]["val_examples"] == 125
    assert rows[0]["test_examples"] == 297
    assert rows[1]["step"] == 2 * -(-1375 // 64)
    assert rows[1]["test_accuracy"] == 100 * rows[1]["test_correct"] / 297
    assert json.loads((run / RESULTS).read_text()).items() > dataclasses.asdict(results).items()
    assert results.parameters == 5_048
    assert results.final_test_accuracy == rows[-1]["test_accuracy"]
    best = max(rows, key=lambda row: row["val_accuracy"])
    assert results.best_epoch == best["epoch"]
    assert results.test_accuracy_of_best == best["test_accuracy"]
    assert watcher.progress[0] == (1, 1, 22)
    assert watcher.progress[-1] == (2, 22, 22)


def test_the_published_protocol_trains_on_everything_and_selects_on_test(new_run, digits):
    config, run = new_run(select_on="test", epochs=1)
    results = fit(config, digits, run, DEVICE)
    row = read_metrics(run)[0]
    assert row["step"] == -(-1500 // 64)
    assert "val_loss" not in row
    assert results.select_on == "test"


def test_with_last_all_images_train_and_the_last_epoch_is_kept_whatever_its_accuracy(
    new_run, digits, monkeypatch
):
    # Falling accuracies: a selection by accuracy would pick the first epoch.
    falling = iter((300, 200, 100))
    real = epochs.jax.device_get

    def device_get(values):
        values = real(values)
        if isinstance(values, train.Metrics) and int(values.examples) == 297:
            return values._replace(correct=next(falling))
        return values

    monkeypatch.setattr(epochs.jax, "device_get", device_get)
    config, run = new_run(select_on="last", epochs=3, best_model=99.0, ignored_epochs=2)
    results = fit(config, digits, run, DEVICE)
    rows = read_metrics(run)
    assert [row["test_correct"] for row in rows] == [300, 200, 100]
    assert rows[-1]["step"] == 3 * -(-1500 // 64)
    assert (results.best_epoch, results.rule_met) == (3, True)
    assert results.test_accuracy_of_best == results.final_test_accuracy == 100 * 100 / 297
    assert restore_run(run, "best", DEVICE).epoch == 3
    assert [file.name for file in run.glob("*.npz")] == ["second-epoch3-last.npz"]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(new_run, digits):
    states = []
    for seed in (1, 1, 2):
        config, run = new_run(seed=seed, epochs=1)
        fit(config, digits, run, DEVICE)
        states.append((saved(run, config), without_times(read_metrics(run))))
    assert states[0] == states[1]
    assert states[0][0] != states[2][0]


@pytest.mark.parametrize("stop_at", [(1, 1), (1, 22), (2, 5)])
def test_an_interrupted_run_goes_on_to_the_same_bytes(new_run, digits, monkeypatch, stop_at):
    # Short chunks, so that the signal can arrive anywhere in an epoch.
    monkeypatch.setattr(fit_module, "CHUNK_SECONDS", 1e-6)
    config, whole = new_run()
    fit(config, digits, whole, DEVICE)

    _, run = new_run()

    def interrupt(epoch, done):
        if (epoch, done) == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(InterruptedRunError) as error:
        fit(config, digits, run, DEVICE, [Watcher(interrupt)])
    assert error.value.exit_code == 143
    assert f"--resume {run}" in str(error.value)
    assert not (run / RESULTS).exists()

    # One more line than the checkpoint has, as from a run that got further.
    further = read_metrics(whole)[stop_at[0] - 1]
    write_metrics(run, [*read_metrics(run), further])
    results = fit(read_config(run), digits, run, DEVICE)
    assert saved(run, config) == saved(whole, config)
    assert saved(run, config, "best") == saved(whole, config, "best")
    assert without_times(read_metrics(run)) == without_times(read_metrics(whole))
    expected = json.loads((whole / RESULTS).read_text())
    assert without_times([dataclasses.asdict(results)]) == without_times([expected])


def test_a_run_folder_that_is_moved_in_training_is_said_to_be_elsewhere(new_run, digits):
    config, run = new_run()
    moved = run.with_name("moved")

    def move(epoch, done):
        if (epoch, done) == (2, 1):
            run.rename(moved)
            run.mkdir()  # a folder of that name is not that folder

    with pytest.raises(StorageError, match=r"is gone: it is now .*moved, with the last state") as error:
        fit(config, digits, run, DEVICE, [Watcher(move)])
    assert str(error.value).endswith(f"resume with --resume {moved}.")
    assert list(run.iterdir()) == []
    assert len(read_metrics(moved)) == 1
    fit(read_config(moved), digits, moved, DEVICE)
    assert len(read_metrics(moved)) == 2


def test_an_interrupted_run_saves_nothing_in_another_folder_of_its_name(new_run, digits):
    config, run = new_run()

    def move_and_interrupt(epoch, done):
        if (epoch, done) == (1, 1):
            run.rename(run.with_name("moved"))
            run.mkdir()
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StorageError, match="is gone: it is now"):
        fit(config, digits, run, DEVICE, [Watcher(move_and_interrupt)])
    assert list(run.iterdir()) == []


def test_a_run_folder_that_is_deleted_in_training_is_said_to_be_gone(new_run, digits):
    config, run = new_run()

    def delete(epoch, done):
        if (epoch, done) == (1, 1):
            shutil.rmtree(run)

    with pytest.raises(StorageError, match="is gone, with its checkpoints; start a new run"):
        fit(config, digits, run, DEVICE, [Watcher(delete)])
    assert not run.exists()


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "make room and resume with"),
        (errno.EDQUOT, "make room and resume with"),
        (errno.EACCES, "make it writable and resume with"),
        (errno.EIO, "check that folder and its disk and resume with"),
    ],
)
def test_the_advice_after_a_failed_save_fits_its_cause(new_run, digits, monkeypatch, number, advice):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("jaxmnist.runs.storage.sync_tree", fail)
    config, run = new_run(epochs=1)
    with pytest.raises(StorageError, match=advice) as error:
        fit(config, digits, run, DEVICE)
    assert ("make room" in str(error.value)) == advice.startswith("make room")


def test_a_run_that_lost_its_last_lines_and_state_repeats_the_epoch(tiny_run, tmp_path, digits):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    rows, config = read_metrics(run), read_config(run)
    # As after kill -9 between the line of an epoch and its checkpoint, with a half-written line on top.
    latest = max((run / "checkpoints").iterdir(), key=lambda folder: int(folder.name))
    shutil.rmtree(latest)
    kept = [folder for folder in (run / "checkpoints").iterdir() if folder.is_dir()]
    with (run / METRICS).open("a") as file:
        file.write('{"epoch": 3, "st')
    watcher = Watcher()
    fit(config, digits, run, training_devices(config, DEVICE), [watcher])
    assert watcher.epochs_done == len(kept)
    assert without_times(read_metrics(run)) == without_times(rows)
    assert saved(run, config) == saved(tiny_run, config)


def test_a_complete_run_is_not_trained_further(tiny_run, tmp_path, digits):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    watcher = Watcher()
    fit(read_config(run), digits, run, DEVICE, [watcher])
    assert watcher.progress == []
    assert watcher.epochs_done == 2


def test_the_schedule_observes_the_selection_split_once_an_epoch(new_run, digits):
    # No improvement is this large, so with patience 0 every epoch after the first cuts.
    plateau = Plateau(monitor="accuracy", factor=0.5, patience=0, threshold=1e3)
    config, run = new_run(epochs=4, plateau=plateau)
    fit(config, digits, run, DEVICE)
    rates = [row["learning_rate"] for row in read_metrics(run)]
    np.testing.assert_allclose(rates, [0.01, 0.01, 0.005, 0.0025], rtol=1e-6)


def test_a_diverging_run_ends_with_epoch_and_step_and_keeps_the_last_good_state(
    tiny_run, tmp_path, digits, monkeypatch
):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    config = read_config(run)
    before = saved(run, config)
    longer = dataclasses.replace(config, recipe=dataclasses.replace(config.recipe, epochs=3))
    reseal(run, {"recipe": json.loads(json.dumps(dataclasses.asdict(longer.recipe)))})
    # Two good epochs, then a third at a rate that makes any network diverge.
    monkeypatch.setattr(epochs, "_first_snapshot", _with_rate(epochs._first_snapshot, 1e30))
    with pytest.raises(
        DivergedError, match=r"epoch 3, step \d+: .*the checkpoint of step 44 is kept"
    ) as error:
        fit(longer, digits, run, DEVICE)
    assert error.value.exit_code == 5
    assert saved(run, longer) == before


def _with_rate(first_snapshot, rate):
    def changed(session):
        snapshot = first_snapshot(session)
        opt_state = jax.tree.map(
            lambda leaf: leaf if leaf.shape else jax.numpy.full_like(leaf, rate), snapshot.state.opt_state
        )
        return snapshot._replace(state=snapshot.state._replace(opt_state=opt_state))

    return changed


def test_a_run_whose_lock_is_deleted_ends_where_only_files_are_locked(new_run, digits, only_files_lock):
    config, run = new_run()

    def delete(progress):
        if progress.kind == "start":
            (run / LOCK).unlink()

    with pytest.raises(UsageError, match=r"lock\.json was deleted"):
        fit(config, digits, run, DEVICE, [delete])
    assert not list(run.glob("*.npz"))


def test_a_run_refuses_other_data(tiny_run, digits):
    changed = dataclasses.replace(digits, train_labels=digits.train_labels[::-1].copy())
    with pytest.raises(DataError, match="other data"):
        fit(read_config(tiny_run), changed, tiny_run, DEVICE)


def test_the_best_weights_lie_in_the_run_under_pytorch_s_names_with_epoch_and_accuracy(tiny_run):
    (row,) = [row for row in read_metrics(tiny_run) if row["epoch"] == results_of(tiny_run)["best_epoch"]]
    (file,) = tiny_run.glob("*.npz")
    assert file.name == f"second-epoch{row['epoch']}-val{row['val_accuracy']:.2f}.npz"
    from_file = read_weights(file, DEVICE)
    best = restore_run(tiny_run, "best", DEVICE)
    assert from_file.arch == "second"
    for ours, theirs in zip(
        jax.tree.leaves(best.variables), jax.tree.leaves(from_file.variables), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def results_of(run):
    return json.loads((run / RESULTS).read_text())


def test_the_best_checkpoint_is_the_one_of_the_checkpoint_rule(new_run, digits):
    config, run = new_run(epochs=3, ignored_epochs=1, best_model=1.0)
    results = fit(config, digits, run, DEVICE)
    assert results.rule_met
    assert results.best_epoch > 1
    assert restore_run(run, "best", DEVICE).epoch == results.best_epoch


def test_the_best_and_the_latest_checkpoint_are_both_kept_and_ties_go_to_the_first(tiny_run, tmp_path):
    config = read_config(tiny_run)
    programs = build_programs(config.create_model(), config.recipe, DEVICE)
    state = programs.create_state(Keys.from_seed(1).init)
    checkpoints = Checkpoints(tmp_path, "second")
    for epoch, accuracy in enumerate([90.0, 99.0, 99.0, None, 95.0], start=1):
        at = state._replace(step=jax.numpy.int32(10 * epoch))
        checkpoints.save(Snapshot(at, no_metrics(), 0.0, []), epoch, accuracy)
    template = abstract((jax.eval_shape(lambda: state), no_metrics()), DEVICE)
    assert int(checkpoints.restore_latest(*template).state.step) == 50
    assert int(checkpoints.restore_best(*template).state.step) == 20
    names = sorted(folder.name for folder in (tmp_path / "checkpoints").iterdir())
    assert names == ["20", "40-mid-epoch", "50"]
    last = state._replace(step=jax.numpy.int32(60))
    checkpoints.save(Snapshot(last, no_metrics(), 0.0, []), 6, 98.0, meets_rule=True)
    assert int(checkpoints.restore_best(*template).state.step) == 60


def test_a_checkpoint_of_another_arch_is_refused_with_both_names(tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    config = dataclasses.replace(read_config(run), arch="third")
    programs = build_programs(config.create_model(), config.recipe, DEVICE)
    shapes = jax.eval_shape(programs.create_state, Keys.from_seed(1).init)
    with pytest.raises(CheckpointError, match="is of arch 'second', not 'third'"):
        Checkpoints(run, "third").restore_latest(*abstract((shapes, no_metrics()), DEVICE))


def test_a_run_compiles_its_training_program_once(new_run, digits):
    build_programs.cache_clear()
    jax.clear_caches()
    compiled = []

    def listen(event, duration_secs, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(details.get("fun_name", ""))

    config, run = new_run(epochs=1)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        fit(config, digits, run, DEVICE)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert sum("train_chunk" in name for name in compiled) == 1
