"""The Python interface: load, predict, evaluate, plot and train, with the results of the commands."""

import dataclasses
import json
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

import jaxmnist
from jaxmnist.cli import main as cli
from jaxmnist.config import Averaging, Schedule, get_recipe
from jaxmnist.data import load_dataset
from jaxmnist.errors import CheckpointError, DataError, UsageError
from jaxmnist.inference.classifier import Prediction
from jaxmnist.inference.evaluate import evaluate_split
from jaxmnist.runs.curves import save_curves
from jaxmnist.runs.folder import read_metrics
from jaxmnist.runs.restore import restore_run
from jaxmnist.runtime.mesh import every_core, mesh_shape


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="module")
def classifier(tiny_run):
    return jaxmnist.load(tiny_run, device="cpu")


@pytest.fixture(scope="module")
def expected(tiny_run, digits):
    network = restore_run(tiny_run, "best", jax.devices("cpu")[0])
    predictions, log_probs = network.predict(digits.test_images[:6])
    return Prediction(predictions, np.exp(log_probs))


def test_a_run_and_its_weights_file_predict_what_the_network_does(classifier, tiny_run, digits, expected):
    (file,) = tiny_run.glob("*.npz")
    for opened in (classifier, jaxmnist.load(str(file), device="cpu")):
        found = opened.predict(digits.test_images[:6])
        np.testing.assert_array_equal(found.predictions, expected.predictions)
        np.testing.assert_array_equal(found.probabilities, expected.probabilities)
        assert opened.arch == "second"
    assert (classifier.path, opened.path) == (tiny_run, file)


def test_an_image_is_the_same_as_array_of_any_type_file_and_pillow_image(
    classifier, digits, tmp_path, expected
):
    images = digits.test_images[:6]
    Image.fromarray(images[0]).save(tmp_path / "light.png")
    Image.fromarray(255 - images[1]).save(tmp_path / "dark.png")
    mixed = [
        images[0],
        tmp_path / "dark.png",
        Image.fromarray(255 - images[2]),
        images[3].astype(np.float64) / 255,
        jax.numpy.asarray(images[4]),
        images[5:6].astype(np.int64),
    ]
    for given in (mixed, tuple(mixed), images / np.float32(255), images.astype(np.float32), list(images)):
        found = classifier.predict(given)
        np.testing.assert_array_equal(found.predictions, expected.predictions)
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)
    for one in (images[0], str(tmp_path / "light.png"), Image.fromarray(images[0])):
        assert classifier.predict(one).probabilities.shape == (1, 10)
        assert classifier.predict(one).predictions.tolist() == expected.predictions[:1].tolist()


def test_a_pillow_image_of_any_size_is_fitted_in_and_left_as_it_is(classifier, digits):
    page = np.pad(255 - digits.test_images[0].repeat(5, axis=0).repeat(5, axis=1), 40, constant_values=255)
    image = Image.fromarray(page)
    image.getexif()[0x0112] = 6
    before = np.asarray(image).copy()
    classifier.predict(image)
    np.testing.assert_array_equal(np.asarray(image), before)
    assert image.getexif()[0x0112] == 6


def test_no_images_have_no_predictions(classifier):
    for nothing in ([], np.zeros((0, 28, 28), np.uint8)):
        found = classifier.predict(nothing)
        assert (found.predictions.shape, found.probabilities.shape) == ((0,), (0, 10))


def test_arrays_that_are_no_images_are_refused_in_a_sentence(classifier, tmp_path):
    blank = np.zeros((28, 28), np.float32)
    for images, message in (
        (np.zeros((4, 28, 28, 1)), r"an array of shape \(4, 28, 28, 1\), which must be \[n, 28, 28\]"),
        (np.zeros((28, 30)), r"an array of shape \(28, 30\)"),
        (7, r"an array of shape \(\)"),
        (blank - 0.42, r"values from -0\.42 to -0\.42, which must be from 0 to 1 or to 255"),
        (blank + 256, "values from 256 to 256"),
        (blank + np.nan, "values from nan to nan"),
        (blank.astype(complex), "an array of complex128; give integers or floats"),
        (tmp_path / "missing.png", r"missing\.png does not exist"),
    ):
        with pytest.raises(DataError, match=message):
            classifier.predict(images)


def test_evaluating_gives_what_the_command_writes(classifier, tiny_run, digits):
    network = restore_run(tiny_run, "best", jax.devices("cpu")[0])
    for split in ("test", "val"):
        assert classifier.evaluate(split) == evaluate_split(network, digits, split)
    figures = classifier.evaluate()
    assert figures.errors == figures.examples - figures.correct
    assert figures.examples == 297
    with pytest.raises(UsageError, match="there is no dataset 'minst'"):
        classifier.evaluate(dataset="minst")


