"""The `train` command as a user meets it: fallback to digits, output, learning-rate search, Ctrl-C and resume."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxmnist
from jaxmnist.runs.folder import read_config
from jaxmnist.runs.selection import summarise
from tests.data.written import some_images, write_npz
from tests.runs.test_loop import saved

TRAIN = [sys.executable, str(Path(__file__).parents[2] / "scripts" / "train.py")]
# A proxy at a port that nobody listens at cuts the network off.
OFFLINE = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "no_proxy": ""}


def environment(tmp_path, **changes):
    """Environment variables without MNIST and without a network."""
    kept = {name: value for name, value in os.environ.items() if name != "JAXMNIST_DATA_DIR"}
    return kept | OFFLINE | {"TFDS_DATA_DIR": str(tmp_path / "tfds"), "COLUMNS": "100"} | changes


def test_without_mnist_and_network_the_run_uses_the_digits_and_says_so_twice(tmp_path):
    code = f"""
import sys
sys.argv = ["train", "--arch", "second", "--epochs", "1", "--runs", {str(tmp_path / "runs")!r}]
from jaxmnist.cli import main as cli
try:
    cli.main("train")
except SystemExit as end:
    print("exit code", end.code)
print("forbidden", sorted({{"tensorflow", "torch", "tensorboardX"}} & set(sys.modules)))
"""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(tmp_path), timeout=120
    )
    assert "exit code 0" in done.stdout, done.stderr
    assert "forbidden []" in done.stdout
    assert done.stdout.count("This is not MNIST") == 2
    assert "train-images-idx3-ubyte" in done.stdout
    assert "5,048 trainable parameters" in done.stdout
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("second-second-modified-digits-s1-")
    names = {str(file.relative_to(run)) for file in run.rglob("*.*") if "checkpoints" not in file.parts}
    pictures = {f"plots/{name}.png" for name in ("loss", "accuracy", "learning_rate")}
    (weights,) = (name for name in names if name.endswith(".npz"))
    assert weights.startswith("second-epoch")
    files = {"calibration.json", "config.json", "lock.json", "metrics.jsonl", "results.json", "run.log"}
    assert names == {*files, weights, *pictures}
    assert time.perf_counter() - began < 60


def test_a_dataset_that_was_named_is_an_error_if_it_cannot_be_found(tmp_path):
    command = [*TRAIN, "--dataset", "mnist", "--runs", str(tmp_path / "runs")]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment(tmp_path), timeout=60)
    assert time.perf_counter() - began < 20
    assert done.returncode == 3
    assert done.stderr.startswith("error: mnist was found nowhere (tried JAXMNIST_DATA_DIR")
    assert "t10k-labels-idx1-ubyte" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("option", "value"), [("--arch", "first"), ("--batch-size", 32), ("--seed", 5)])
def test_resume_refuses_options_of_the_configuration(call, tiny_run, option, value):
    code, _, error = call("train", "--resume", tiny_run, option, value)
    assert code == 2
    assert f"leave out {option}" in error


def test_a_loss_that_is_not_finite_ends_the_run_with_exit_code_5(call, tmp_path):
    code, _, error = call(
        *("train", "--arch", "second", "--dataset", "digits", "--runs", tmp_path),
        *("--learning-rate", "1e30", "--epochs", "1"),
    )
    assert code == 5
    assert "epoch 1, step" in error
    assert "lower --learning-rate" in error


@pytest.mark.parametrize(("target", "code"), [(96.5, 0), (97.5, 6)])
def test_a_target_is_for_the_selected_epoch_and_not_for_the_luckiest_one(
    call, tmp_path, monkeypatch, target, code
):
    # The first epoch is the best on val, the second on test.
    rows = [
        {"epoch": epoch, "val_accuracy": val, "test_accuracy": test, "train_accuracy": 90.0, "seconds": 1.0}
        for epoch, (val, test) in enumerate([(99.0, 97.0), (98.0, 99.0), (97.0, 98.0)], start=1)
    ]

    def trained(run, config, *_):
        return summarise(config, rows, 5_048)

    monkeypatch.setattr("jaxmnist.training.train_in", trained)
    arguments = (
        "--arch",
        "second",
        "--dataset",
        "digits",
        "--runs",
        tmp_path,
        "--target-acc",
        target,
        "--json",
    )
    assert call("train", "--arch", "second", *arguments)[0] == code


def test_json_is_the_only_thing_on_standard_output(call, tmp_path):
    code, out, error = call(
        "train", "--arch", "second", "--dataset", "digits", "--epochs", "1", "--runs", tmp_path, "--json"
    )
    assert code == 0
    results = json.loads(out)
    written = json.loads((Path(results["run"]) / "results.json").read_text())
    del written["seal"], written["metrics_sha256"]
    assert results == written | {"run": results["run"]}
    assert "Epoch 1/1" in error


@pytest.mark.parametrize("losses", [np.linspace(2.3, 0.5, 40), np.linspace(1.0, 2.0, 40)])
def test_lr_auto_trains_at_the_rate_of_the_range_test_or_says_that_there_is_none(
    call, tmp_path, monkeypatch, losses
):
    from jaxmnist.experiments import lr_range

    found = lr_range.analyse(losses.astype(np.float32), lr_range.RangeTest(start=0.01, end=0.1, steps=40))
    monkeypatch.setattr(lr_range, "find_learning_rate", lambda *arguments: found)
    code, _, error = call(
        *("train", "--arch", "second", "--dataset", "digits", "--epochs", "1", "--runs", tmp_path),
        *("--lr", "auto", "--json"),
    )
    assert code == 0
    (run,) = tmp_path.iterdir()
    assert (run / "plots" / "lr_range.png").stat().st_size > 10_000
    rate = json.loads((run / "config.json").read_text())["recipe"]["learning_rate"]
    if found.suggestion is None:
        assert (
            "warning: the range test suggests no learning rate: the smoothed loss never falls; 0.01 is kept"
            in error
        )
        assert rate == 0.01
    else:
        assert "suggests the learning rate" in error
        assert rate == pytest.approx(found.suggestion, rel=1e-5)
        assert rate > 0.01


def final_bytes(run):
    """Metrics, without times, and the arrays of both checkpoints."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        del row["seconds"]
    config = read_config(run)
    return rows, saved(run, config), saved(run, config, "best")


