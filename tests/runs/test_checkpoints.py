"""Checkpoints: damage is noticed, the right one is used instead, and nothing is unpickled."""

import json
import os
import pickle
import re
import shutil
import time

import jax
import numpy as np
import pytest

from jaxmnist.config.seal import opened, sealed
from jaxmnist.errors import CheckpointError, JaxmnistWarning, StorageError
from jaxmnist.runs.about import SCHEMA
from jaxmnist.runs.checkpoints import Checkpoints, Snapshot, abstract
from jaxmnist.runs.folder import read_config, read_metrics
from jaxmnist.runs.restore import restore_run
from jaxmnist.runs.storage import DamagedError, read_about
from jaxmnist.train.jit import build_programs
from jaxmnist.train.loss import no_metrics
from jaxmnist.train.state import Keys

DEVICE = jax.devices("cpu")[0]


@pytest.fixture(scope="module")
def state(tiny_run):
    config = read_config(tiny_run)
    programs = build_programs(config.create_model(), config.recipe, DEVICE)
    return programs.create_state(Keys.from_seed(1).init)


@pytest.fixture
def run(tiny_run, tmp_path):
    return shutil.copytree(tiny_run, tmp_path / "run")


def template(state):
    return abstract((jax.eval_shape(lambda: state), no_metrics()), DEVICE)


def save(checkpoints, state, step, epoch, accuracy):
    at = state._replace(step=jax.numpy.int32(step))
    rows = [{"epoch": number} for number in range(1, epoch + 1)]
    checkpoints.save(Snapshot(at, no_metrics(), 1.5, rows), epoch, accuracy)


def damage(folder):
    file = max(folder.rglob("d/*"), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def test_a_state_comes_back_as_it_was_saved_with_its_lines_and_its_time(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, "second")
    save(checkpoints, state, 7, 2, 50.0)
    snapshot = Checkpoints(tmp_path, "second").restore_latest(*template(state))
    assert (snapshot.seconds, snapshot.rows) == (1.5, [{"epoch": 1}, {"epoch": 2}])
    assert int(snapshot.state.step) == 7
    before, after = state._replace(step=snapshot.state.step), snapshot.state
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
        assert a.dtype == b.dtype


def test_a_state_says_what_it_is(tmp_path, run):
    about = json.loads((run / "checkpoints" / "44" / "about.json").read_text())
    assert about["schema"] == SCHEMA
    assert (about["arch"], about["step"], about["epoch"]) == ("second", 44, 2)
    assert about["config"]["recipe"]["name"] == "second"
    assert about["versions"]["jax"] == jax.__version__
    assert about["rows"] == read_metrics(run)
    assert about["shapes"]["state/params/conv1/kernel"] == "float32[3,3,1,8]"


def test_arrays_of_another_state_are_noticed_even_where_the_sums_of_all_files_hold(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, "second")
    save(checkpoints, state, 7, 1, 50.0)
    save(checkpoints, jax.tree.map(lambda leaf: leaf + 1, state), 8, 2, 60.0)
    first, second = (
        opened(json.loads((tmp_path / "checkpoints" / name / "about.json").read_text())) for name in "78"
    )
    (tmp_path / "checkpoints" / "8" / "about.json").write_text(
        json.dumps(sealed(second | {"arrays": first["arrays"]}))
    )
    with pytest.warns(JaxmnistWarning, match=r"/8 is damaged \(the arrays have changed\)"):
        restored = Checkpoints(tmp_path, "second").restore_best(*template(state))
    assert int(restored.state.step) == 7


def test_a_damaged_best_state_is_replaced_by_the_next_best_with_both_named(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, "second")
    for epoch, accuracy in enumerate([99.0, 90.0, 95.0], start=1):
        save(checkpoints, state, 10 * epoch, epoch, accuracy)
    damage(tmp_path / "checkpoints" / "10")
    with pytest.warns(
        JaxmnistWarning,
        match=r"checkpoints/10, the best so far, is damaged .*checkpoints/30 \(epoch 3\) is used",
    ):
        snapshot = Checkpoints(tmp_path, "second").restore_best(*template(state))
    assert int(snapshot.state.step) == 30
    # The newest one records that another was better, even after that one is gone.
    shutil.rmtree(tmp_path / "checkpoints" / "10")
    with pytest.warns(
        JaxmnistWarning, match=r"checkpoints/10, the best so far, is missing; .*checkpoints/30 "
    ):
        Checkpoints(tmp_path, "second").restore_best(*template(state))


def test_every_file_that_has_changed_is_named(tmp_path, state):
    save(Checkpoints(tmp_path, "second"), state, 7, 1, 99.0)
    folder = tmp_path / "checkpoints" / "7"
    read_about(folder)
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != "about.json"]
    assert len(files) > 3
    for file in files:
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(DamagedError, match=rf"^{re.escape(str(file.relative_to(folder)))} has changed$"):
            read_about(folder)
        file.write_bytes(content)


