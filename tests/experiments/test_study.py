"""Studies: equal figures with and without interruptions, an honest summary, and the comparison."""

import dataclasses
import io
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console

from jaxmnist.cli import main as cli
from jaxmnist.cli.study import require_seeds
from jaxmnist.config import Averaging, Recipe, Schedule
from jaxmnist.config.run import RunConfig
from jaxmnist.data import load_dataset
from jaxmnist.data.splits import SelectOn
from jaxmnist.errors import CheckpointError, DivergedError, JaxmnistWarning, UsageError
from jaxmnist.experiments.study.compare import compare_studies
from jaxmnist.experiments.study.folder import (
    PREDICTIONS,
    is_closed,
    open_study,
    own_folders,
    read_seeds,
    read_study,
    summary,
    write_results,
)
from jaxmnist.experiments.study.jobs import Job, train_jobs
from jaxmnist.experiments.study.predictions import read_predictions, write_predictions
from jaxmnist.experiments.study.together import train_together
from jaxmnist.report.plots.study import save_study_pictures
from jaxmnist.report.terminal import study as report
from jaxmnist.runs.folder import METRICS, RESULTS, read_metrics
from tests.resealed import write_finished
from tests.small_network import Small

DEVICE = jax.devices()[0]
ROOT = Path(__file__).parents[2]
RECIPE = Recipe(
    "short", epochs=2, learning_rate=0.2, schedule=Schedule("linear"), averaging=Averaging(0.9), nesterov=True
)


class Killed(BaseException):
    """An exception that nothing catches, so that only the files remain."""


class Watcher:
    """Records finished seeds, and may kill the study at the start of an epoch."""

    def __init__(self, kill_at=None):
        self.finished, self.kill_at = [], kill_at

    def __call__(self, progress):
        if progress.kind == "step" and (progress.seed, progress.epoch) == self.kill_at:
            raise Killed
        if progress.kind == "finished":
            self.finished.append(progress.seed)


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="module")
def make(tmp_path_factory, digits):
    """Opens a study of a small network on digits; its runs have no weights file, as the network has no arch."""
    root = tmp_path_factory.mktemp("studies")

    def make(name, select_on: SelectOn = "val", folds: int | None = None, **recipe):
        chosen = dataclasses.replace(RECIPE, **recipe)
        config = RunConfig("second", chosen, "digits", 7, select_on, digits.fingerprint, "layer", folds)
        return open_study(root / name, config, {"device": "test"})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxmnist.config.run.create_model", lambda arch, **fields: Small())
        yield make


@pytest.fixture(scope="module")
def whole(make, digits):
    """A study of two seeds, on val, trained without interruption."""
    study = make("whole")
    assert train(study, [1, 2], digits) == [1, 2]
    return study


def train(study, seeds, digits, kill_at=None):
    watcher = Watcher(kill_at)
    train_jobs([Job(study, seed, [watcher]) for seed in seeds], digits, DEVICE, {})
    return watcher.finished


def without_times(results):
    return [dataclasses.replace(result, seconds=0.0) for result in results]


def test_a_study_killed_within_a_seed_goes_on_to_the_same_figures_and_more_seeds_extend_it(
    make, whole, digits
):
    broken = make("broken")
    with pytest.raises(Killed):
        train(broken, [1, 2], digits, kill_at=(2, 2))
    assert [result.seed for result in read_seeds(broken)] == [1]
    assert (broken.run(2) / "checkpoints").is_dir()
    # Seed 1 is not trained again.
    assert train(broken, [1, 2, 3], digits, kill_at=(1, 1)) == [1, 2, 3]
    first, second, third = read_seeds(broken)
    assert without_times([first, second]) == without_times(read_seeds(whole))
    assert len({first.accuracies, second.accuracies, third.accuracies}) == 3
    for seed in (1, 2):
        np.testing.assert_array_equal(read_predictions(broken, seed), read_predictions(whole, seed))
        assert not (broken.run(seed) / "checkpoints").exists()
        assert (broken.run(seed) / RESULTS).is_file()


@pytest.mark.slow
def test_seeds_that_train_at_once_are_those_that_train_alone_but_for_rounding(make, whole, digits):
    study, watcher = make("at-once"), Watcher(kill_at=(2, 2))
    with pytest.raises(Killed):
        train_together(study, [1, 2], digits, DEVICE, [watcher], {}, together=2)
    watcher.kill_at = None
    train_together(study, [1, 2], digits, DEVICE, [watcher], {}, together=2)
    assert watcher.finished == [1, 2]
    for seed in (1, 2):
        rows, alone = (read_metrics(of.run(seed)) for of in (study, whole))
        for name in ("train_loss", "val_loss", "plain_val_loss", "learning_rate"):
            assert [row[name] for row in rows] == pytest.approx([row[name] for row in alone], rel=1e-3)
        assert [row["step"] for row in rows] == [row["step"] for row in alone]
        same = np.mean(np.equal(read_predictions(study, seed)[0], read_predictions(whole, seed)[0]))
        assert same > 0.97
        assert not (study.run(seed) / "checkpoints").exists()