def test_a_run_that_was_interrupted_and_resumed_ends_with_the_same_bytes(tmp_path):
    options = ["--arch", "second", "--dataset", "digits", "--epochs", "5"]

    def start(name):
        return subprocess.Popen(
            [*TRAIN, *options, "--runs", str(tmp_path / name)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    whole, interrupted = start("whole"), start("interrupted")
    assert interrupted.stdout is not None
    for line in interrupted.stdout:
        if line.startswith("Epoch 2/5  train"):
            interrupted.send_signal(signal.SIGINT)
            break
    _, error = interrupted.communicate(timeout=60)
    assert interrupted.returncode == 130, error
    (run,) = (tmp_path / "interrupted").iterdir()
    assert f"--resume {run}" in error
    assert not (run / "results.json").exists()

    resumed = subprocess.run([*TRAIN, "--resume", str(run)], capture_output=True, text=True, timeout=120)
    assert resumed.returncode == 0, resumed.stderr
    assert "Resuming after epoch" in resumed.stdout
    assert whole.wait(timeout=120) == 0
    whole.communicate()
    (reference,) = (tmp_path / "whole").iterdir()
    assert final_bytes(run) == final_bytes(reference)


def test_fine_tuning_from_python_and_the_command_is_the_same_training(tiny_run, tmp_path, call):
    own_data = write_npz(tmp_path / "own.npz", some_images(train=80, test=30))
    options: dict[str, Any] = {"dataset": own_data, "epochs": 1, "runs": tmp_path / "a", "device": "cpu"}
    network = jaxmnist.train_run(init_from=jaxmnist.load(tiny_run, device="cpu"), progress=False, **options)
    assert (network.arch, network.classes) == ("second", ("0", "1", "2"))
    code, out, error = call(
        *("train", "--init-from", tiny_run, "--dataset", own_data, "--epochs", 1, "--runs", tmp_path / "b"),
        *("--device", "cpu", "--json"),
    )
    assert code == 0, error
    assert "begins with" in error
    run = Path(json.loads(out)["run"])
    assert saved(run, read_config(run)) == saved(network.path, read_config(network.path))


def test_the_command_resumes_for_more_epochs_and_says_what_stopped_it(tiny_run, tmp_path, call):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    options = ("--epochs", 9, "--max-seconds", 0.001, "--device", "cpu")
    code, out, error = call("train", "--resume", run, *options)
    assert code == 0, error
    assert "Resuming after epoch 2 of 9." in out
    assert "stopped after epoch 3" in out
    code, _, error = call("train", "--resume", run, "--epochs", 4, "--device", "cpu")
    assert code == 2
    assert "--epochs 4 is below the 9" in error