def test_results_metrics_and_plots_are_those_of_the_run(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr("jaxmnist.runs.curves.save_curves", save_curves)
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    classifier = jaxmnist.load(run, device="cpu")
    assert classifier.results is not None
    assert (
        dataclasses.asdict(classifier.results).items()
        < json.loads((run / "results.json").read_text()).items()
    )
    assert [row["epoch"] for row in classifier.metrics] == [1, 2]
    names = ("loss", "accuracy", "learning_rate")
    assert classifier.plot() == [run / "plots" / f"{name}.png" for name in names]
    assert all((run / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG") for name in names)
    (run / "results.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"results\.json is damaged .*; restore it or train again"):
        _ = classifier.results
    (run / "results.json").unlink()
    assert classifier.results is None


def test_a_weights_file_has_no_epochs(tiny_run):
    (file,) = tiny_run.glob("*.npz")
    classifier = jaxmnist.load(file, device="cpu")
    assert (classifier.results, classifier.metrics) == (None, [])
    with pytest.raises(UsageError, match="is a weights file and has no epochs to plot; load a run folder"):
        classifier.plot()


def test_what_cannot_be_loaded_is_refused_as_by_the_commands(tmp_path, tiny_run):
    with pytest.raises(CheckpointError, match="is not a run folder"):
        jaxmnist.load(tmp_path)
    with pytest.raises(UsageError, match="is a run, which has its own arch; leave out --arch"):
        jaxmnist.load(tiny_run, arch="third")


def test_training_takes_names_changes_and_recipes_and_refuses_what_the_command_refuses(tmp_path):
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"arch": "thrid"}, "there is no arch 'thrid'"),
        ({"recipe": "thrid"}, "there is no recipe 'thrid'"),
        ({"recipe": {"epochz": 1}}, "recipe has no key 'epochz'"),
        ({"recipe": {"name": "a b"}}, "recipe.name is"),
        ({"epochs": 0}, "epochs=0, which must be above 0"),
        ({"dropout": 1.5}, "dropout=1.5, which must be at least 0"),
        ({"dataset": "minst"}, "there is no dataset 'minst'"),
    )
    for options, message in cases:
        with pytest.raises(UsageError, match=message):
            jaxmnist.train_run(**{"dataset": "digits", "runs": tmp_path / "runs"} | options)
    assert not (tmp_path / "runs").exists()


def test_python_asks_for_what_the_command_asks_for(tmp_path, monkeypatch):
    asked = []

    def start_run(config, *_):
        asked.append(config)
        raise UsageError("that is all.")

    monkeypatch.setattr("jaxmnist.api.start_run", start_run)
    monkeypatch.setattr("jaxmnist.training.start_run", start_run)
    options = {"seed": 7, "epochs": 3, "batch_size": 100, "learning_rate": 0.05, "schedule": "one_cycle"}
    options |= {"weight_decay": 1e-4, "select_on": "last"}
    recipe = {"nesterov": True, "deskew": True, "decay_on": "kernels", "averaging.decay": 0.9}
    with pytest.raises(UsageError, match=r"that is all\."):
        jaxmnist.train_run("third", dataset="digits", recipe=recipe, **options)
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    words += [word for name, value in recipe.items() for word in ("--set", f"{name}={str(value).lower()}")]
    monkeypatch.setattr("sys.argv", ["train", "--dataset", "digits", *words])
    with pytest.raises(SystemExit):
        cli.main("train")
    python, command = asked
    digits = load_dataset("digits")
    assert python == command
    assert python.select_on == "last"
    assert python.recipe == dataclasses.replace(
        get_recipe("third"),
        name="third-modified",
        mean=round(digits.mean_and_std[0], 4),
        std=round(digits.mean_and_std[1], 4),
        epochs=3,
        batch_size=100,
        learning_rate=0.05,
        plateau=None,
        schedule=Schedule("one_cycle"),
        nesterov=True,
        weight_decay=1e-4,
        decay_on="kernels",
        averaging=Averaging(0.9),
        deskew=True,
    )


def test_folds_are_asked_for_in_python_as_on_the_line(monkeypatch, capsys):
    with pytest.raises(UsageError, match="folds=1, which must be from 2 to 100"):
        jaxmnist.train_run("third", dataset="digits", folds=1)
    monkeypatch.setattr("sys.argv", ["train", "--dataset", "digits", "--folds", "1"])
    with pytest.raises(SystemExit):
        cli.main("train")
    assert "folds=1, which must be from 2 to 100" in capsys.readouterr().err


def test_python_trains_to_the_same_numbers_as_the_loop_itself(tmp_path, tiny_run):
    trained = jaxmnist.train_run(
        "second", dataset="digits", epochs=2, runs=tmp_path, device="cpu", progress=False
    )
    rows = [[row | {"seconds": 0} for row in read_metrics(run)] for run in (trained.path, tiny_run)]
    assert rows[0] == rows[1]
    assert len([plot for plot in trained.plot() if plot.is_file()]) == 3


def test_without_progress_nothing_is_printed(tmp_path, capfd):
    recipe = dataclasses.replace(get_recipe("second"), epochs=1)
    classifier = jaxmnist.train_run(
        "second", recipe=recipe, dataset="digits", runs=tmp_path, device="cpu", progress=False
    )
    assert capfd.readouterr() == ("", "")
    assert classifier.results is not None
    assert classifier.results.recipe == "second-modified"
    assert classifier.results.epochs == 1


def test_a_pickled_classifier_predicts_the_same_also_without_its_file(
    classifier, tiny_run, digits, expected, tmp_path
):
    (file,) = tiny_run.glob("*.npz")
    copy = tmp_path / "copy.npz"
    shutil.copy(file, copy)
    from_file = jaxmnist.load(copy, device="cpu")
    contents = [pickle.dumps(one) for one in (classifier, from_file)]
    copy.unlink()
    for one, content in zip((classifier, from_file), contents, strict=True):
        again = pickle.loads(content)
        found = again.predict(digits.test_images[:6])
        np.testing.assert_array_equal(found.predictions, expected.predictions)
        np.testing.assert_array_equal(found.probabilities, expected.probabilities)
        assert (again.arch, again.path, again.classes) == (one.arch, one.path, one.classes)
    assert pickle.loads(contents[0]).evaluate() == classifier.evaluate()


SPAWN = """
import multiprocessing, sys
import jaxmnist

if __name__ == "__main__":
    classifier = jaxmnist.load(sys.argv[1], device="cpu")
    images = jaxmnist.load_dataset("digits").test_images[:4]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (found,) = pool.map(classifier.predict, [images])
    print((found.probabilities == classifier.predict(images).probabilities).all())
"""


def test_a_spawned_pool_predicts_with_a_classifier(tiny_run, tmp_path):
    (tmp_path / "program.py").write_text(SPAWN)
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py", tiny_run], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "True\n", done.stderr


def test_joblibs_processes_predict_with_a_classifier(classifier, digits, expected):
    loky = pytest.importorskip("joblib.externals.loky")  # scikit-learn brings it
    with loky.ProcessPoolExecutor(max_workers=1) as pool:
        found = pool.submit(classifier.predict, digits.test_images[:6]).result(timeout=60)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)