def test_predictions_are_those_of_the_last_epoch_s_averaged_weights(whole, digits):
    predictions, labels = read_predictions(whole, 1)
    np.testing.assert_array_equal(labels, digits.train_labels[-125:])
    row = read_metrics(whole.run(1))[-1]
    assert (predictions == labels).sum() == row["val_correct"]
    assert read_seeds(whole)[0].plain_last == row["plain_val_accuracy"] != row["val_accuracy"]


def test_a_study_on_val_says_nothing_of_the_test_images(whole):
    figures = summary(whole, read_seeds(whole), 10.0)
    write_results(whole, read_seeds(whole), figures)
    assert (figures["split"], figures["last_epoch"]["count"]) == ("val", 2)
    for name in ("results.jsonl", "summary.json"):
        assert "test" not in (whole.folder / name).read_text()
    settled = [min(result.accuracies) >= 10.0 for result in read_seeds(whole)]
    assert figures["share_settled"] == np.mean(settled)


def test_a_folder_is_one_study(make):
    study = make("one")
    assert read_study(study.folder).config == study.config
    assert make("one").config == study.config
    with pytest.raises(
        UsageError, match=r"another configuration: its recipe\.learning_rate is 0\.2, not 0\.3"
    ):
        make("one", learning_rate=0.3)


def test_folders_that_are_not_a_study_s_own_are_named_and_left_out(make, whole):
    study = make("copied")
    for seed in (1, 2):
        shutil.copytree(whole.run(seed), study.run(seed))
    alone, folder = read_seeds(study), study.folder
    for name in ("s01", "s1 copy", "s3", "s99999999999"):
        shutil.copytree(study.run(1), folder / name)
    assert read_seeds(study) == alone
    assert own_folders(study) == ["s1", "s2"]
    assert not is_closed(study, 3)
    with pytest.warns(
        JaxmnistWarning, match="not its own, which are left out: s01, s1 copy, s3, s99999999999; move"
    ):
        compare_studies([study, study])


def test_a_changed_study_or_seed_is_refused_and_no_flipped_bit_changes_a_figure(make, whole):
    study = make("changed")
    shutil.copytree(whole.run(1), study.run(1))
    (seed,) = read_seeds(study)
    for name in ("study.json", "s1/config.json", "s1/results.json", "s1/metrics.jsonl"):
        path, refused = study.folder / name, 0
        content = path.read_bytes()
        for bit in np.random.default_rng(2).choice(8 * len(content), 100, replace=False).tolist():
            changed = bytearray(content)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            try:
                found = read_study(study.folder)
                assert found.config == study.config
                assert [(one.seed, one.accuracies, one.seconds) for one in read_seeds(found)] == [
                    (seed.seed, seed.accuracies, seed.seconds)
                ]
            except CheckpointError:
                refused += 1
        assert refused > 50
        path.write_bytes(content)


def invent(study, correct, labels):
    """Writes the files of finished seeds with given numbers of correct predictions."""
    for seed, count in correct.items():
        accuracy = 100.0 * count / len(labels)
        row = {"epoch": 1, f"{study.split}_accuracy": accuracy}
        write_finished(study.run(seed), study.seed_config(seed), [row, row], 42)
        write_predictions(study, seed, np.where(np.arange(len(labels)) < count, labels, 10), labels)


