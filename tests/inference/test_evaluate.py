"""Evaluation: every image counts once, figures agree with those of training, damaged runs are named."""

import dataclasses
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from jaxmnist.cli.evaluate import Evaluate
from jaxmnist.config import get_recipe
from jaxmnist.data import Dataset, load_dataset
from jaxmnist.errors import CheckpointError, DataError, UsageError
from jaxmnist.inference.evaluate import (
    Evaluation,
    augmented,
    evaluate_split,
    images_of,
    predict_shifted,
    splits_of,
)
from jaxmnist.models import create_model
from jaxmnist.report.plots.mistakes import save_evaluation_plots
from jaxmnist.report.terminal.evaluation import print_evaluations
from jaxmnist.runs.curves import save_figure
from jaxmnist.runs.folder import read_metrics, require_data_of_run
from jaxmnist.runs.restore import restore_run
from jaxmnist.train.network import Network
from tests.data.written import some_images, write_npz
from tests.resealed import reseal

SCRIPT = Path(__file__).parents[2] / "scripts" / "evaluate.py"
CPU = jax.devices("cpu")[0]


@pytest.fixture(scope="session")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="session")
def network(tiny_run):
    return restore_run(tiny_run, "best", CPU)


@pytest.fixture(scope="session")
def figures(network, digits):
    return evaluate_split(network, digits, "test")


def by_hand(predictions, confidences, labels) -> Evaluation:
    """Evaluates predictions made up here; the other classes share the rest of each probability."""
    probabilities = np.repeat((1 - np.array(confidences, np.float32))[:, None] / 9, 10, axis=1)
    probabilities[np.arange(len(labels)), predictions] = confidences
    images, labels = np.zeros((len(labels), 28, 28), np.uint8), np.array(labels, np.int32)
    with pytest.MonkeyPatch.context() as patch:
        outputs = np.array(predictions, np.int32), np.log(probabilities)
        patch.setattr(Network, "predict", lambda self, images: outputs)
        network = Network("second", create_model("second"), get_recipe("second"), {}, CPU)
        return evaluate_split(
            network, Dataset("mnist", images, labels, images.copy(), labels.copy(), "here"), "test"
        )


@pytest.mark.parametrize("which", ["best", "latest"])
@pytest.mark.parametrize("split", ["val", "test"])
def test_figures_are_those_that_training_wrote_for_that_epoch(tiny_run, digits, which, split):
    network = restore_run(tiny_run, which, CPU)
    rows = read_metrics(tiny_run)
    row = max(rows, key=lambda row: row["val_accuracy"]) if which == "best" else rows[-1]
    figures = evaluate_split(network, digits, split)
    assert (figures.epoch, figures.step) == (row["epoch"], row["step"])
    assert figures.correct == row[f"{split}_correct"]
    assert figures.examples == row[f"{split}_examples"] == figures.correct + figures.errors
    assert figures.accuracy == row[f"{split}_accuracy"]
    assert figures.loss == pytest.approx(row[f"{split}_loss"], rel=1e-5)


def test_training_images_are_all_but_the_held_out_ones_and_their_indices_say_which(network, digits):
    train = evaluate_split(network, digits, "train")
    val = evaluate_split(network, digits, "val")
    assert (train.examples, val.examples) == (1375, 125)
    assert min(mistake.index for mistake in val.mistakes) >= 1375
    for mistake in train.mistakes + val.mistakes:
        assert digits.train_labels[mistake.index] == mistake.label


def test_each_image_counts_once_whatever_their_number(network, digits):
    predictions, log_probs = network.predict(digits.test_images)
    assert log_probs.shape == (297, 10)
    assert log_probs.dtype == np.float32
    for first, last in [(0, 1), (7, 71), (100, 165), (200, 297)]:
        part = network.predict(digits.test_images[first:last])
        np.testing.assert_array_equal(part[0], predictions[first:last])
        np.testing.assert_allclose(part[1], log_probs[first:last], atol=1e-5)