def test_a_run_that_lost_its_best_state_says_so_when_it_goes_on(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, "second")
    for epoch, accuracy in enumerate([99.0, 90.0, 95.0], start=1):
        save(checkpoints, state, 10 * epoch, epoch, accuracy)
    damage(tmp_path / "checkpoints" / "10")
    with pytest.warns(JaxmnistWarning, match=r"checkpoints/10, the best so far, is damaged \("):
        snapshot = Checkpoints(tmp_path, "second").restore_latest(*template(state))
    assert int(snapshot.state.step) == 30


def test_the_best_is_known_although_the_state_that_tells_it_is_damaged(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, "second")
    for epoch, accuracy in enumerate([99.0, 90.0, 95.0], start=1):
        save(checkpoints, state, 10 * epoch, epoch, accuracy)
    damage(tmp_path / "checkpoints" / "30")
    with pytest.warns(
        JaxmnistWarning, match=r"checkpoints/30 is damaged .*checkpoints/10 \(epoch 1\) is used"
    ):
        snapshot = Checkpoints(tmp_path, "second").restore_best(*template(state))
    assert int(snapshot.state.step) == 10


def test_where_no_state_is_intact_all_are_named(run):
    for folder in (run / "checkpoints").iterdir():
        damage(folder)
    with pytest.raises(
        CheckpointError, match=r"no checkpoint is intact: .*44 is damaged.*22 is damaged"
    ) as error:
        restore_run(run, "latest", DEVICE)
    assert error.value.exit_code == 4


def test_a_save_that_is_cut_off_leaves_what_was_there_and_is_cleared_away(tmp_path, state, monkeypatch):
    checkpoints = Checkpoints(tmp_path, "second")
    save(checkpoints, state, 10, 1, 50.0)
    # As after kill -9: nothing is cleaned up.
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    monkeypatch.setattr("jaxmnist.runs.storage.sync_tree", lambda _: 1 / 0)
    with pytest.raises(StorageError, match="the checkpoint of step 20 could not be saved"):
        save(checkpoints, state, 20, 2, 60.0)
    monkeypatch.undo()
    assert (tmp_path / "checkpoints" / "20.partial" / "about.json").exists()
    again = Checkpoints(tmp_path, "second")
    assert again.latest_step() == 10
    assert int(again.restore_latest(*template(state)).state.step) == 10
    save(again, state, 20, 2, 60.0)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["10", "20"]


def test_old_states_are_deleted_only_once_the_new_one_is_on_the_disk(tmp_path, state, monkeypatch):
    checkpoints = Checkpoints(tmp_path, "second")
    for step in (1, 2, 3):
        save(checkpoints, state, step, step, float(step))
    order = []
    for name in ("sync_tree", "sync"):
        monkeypatch.setattr(f"jaxmnist.runs.storage.{name}", lambda path, name=name: order.append(name))
    monkeypatch.setattr(
        "jaxmnist.runs.checkpoints.remove_tree", lambda path: order.append(f"remove {path.name}")
    )
    save(checkpoints, state, 4, 4, 4.0)
    assert order == ["sync_tree", "sync", "sync", "remove 2"]


def test_nothing_is_pickled_or_unpickled(tmp_path, state, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("pickle was called")

    for name in ("load", "loads", "dump", "dumps", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    save(Checkpoints(tmp_path, "second"), state, 7, 1, 50.0)
    assert int(Checkpoints(tmp_path, "second").restore_latest(*template(state)).state.step) == 7


@pytest.mark.parametrize(
    "kind", ["pipe in place of a file", "pipe beside them", "endless", "gigabytes", "about"]
)
def test_what_is_no_file_of_a_checkpoint_is_damage_and_never_read(run, kind):
    folder = max((run / "checkpoints").iterdir(), key=lambda path: int(path.name))
    file = max(folder.rglob("d/*"), key=lambda path: path.stat().st_size)
    match kind:
        case "pipe in place of a file":
            file.unlink()
            os.mkfifo(file)
        case "pipe beside them":
            os.mkfifo(file.with_name("pipe"))
        case "endless":
            file.unlink()
            file.symlink_to("/dev/zero")
        case "gigabytes":
            os.truncate(file, 2**33)
        case "about":
            (folder / "about.json").unlink()
            os.mkfifo(folder / "about.json")
    began = time.monotonic()
    with pytest.warns(JaxmnistWarning, match="is damaged"):
        restore_run(run, "latest", DEVICE)
    assert time.monotonic() - began < 10