def test_studies_are_compared_with_the_first_over_seeds_and_over_images(make, whole, digits):
    labels = digits.test_labels
    studies = [make(f"rung {rate}", "last", learning_rate=rate) for rate in (0.11, 0.12, 0.13)]
    for study, correct in zip(studies, ((290, 280), (270, 270, 276), (285, 285)), strict=True):
        invent(study, dict(enumerate(correct, 1)), labels)
    compared = compare_studies(studies)
    first, second, third = compared["studies"]
    assert (compared["split"], first["difference"], first["differences"]) == ("test", None, {})
    assert [study["seeds"] for study in compared["studies"]] == [[1, 2], [1, 2, 3], [1, 2]]
    differences = second["differences"]
    assert second["difference"] == differences["between_seeds"]
    assert second["difference"]["mean"] == pytest.approx(100 * (272 - 285) / 297)
    assert differences["over_images"]["mean"] == pytest.approx(100 * (272 - 285) / 297)
    assert differences["over_images"]["count"] == 20
    # Seed 3 has no partner in the first study.
    assert differences["by_seed"]["mean"] == pytest.approx(-100 * 15 / 297)
    assert third["accuracies"] == [pytest.approx(100 * 285 / 297)] * 2
    assert third["difference"]["mean"] == pytest.approx(0)
    # Trained studies have losses as well.
    trained = compare_studies([whole, whole])["studies"][1]["last_loss"]
    rows = [read_metrics(whole.run(seed)) for seed in (1, 2)]
    assert trained["mean"] == pytest.approx(np.mean([row[-1]["val_loss"] for row in rows]))

    with pytest.raises(UsageError, match=r"judged on different images, test and val"):
        compare_studies([*studies, whole])


