"""TensorBoard: tensorboardX's parser reads one event for each epoch of a run."""

import io
import json
import shutil
import sys
import warnings
from typing import Any

import pytest
from PIL import Image
from tensorboardX.proto import event_pb2
from tensorboardX.record_writer import masked_crc32c

from jaxmnist.cli import main as cli
from jaxmnist.errors import JaxmnistWarning
from jaxmnist.runs.folder import read_metrics, write_metrics
from jaxmnist.runs.progress import Progress
from jaxmnist.runs.record import read_results
from jaxmnist.runs.tensorboard import FOLDER, EventWriter
from jaxmnist.runtime.files import append

Event: Any = vars(event_pb2)["Event"]  # made when the module loads


def row(epoch, **changes):
    return {
        "epoch": epoch,
        "step": 22 * epoch,
        "learning_rate": 0.01 / epoch,
        "train_loss": 1.0 / epoch,
        "train_accuracy": 90.0 + epoch,
        "test_loss": 0.5 / epoch,
        "test_accuracy": 95.0 + epoch,
        "test_correct": 290,
        "seconds": 2.5,
    } | changes


def tell_epoch(callback, row):
    callback(Progress("epoch", 1, row["epoch"], row=row))


def read_events(run):
    """Events of all files, each up to its first torn record."""
    for file in sorted((run / FOLDER).iterdir()):
        content = file.read_bytes()
        while content:
            size = int.from_bytes(content[:8], "little")
            if len(content) < 16 + size or masked_crc32c(content[12 : 12 + size]) != int.from_bytes(
                content[12 + size : 16 + size], "little"
            ):
                break
            yield Event.FromString(content[12 : 12 + size])
            content = content[16 + size :]


def parsed(run):
    """Steps with their scalars by tag, read without this project's code."""
    found = []
    for event in read_events(run):
        if event.summary.value:
            found.append((event.step, {value.tag: value.simple_value for value in event.summary.value}))
        else:
            assert event.file_version == "brain.Event:2"
    return found


def steps(run):
    return [step for step, _ in parsed(run)]


@pytest.fixture
def call(monkeypatch, capsys):
    """Runs `train` in this process; returns exit code, standard output, standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["train", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main("train")
        return end.value.code, *capsys.readouterr()

    return run


def test_an_epoch_is_one_event_with_every_scalar_of_its_line(tmp_path):
    writer = EventWriter(tmp_path)
    writer(Progress("start", 1, 0))
    assert not (tmp_path / FOLDER).exists()
    tell_epoch(writer, row(1))
    tell_epoch(writer, row(2, val_loss=0.25, val_accuracy=97.0, plain_val_accuracy=95.0))
    (first, scalars), (second, more) = parsed(tmp_path)
    assert (first, second) == (1, 2)
    assert set(scalars) == {
        *("loss/train", "loss/test", "accuracy/train", "accuracy/test", "learning_rate", "seconds")
    }
    assert scalars["accuracy/test"] == 96.0
    assert scalars["learning_rate"] == pytest.approx(0.01)
    assert (more["loss/val"], more["accuracy/val"], more["seconds"]) == (0.25, 97.0, 2.5)
    assert more["accuracy/plain_val"] == 95.0


def test_a_resumed_run_writes_what_is_missing_and_nothing_twice(tmp_path):
    lines = [row(epoch) for epoch in (1, 2, 3)]
    write_metrics(tmp_path, lines)
    writer = EventWriter(tmp_path)
    writer(Progress("start", 1, 2))  # the third line is of an epoch that the checkpoint does not have
    assert steps(tmp_path) == [1, 2]
    again = EventWriter(tmp_path)
    again(Progress("start", 1, 1))  # an older checkpoint: epoch 2 is trained again, to the same figures
    tell_epoch(again, row(2))
    tell_epoch(again, row(3))
    assert steps(tmp_path) == [1, 2, 3]


@pytest.mark.parametrize("damage", [lambda content: content[:-5], lambda content: content[:-1] + b"?"])
def test_a_torn_or_changed_record_is_written_again(tmp_path, damage):
    write_metrics(tmp_path, [row(1), row(2)])
    EventWriter(tmp_path)(Progress("start", 1, 2))
    (file,) = (tmp_path / FOLDER).iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert [event.step for event in read_events(tmp_path) if event.summary.value] == [1]
    EventWriter(tmp_path)(Progress("start", 1, 2))
    assert [event.step for event in read_events(tmp_path) if event.summary.value] == [1, 2]


def test_a_full_disk_is_a_warning_and_the_next_epoch_makes_up_for_it(tmp_path, monkeypatch):
    writer = EventWriter(tmp_path)
    writer(Progress("start", 1, 0))

    def full(path, content):
        append(path, b"")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jaxmnist.runs.tensorboard.append", full)
    with pytest.warns(
        JaxmnistWarning, match=r"cannot be written \(No space left on device\); training continues"
    ):
        tell_epoch(writer, row(1))
    assert steps(tmp_path) == []
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tell_epoch(writer, row(2))
    assert steps(tmp_path) == [1, 2]


def test_without_the_package_training_does_not_begin(call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    code, _, error = call("--dataset", "digits", "--runs", tmp_path / "runs", "--tensorboard")
    assert code == 2
    assert error.startswith("error: --tensorboard needs tensorboardX, which is not installed; run pip")
    assert "pip install 'jaxmnist[tensorboard]'" in error
    assert not (tmp_path / "runs").exists()


def test_the_command_tells_the_writer_and_adds_the_confusion_picture_once(
    call, tiny_run, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)

    def fit(config, dataset, run, device, callbacks, team, stop_rule):
        for callback in callbacks:
            callback(Progress("start", 1, 1))
            tell_epoch(callback, read_metrics(run)[1])
        return read_results(run)

    monkeypatch.setattr("jaxmnist.training.fit", fit)
    code, _, error = call("--resume", run, "--tensorboard", "--json")
    assert code == 0, error
    events = parsed(run)
    scalars = {step: values for step, values in events if "confusion" not in values}
    for line in read_metrics(run):
        for tag in ("loss/train", "loss/val", "loss/test", "accuracy/train", "accuracy/val", "accuracy/test"):
            metric, split = tag.split("/")
            assert scalars[line["epoch"]][tag] == pytest.approx(line[f"{split}_{metric}"])
    (picture,) = (
        event for event in read_events(run) if event.summary.value[:1] and event.summary.value[0].image.width
    )
    image = Image.open(io.BytesIO(picture.summary.value[0].image.encoded_image_string))
    assert image.size == (picture.summary.value[0].image.width, picture.summary.value[0].image.height)
    assert picture.step == json.loads((run / "results.json").read_text())["best_epoch"]
    assert call("--resume", run, "--tensorboard", "--json")[0] == 0
    assert parsed(run) == events