def test_shifted_predictions_are_the_mean_over_all_nine_shifts(network, digits):
    images = digits.test_images[:40]
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    parts = [network.predict(framed[:, y : y + 28, x : x + 28])[1] for y in range(3) for x in range(3)]
    expected = np.exp(parts).mean(0)
    predictions, log_probs = predict_shifted(network, images, 1)
    np.testing.assert_allclose(np.exp(log_probs), expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(predictions, expected.argmax(1))
    np.testing.assert_allclose(np.exp(log_probs).sum(1), 1, rtol=1e-5)
    assert np.abs(np.exp(log_probs) - np.exp(parts[4])).max() > 0.01


def test_the_confusion_matrix_counts_each_image_in_its_row_and_column(figures, digits):
    confusion = np.array(figures.confusion)
    np.testing.assert_array_equal(confusion.sum(1), np.bincount(digits.test_labels, minlength=10))
    assert confusion.sum() == 297
    assert np.trace(confusion) == figures.correct
    assert len(figures.mistakes) == 297 - figures.correct
    np.testing.assert_allclose(
        figures.class_accuracies, 100 * np.diag(confusion) / confusion.sum(1), rtol=1e-12
    )
    asymmetric = by_hand([7, 7], [0.9, 0.9], [1, 7]).confusion
    assert (asymmetric[1][7], asymmetric[7][1], asymmetric[7][7]) == (1, 0, 1)


def test_mistakes_come_with_the_most_confident_first():
    evaluation = by_hand([3, 1, 2, 5, 4], [0.6, 0.99, 0.9, 0.7, 0.8], [3, 0, 2, 6, 9])
    assert [mistake.index for mistake in evaluation.mistakes] == [1, 4, 3]
    first = evaluation.mistakes[0]
    assert (first.label, first.prediction) == (0, 1)
    assert first.confidence == pytest.approx(0.99)
    assert evaluation.accuracy == 40.0
    assert evaluation.loss == pytest.approx(
        -np.mean(np.log([0.6, 0.01 / 9, 0.9, 0.3 / 9, 0.2 / 9])), rel=1e-5
    )


def test_a_class_without_images_has_no_accuracy():
    shares = by_hand([3, 1], [0.6, 0.9], [3, 0]).class_accuracies
    assert shares == [0.0, None, None, 100.0, *[None] * 6]


def test_without_mistakes_the_picture_of_an_earlier_evaluation_goes(figures, digits, tmp_path, monkeypatch):
    monkeypatch.setattr("jaxmnist.report.plots.mistakes.save_figure", save_figure)
    one = dataclasses.replace(figures, mistakes=figures.mistakes[:1])
    written = save_evaluation_plots(tmp_path, one, "a network", digits.test_images)
    assert [file.name for file in written] == ["confusion.png", "reliability.png", "mistakes.png"]
    assert all(file.stat().st_size > 5_000 for file in written)
    confusion = np.diag(np.full(10, 30)).tolist()
    shares = [100.0] * 9 + [None]
    perfect = dataclasses.replace(figures, mistakes=[], confusion=confusion, class_accuracies=shares)
    written = save_evaluation_plots(tmp_path, perfect, "a network", digits.test_images)
    assert {file.name for file in (tmp_path / "plots").iterdir()} == {"confusion.png", "reliability.png"}
    assert [file.name for file in written] == ["confusion.png", "reliability.png"]


def test_other_data_are_refused_unless_they_are_asked_for(network, digits, tiny_run):
    config = network.config
    other = dataclasses.replace(digits, test_images=digits.test_images[::-1], source="elsewhere")
    require_data_of_run(config, digits, tiny_run)
    with pytest.raises(
        DataError, match=r"trained on other data than elsewhere.*give --data-dir the original files"
    ):
        require_data_of_run(config, other, tiny_run)
    assert evaluate_split(network, digits, "test").data_of_run is True
    assert evaluate_split(network, other, "test").data_of_run is False


def test_a_run_that_held_out_nothing_has_no_val(network, digits):
    config = dataclasses.replace(network.config, select_on="test")
    with pytest.raises(UsageError, match="held out no images, so it has no split 'val'"):
        evaluate_split(network._replace(config=config), digits, "val")


def test_all_splits_come_in_one_call_each_in_files_of_its_own(tiny_run, tmp_path, network, digits, capsys):
    options = {"network": tiny_run, "device": "cpu", "no_compile_cache": True, "json": True}
    Evaluate(split="all", out=tmp_path, **options).run()
    splits = json.loads(capsys.readouterr().out)["splits"]
    assert list(splits) == ["train", "val", "test"]
    for split, figures in splits.items():
        assert figures == json.loads(
            (tmp_path / f"evaluation{'' if split == 'test' else f'-{split}'}.json").read_text()
        )
        assert figures["confusion"] == evaluate_split(network, digits, split).confusion
        wrong = figures["mistakes"]
        assert len(wrong) == figures["errors"] == figures["examples"] - figures["correct"]
        assert wrong == sorted(wrong, key=lambda mistake: -mistake["confidence"])
    Evaluate(split="train", augment=True, out=tmp_path, **options).run()
    suffixes = ("", "-train", "-train-augmented", "-val")
    pictures = {
        f"{name}{suffix}.png" for name in ("confusion", "mistakes", "reliability") for suffix in suffixes
    }
    assert {file.name for file in (tmp_path / "plots").iterdir()} == pictures
    assert {file.name for file in tmp_path.glob("*.json")} == {f"evaluation{end}.json" for end in suffixes}
    changed = json.loads((tmp_path / "evaluation-train-augmented.json").read_text())
    assert (changed["augmentation_seed"], splits["train"]["augmentation_seed"]) == (0, None)
    assert changed["errors"] > splits["train"]["errors"]


def test_splits_are_those_that_have_images(network, digits):
    assert splits_of(network, digits) == ["train", "val", "test"]
    published = network._replace(config=dataclasses.replace(network.config, select_on="test"))
    assert splits_of(published, digits) == ["train", "test"]
    assert evaluate_split(published, digits, "train").examples == 1500


def test_augmented_images_are_repeated_by_their_seed_whatever_follows_them(digits, network):
    images, augmentation = images_of(digits, "train"), network.recipe.augmentation
    first = augmented(images[:130], augmentation, 0)
    assert (first.shape, first.dtype) == ((130, 28, 28), np.uint8)
    np.testing.assert_array_equal(augmented(images[:128], augmentation, 0), first[:128])
    assert (first != images[:130]).any((1, 2)).mean() > 0.9
    assert (first != augmented(images[:130], augmentation, 1)).any((1, 2)).mean() > 0.9
    # The same image is changed differently in two batches.
    same = augmented(np.repeat(images[:1], 128, axis=0), augmentation, 0)
    assert (same[:64] != same[64:]).any()


def test_only_train_images_are_augmented(tiny_run):
    with pytest.raises(UsageError, match=r"changes train images, not those of test; add --split train"):
        Evaluate(network=tiny_run, augment=True).run()


def test_the_terminal_shows_splits_side_by_side_in_80_columns(figures):
    train = dataclasses.replace(figures, split="train", augmentation_seed=0, examples=60000, correct=59390)
    train = dataclasses.replace(train, errors=610, accuracy=100 * 59390 / 60000)
    train = dataclasses.replace(train, mistakes=figures.mistakes[:1] * 59999)
    shares = [None, *[100.0] * 9]
    perfect = dataclasses.replace(figures, split="val", mistakes=[], class_accuracies=shares)
    output = io.StringIO()
    files = [Path("evaluation.json")]
    print_evaluations(Console(width=80, file=output), "a network", [train, perfect, figures], files)
    lines = output.getvalue().splitlines()
    # Of lines that begin alike the first, which is that of the table; a mistake of a 9 is listed below it.
    rows = [line.split() for line in reversed(lines) if line.startswith(" ") and line.strip()]
    cells = {name: row for name, *row in rows}
    assert cells["errors"] == ["610", *[str(figures.errors)] * 2]
    assert cells["examples"] == ["60,000", "297", "297"]
    shares = [f"{share:.2f}" for share in figures.class_accuracies]
    assert cells["0"] == ["correct", shares[0], "%", shares[0], "%"]
    assert cells["9"] == ["correct", shares[9], "%", "100.00", "%", shares[9], "%"]
    assert "Most confident of 59,999 augmented train mistakes (index into training images):" in lines
    assert "No val mistakes: there is nothing to draw." in lines
    assert f"Most confident of {figures.errors} test mistakes (index into test images):" in lines
    # The first lines name network and data, however long their names are.
    assert max(map(len, lines[2:])) <= 80


def listing(folder: Path) -> list[tuple[Path, int]]:
    return sorted((path, path.stat().st_mtime_ns) for path in (folder, *folder.rglob("*")))


def test_restoring_writes_nothing_into_the_run(tiny_run):
    before = listing(tiny_run)
    restore_run(tiny_run, "best", CPU)
    assert listing(tiny_run) == before


def test_what_is_not_a_run_or_has_no_checkpoint_is_named(tiny_run, tmp_path):
    for wrong in (tmp_path / "missing", tmp_path, tiny_run / "config.json"):
        with pytest.raises(CheckpointError, match=r"is not a run folder: it has no config\.json"):
            restore_run(wrong, "best", CPU)
    shutil.copy(tiny_run / "config.json", tmp_path)
    with pytest.raises(CheckpointError, match=r"has no folder checkpoints"):
        restore_run(tmp_path, "best", CPU)
    assert not (tmp_path / "checkpoints").exists()
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match=r"holds no checkpoint"):
        restore_run(tmp_path, "latest", CPU)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("first", r"its arch is 'first', not 'second' as the checkpoint of step \d+ records; restore it"),
        ("later", r"is a run of arch 'later', which this version does not have \(it has first, second"),
    ],
)
def test_a_checkpoint_of_another_arch_is_refused_with_both_names(tiny_run, tmp_path, arch, message):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    if arch == "later":
        reseal(run, {"arch": arch})
    else:
        config = json.loads((run / "config.json").read_text())
        (run / "config.json").write_text(json.dumps(config | {"arch": arch}))
    with pytest.raises(CheckpointError, match=message) as caught:
        restore_run(run, "best", CPU)
    assert caught.value.exit_code == 4


