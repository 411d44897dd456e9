"""The lines of a training: an epoch's figures, the best so far, and how long it has been the best."""

import dataclasses
import io

import jax
import pytest

from jaxmnist.config import get_recipe
from jaxmnist.config.run import RunConfig
from jaxmnist.data import load_dataset
from jaxmnist.data.splits import SelectOn
from jaxmnist.report.terminal.console import SafeConsole
from jaxmnist.report.terminal.training import TrainingDisplay
from jaxmnist.runs import epoch as epochs
from jaxmnist.runs.folder import create_run, read_metrics
from jaxmnist.runs.loop import fit
from jaxmnist.runs.progress import Progress
from jaxmnist.runtime.devices import peak_memory


def row_of(epoch, accuracy, **more):
    figures = {"loss": 0.25, "correct": round(5 * accuracy), "examples": 500, "accuracy": accuracy}
    splits = {f"{split}_{name}": value for split in ("val", "test") for name, value in figures.items()}
    train = {"train_loss": 0.5, "train_accuracy": 90.0, "learning_rate": 0.01, "seconds": 2.0}
    return {"epoch": epoch, **train, **splits, **more}


def lines_of(rows, select_on: SelectOn = "val", **console):
    config = RunConfig("second", get_recipe("second"), "digits", 1, select_on, "")
    out = io.StringIO()
    with TrainingDisplay(SafeConsole(**{"file": out, "width": 300} | console), config, ()) as show:
        for row in rows:
            show(Progress("epoch", 1, row["epoch"], row=row))
    return out.getvalue().splitlines()


def test_an_epoch_is_the_best_so_far_or_no_better_for_so_many():
    lines = lines_of([row_of(1, 96.0), row_of(2, 97.0), row_of(3, 96.5), row_of(4, 97.0)])
    assert lines[0] == (
        "Epoch  1/15  train loss 0.5000 (90.00 %)  val loss 0.2500  480/500 (96.00 %)  "
        "test loss 0.2500  480/500 (96.00 %)  lr 0.01  2.0 s  best so far"
    )
    assert lines[1].endswith("2.0 s  best so far")
    assert lines[2].endswith("no better for 1 epoch; best 97.00 % in epoch 2")
    assert lines[3].endswith("no better for 2 epochs; best 97.00 % in epoch 2")


def test_where_the_last_epoch_is_kept_none_is_the_best():
    assert lines_of([row_of(1, 96.0)], "last")[0].endswith("2.0 s")


def test_a_narrow_terminal_gets_whole_words_and_a_file_whole_lines():
    terminal, file = (lines_of([row_of(1, 96.0)], width=80, force_terminal=end) for end in (True, False))
    (line,) = file
    first, second = (part.removeprefix("\x1b[2K") for part in terminal if "loss" in part)
    assert (first, second) == (line[: len(first)], " " * 13 + line[len(first) :].lstrip())
    assert first.endswith("(96.00 %)")
    assert max(len(first), len(second)) <= 80


def test_skipped_steps_and_the_memory_of_a_device_are_said():
    (line,) = lines_of([row_of(1, 96.0, skipped_steps=3, peak_memory_bytes=412_300_000)])
    assert line.endswith("best so far  at most 412 MB  3 steps skipped")


@pytest.mark.parametrize("memory", [5_000_000, None])
def test_the_peak_of_a_device_s_memory_is_kept_for_each_epoch_where_it_is_counted(
    tmp_path, monkeypatch, memory
):
    monkeypatch.setattr(epochs, "peak_memory", lambda _: memory)
    digits = load_dataset("digits")
    recipe = dataclasses.replace(get_recipe("second"), epochs=1)
    config = RunConfig("second", recipe, "digits", 1, "val", digits.fingerprint)
    run = create_run(tmp_path, config, {})
    fit(config, digits, run, jax.devices()[0])
    assert read_metrics(run)[0].get("peak_memory_bytes") == memory
    assert peak_memory(jax.devices("cpu")[0]) is None
