"""The log of a run tells every session, epoch and end, and never ends a run itself."""

import contextlib
import datetime

from jaxmnist.runs.log import LOG, logged
from jaxmnist.runs.progress import Progress

ROW = {"epoch": 1, "learning_rate": 0.01, "train_loss": 0.5, "val_accuracy": 97.25, "val_correct": 9}


def lines(run):
    return [line.split("  ", 1) for line in (run / LOG).read_text().splitlines()]


def test_sessions_epochs_and_ends_have_a_line_with_the_time(tmp_path):
    began = datetime.datetime.now().astimezone().replace(microsecond=0)
    with contextlib.suppress(KeyboardInterrupt), logged(tmp_path, "cpu, 2 devices") as write:
        write(Progress("start", 1, 0))
        write(Progress("step", 1, 1, 3, 10))
        write(Progress("epoch", 1, 1, 10, 10, row=ROW))
        raise KeyboardInterrupt
    with logged(tmp_path, "cpu") as write:
        write(Progress("start", 1, 1))
    times, texts = zip(*lines(tmp_path), strict=True)
    assert texts == (
        "start after epoch 0, on cpu, 2 devices",
        "epoch 1: learning_rate 0.01, train_loss 0.5, val_accuracy 97.25",
        "ended: KeyboardInterrupt",
        "start after epoch 1, on cpu",
        "complete",
    )
    assert all(datetime.datetime.fromisoformat(time) >= began for time in times)


def test_a_log_that_cannot_be_written_is_left_out(tmp_path):
    (tmp_path / LOG).mkdir()
    with logged(tmp_path, "cpu") as write:
        write(Progress("start", 1, 0))