def test_batches_of_any_size_share_a_program_for_each_power_of_two(tiny_run, digits, monkeypatch):
    from jaxmnist.train import jit, network

    sizes = []

    def build(*arguments):
        programs = jit.build_programs(*arguments)

        def predict_chunk(variables, images):
            sizes.append(len(images))
            return programs.predict_chunk(variables, images)

        return programs._replace(predict_chunk=predict_chunk)

    monkeypatch.setattr(network, "build_programs", build)
    monkeypatch.setattr(network, "CHUNK_IMAGES", 128)
    classifier = jaxmnist.load(tiny_run, device="cpu")
    every = classifier.predict(digits.test_images[:297])
    devices = mesh_shape(every_core(classifier.network.device)).devices
    assert sizes == [128 * devices] * -(-297 // (128 * devices))
    for count in (1, 2, 3, 5, 63, 65, 100, 127, 128, 129):
        found = classifier.predict(digits.test_images[:count])
        assert len(found.predictions) == count
        np.testing.assert_allclose(found.probabilities, every.probabilities[:count], atol=1e-6)
    assert {*sizes} == {1, 2, 4, 8, 64, 128, 128 * devices}


def test_an_interrupt_while_training_is_python_s_own_with_the_state_saved(tmp_path, monkeypatch):
    from jaxmnist.runs import loop

    train_epoch, handler = loop.train_epoch, signal.getsignal(signal.SIGINT)
    monkeypatch.setattr("os._exit", lambda code: pytest.fail(f"the process was ended with {code}"))
    monkeypatch.setattr(loop, "SECONDS_TO_STOP", 0.05)

    def compile_for_long(*arguments):
        monkeypatch.setattr(loop, "train_epoch", train_epoch)
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.2)
        return train_epoch(*arguments)

    monkeypatch.setattr(loop, "train_epoch", compile_for_long)
    options = {"dataset": "digits", "epochs": 1, "device": "cpu", "progress": False}
    with pytest.raises(KeyboardInterrupt, match=r"the state is saved; go on with jaxmnist\.resume_run"):
        jaxmnist.train_run("second", runs=tmp_path, **options)
    assert signal.getsignal(signal.SIGINT) is handler
    (run,) = tmp_path.iterdir()
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["1-mid-epoch"]

    # Another thread than the main one resumes as well, and touches no signal.
    done = []
    thread = threading.Thread(
        target=lambda: done.append(jaxmnist.resume_run(run, device="cpu", progress=False))
    )
    thread.start()
    thread.join()
    assert done[0].results.epochs == 1