def test_the_comparison_of_studies_is_printed_and_kept(make, digits, tmp_path, monkeypatch, capsys):
    names = [f"step {rate}" for rate in (0.11, 0.12, 0.13)]
    studies = [make(name, "last", learning_rate=float(name.split()[1])) for name in names]
    for study, correct in zip(studies, ((290, 280), (270, 272), (285, 285)), strict=True):
        invent(study, dict(enumerate(correct, 1)), digits.test_labels)
    folders = [study.folder for study in studies]

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["study", "--compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main("study")
        return end.value.code, *capsys.readouterr()

    code, out, _ = call(*folders, "--out", tmp_path / "kept")
    (line,) = [line for line in out.splitlines() if "step 0.12" in line]
    assert (code, line.split()[3]) == (0, f"{100 * 271 / 297:.3f}")
    assert f"{100 * -14 / 297:+.3f} ± " in line
    kept = json.loads((tmp_path / "kept" / "comparison.json").read_text())
    assert kept == compare_studies([read_study(folder) for folder in folders])
    assert (tmp_path / "kept" / "comparison.png").stat().st_size > 10_000
    _, out, _ = call(*folders, "--json")
    assert json.loads(out) == kept
    # Two studies get the other tests as well.
    _, out, _ = call(*folders[:2])
    (line,) = [line for line in out.splitlines() if "paired t" in line]
    assert "2 pairs" in line
    assert f"{100 * -14 / 297:+.3f}" in line

    (tmp_path / "file").touch()
    for arguments, sentence in (
        ((*folders, "--out", tmp_path / "file"), "cannot be written (File exists); name another folder."),
        (folders[:1], "names one study; name another one to compare it with."),
    ):
        code, _, message = call(*arguments)
        assert (code, message.count("\n")) == (2, 1)
        assert sentence in message


def test_a_seed_that_diverges_ends_a_study(make, digits, monkeypatch):
    def diverge(*_):
        raise DivergedError("the loss is not finite")

    monkeypatch.setattr("jaxmnist.experiments.study.jobs.fit", diverge)
    with pytest.raises(DivergedError, match="the loss is not finite"):
        train(make("diverges"), [1, 2], digits)


def test_studies_that_cannot_be_compared_are_refused(make, whole):
    with pytest.raises(
        UsageError, match=r"on different images, val and test; compare studies with the same --select-on"
    ):
        compare_studies([whole, make("third", "last")])
    other = whole._replace(config=dataclasses.replace(whole.config, data_fingerprint="ab" * 32))
    with pytest.raises(
        UsageError, match=r"images, digits \w{12} and digits abababababab; compare .* of one dataset"
    ):
        compare_studies([whole, other])
    with pytest.raises(UsageError, match=r"has no finished seed"):
        compare_studies([whole, make("fourth")])


@pytest.mark.slow
def test_with_folds_each_seed_is_judged_by_images_of_its_own(make, whole, digits):
    study = make("folds", folds=3)
    assert train(study, [1, 2], digits) == [1, 2]
    third = len(digits.train_labels) // 3
    for seed, held_out in ((1, digits.train_labels[-third:]), (2, digits.train_labels[-2 * third : -third])):
        predictions, labels = read_predictions(study, seed)
        np.testing.assert_array_equal(labels, held_out)
        row = read_metrics(study.run(seed))[-1]
        assert ((predictions == labels).sum(), third) == (row["val_correct"], row["val_examples"])
        assert row["step"] == 2 * -(-(len(digits.train_labels) - third) // 64)
    differences = compare_studies([study, study])["studies"][1]["differences"]
    assert "over_images" not in differences
    assert differences["by_seed"]["count"] == 2
    with pytest.raises(UsageError, match="judged on different images, --folds 3 and --folds None"):
        compare_studies([study, whole])


def test_with_folds_studies_are_compared_with_the_first_seed_by_seed(make, digits):
    third = len(digits.train_labels) // 3
    studies = [make(f"three parts at {rate}", folds=3, learning_rate=rate) for rate in (0.11, 0.12)]
    for study, correct in zip(studies, ((300, 340, 380), (304, 345, 386)), strict=True):
        invent(study, dict(enumerate(correct, 1)), digits.train_labels[:third])
    compared = compare_studies(studies)
    _, better = compared["studies"]
    assert compared["paired"]
    assert better["difference"]["mean"] == pytest.approx(100 * 5 / third)
    # A much smaller difference than between the seeds of a study.
    assert better["difference"]["low"] > 0


def test_folds_and_seeds_in_one_program_do_not_go_together(monkeypatch, capsys):
    options = "--dataset digits --folds 3 --together 2 --device cpu"
    monkeypatch.setattr(sys, "argv", ["study", *options.split()])
    with pytest.raises(SystemExit) as end:
        cli.main("study")
    assert end.value.code == 2
    assert "leave out --together, --devices and --mesh, or --folds" in capsys.readouterr().err


def test_the_command_trains_in_processes_as_in_one_and_goes_on_after_a_kill(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps({"arch": "second", "dataset": "digits", "recipe": {"name": "r", "epochs": 2}})
    )
    command = [sys.executable, str(ROOT / "scripts" / "study.py"), "--config", str(config), "--json"]
    command += ["--select-on", "last", "--seeds", "2", "--out"]

    def figures(folder, *options):
        out = subprocess.run(
            [*command, str(tmp_path / folder), *options], check=True, capture_output=True, text=True
        )
        return json.loads(out.stdout)["last_epoch"]

    figures("alone", "--processes", "1")
    process = subprocess.Popen(
        [*command, str(tmp_path / "two"), "--processes", "2"], stdout=subprocess.DEVNULL
    )
    run = tmp_path / "two" / "s1" / METRICS
    while not run.is_file() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    # The children see that their parent is gone, and let go of their seeds.
    assert figures("two", "--processes", "2")["count"] == 2
    # One core may add numbers up in another order than two, which shows in the accuracies of later epochs.
    alone, two = (
        [read_metrics(tmp_path / folder / f"s{seed}")[0]["train_loss"] for seed in (1, 2)]
        for folder in ("alone", "two")
    )
    assert two == pytest.approx(alone, rel=1e-3)
    assert (tmp_path / "two" / "s2" / PREDICTIONS).is_file()
    assert (tmp_path / "two" / "plots" / "curves.png").stat().st_size > 10_000


@pytest.mark.slow
def test_on_a_mesh_of_seeds_and_data_the_command_trains_the_same_seeds(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "study.py"), "--arch", "second", "--dataset", "digits"]
    command += ["--epochs", "1", "--seeds", "3", "--device", "cpu", "--out"]
    for folder, options in (("alone", ["--processes", "1"]), ("mesh", ["--mesh", "seed=2,data=2"])):
        subprocess.run([*command, str(tmp_path / folder), *options], check=True, capture_output=True)
    alone, mesh = (
        [read_metrics(tmp_path / folder / f"s{seed}")[0]["train_loss"] for seed in (1, 2, 3)]
        for folder in ("alone", "mesh")
    )
    assert mesh == pytest.approx(alone, rel=1e-3)


def test_the_last_seed_of_a_study_has_32_bits():
    require_seeds(2**32 - 3, 3)
    with pytest.raises(UsageError, match="3 seeds can begin at 0 to 4294967293"):
        require_seeds(2**32 - 2, 3)


def test_a_study_in_the_terminal_has_its_statistics_and_no_test_figure_with_val(whole):
    results = read_seeds(whole)
    console = Console(width=100, file=io.StringIO(), highlight=False)
    report.print_study(console, summary(whole, results, 10.0), [])
    text = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    values = [result.last for result in results]
    assert f"last epoch {np.mean(values):.3f}" in " ".join(text.split())
    assert f"{np.std(values, ddof=1):.3f}" in text
    assert "42 parameters" in text
    assert "test accuracy" not in text


def test_pictures_of_a_study_are_drawn_also_for_one_seed(whole, tmp_path):
    results = read_seeds(whole)[:1]
    figures = summary(whole, results, 99.4)
    for file in save_study_pictures(tmp_path, figures, [result.accuracies for result in results]):
        assert file.stat().st_size > 5_000