def test_a_run_whose_path_is_not_utf_8_is_said_to_be_in_the_wrong_place(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run\udcff")
    with pytest.raises(CheckpointError, match=r"cannot be read, as the path is not UTF-8; rename the folder"):
        restore_run(run, "best", CPU)


def test_finite_weights_that_give_other_values_are_refused(tiny_run, digits):
    network = restore_run(tiny_run, "best", CPU)
    huge = jax.tree.map(lambda leaf: leaf * 0 + 1e38, network.variables)
    with pytest.raises(
        CheckpointError, match=r"give values that are not finite for \d+ of 10 images"
    ) as error:
        network._replace(variables=huge).predict(digits.test_images[:10])
    assert error.value.exit_code == 4


def test_weights_that_are_not_finite_are_refused(tiny_run, monkeypatch):
    from jaxmnist.runs.checkpoints import Checkpoints

    restore = Checkpoints.restore_best

    def damaged(self, *template):
        snapshot = restore(self, *template)
        params = jax.tree.map(lambda leaf: leaf * jnp.float32(np.nan), snapshot.state.params)
        return snapshot._replace(state=snapshot.state._replace(params=params))

    monkeypatch.setattr(Checkpoints, "restore_best", damaged)
    with pytest.raises(CheckpointError, match="has weights that are not finite"):
        restore_run(tiny_run, "best", CPU)


def test_the_command_prints_the_json_that_it_writes(tiny_run, tmp_path, figures):
    out = tmp_path / "new" / "folder"
    done = subprocess.run(
        [sys.executable, SCRIPT, tiny_run, "--json", "--out", out, "--device", "cpu"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed == json.loads((out / "evaluation.json").read_text())
    assert printed["run"] == str(tiny_run)
    assert printed["confusion"] == figures.confusion
    assert printed["loss"] == pytest.approx(figures.loss, rel=1e-6)
    assert done.stderr == ""
    for name in ("confusion.png", "mistakes.png"):
        with Image.open(out / "plots" / name) as picture:
            assert min(picture.size) > 500


def test_the_terminal_shows_the_figures_in_80_columns(figures):
    output = io.StringIO()
    terminal = Console(width=80, file=output)
    # The widest numbers of any dataset here: MNIST's training images.
    confusion = np.full((10, 10), 6742).tolist()
    wide = dataclasses.replace(figures, confusion=confusion, class_accuracies=[100.0] * 10)
    print_evaluations(terminal, "a network", [wide], [Path("plots/confusion.png")])
    lines = output.getvalue().splitlines()
    table = [line.split() for line in lines if "6742" in line]
    assert table == [[str(label), *["6742"] * 10, "100.00", "%"] for label in range(10)]
    errors = 297 - figures.correct
    assert f"accuracy   {figures.correct}/297 ({figures.accuracy:.2f} %), {errors} errors" in lines
    assert any("This is not MNIST" in line for line in lines)
    assert lines[-1] == "Written: plots/confusion.png"


def test_a_folder_that_cannot_be_written_is_a_usage_error(tiny_run, tmp_path):
    (tmp_path / "file").touch()
    command = Evaluate(network=tiny_run, out=tmp_path / "file", device="cpu", no_compile_cache=True)
    with pytest.raises(UsageError, match=r"cannot be written .*name another folder with --out"):
        command.run()


def test_other_data_and_another_checkpoint_leave_the_run_s_evaluation_as_it_is(tiny_run, tmp_path):
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    Evaluate(network=run, json=True).run()
    own = (run / "evaluation.json").read_bytes()
    Evaluate(network=run, json=True, checkpoint="latest").run()
    other = write_npz(tmp_path / "other.npz", some_images(classes=10))
    Evaluate(network=run, json=True, dataset=str(other)).run()
    assert (run / "evaluation.json").read_bytes() == own
    written = {str(file.relative_to(run)) for file in run.rglob("evaluation.json")}
    assert written == {f"{name}evaluation.json" for name in ("", "evaluation-latest/", "evaluation-other/")}
