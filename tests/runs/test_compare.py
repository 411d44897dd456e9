"""The comparison of runs: finding, reading and sorting them, the published figures beside them, tables and plots."""

import dataclasses
import io
import itertools
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from matplotlib.text import Text
from rich.console import Console

from jaxmnist.cli import main as cli
from jaxmnist.config import get_recipe
from jaxmnist.config.run import RunConfig
from jaxmnist.data.checksums import MNIST_FINGERPRINT
from jaxmnist.errors import CheckpointError
from jaxmnist.models import ARCHS
from jaxmnist.report.plots import comparison as comparison_plots
from jaxmnist.report.terminal.comparison import markdown_table, print_comparison
from jaxmnist.runs.compare import ComparedRun, as_json, compare
from jaxmnist.runs.folder import CONFIG, METRICS, RESULTS, create_run, write_json, write_metrics
from jaxmnist.runs.published import PUBLISHED
from jaxmnist.runs.record import write_results
from jaxmnist.runs.selection import summarise
from tests.resealed import write_about

KEPT_RESULTS = Path(__file__).parents[2] / "docs" / "results" / "studies" / "published"
PICTURES = {"accuracy.png", "accuracy_against_parameters.png"}


def make_run(
    root: Path,
    arch: str = "third",
    recipe: str = "third",
    accuracies: Sequence[float] = (98.0, 99.0, 99.2, 99.3, 99.4, 99.3),
    *,
    dataset: str = "mnist",
    seed: int = 1,
    select_on: Literal["val", "test", "last"] = "test",
    fingerprint: str = str(MNIST_FINGERPRINT),
    parameters: int = 7_902,
    finished: bool = True,
) -> Path:
    """Makes a run folder like that of training, without checkpoints and plots."""
    modified = dataclasses.replace(get_recipe(recipe.removesuffix("-modified")), name=recipe)
    config = RunConfig(arch, modified, dataset, seed, select_on, fingerprint)
    run = create_run(root, config, {})
    rows = [
        {"epoch": epoch, "test_accuracy": accuracy, "train_accuracy": accuracy - 0.5, "seconds": 10.0}
        for epoch, accuracy in enumerate(accuracies, start=1)
    ]
    write_metrics(run, rows)
    if finished:
        write_results(run, summarise(config, rows, parameters), rows)
    elif rows:
        write_about(run, config, rows)
    return run


@pytest.fixture(scope="session")
def all_systems(tmp_path_factory) -> list[ComparedRun]:
    """Makes a finished run of each published system, a tenth of a point above it, and an unfinished one."""
    root = tmp_path_factory.mktemp("runs")
    for system in PUBLISHED:
        end = (system.last_five_mean or 95.0) + 0.1
        accuracies = [end - (end - 60.0) * 0.25**epoch for epoch in range(1, 16)]
        make_run(root, system.arch, system.recipe, accuracies, parameters=system.parameters)
        make_run(root, system.arch, system.recipe, accuracies[:7], seed=2, finished=False)
    return compare([root])


@pytest.fixture
def call(monkeypatch, capsys):
    """Runs the command in this process; returns its exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main("compare")
        return end.value.code, *capsys.readouterr()

    return run


def test_the_kept_results_stand_beside_the_published_ones():
    compared = compare([KEPT_RESULTS / arch / "s1" for arch in ("third", "second", "challenge_ll")])
    assert [run.arch for run in compared] == ["second", "third", "challenge_ll"]
    for run in compared:
        assert run.published is not None
        assert (run.arch, run.parameters) == (run.published.system, run.published.parameters)
        assert run.best_test_accuracy == max(run.test_accuracies)
        mean = sum(run.test_accuracies[-5:]) / 5
        assert run.last_five_mean_test_accuracy == pytest.approx(mean)
        assert run.difference == pytest.approx(mean - (run.published.last_five_mean or 0.0))


def test_only_mnist_and_the_unmodified_recipe_have_a_published_figure(tmp_path):
    make_run(tmp_path, "step3", "step1")
    make_run(tmp_path, "step3", "step1", dataset="/data/my_copy")
    make_run(tmp_path, "step3", "step1", dataset="fashion_mnist", fingerprint="abc")
    make_run(tmp_path, "step3", "step1-modified")
    make_run(tmp_path, "step3", "third")
    compared = compare([tmp_path])
    systems = {(run.dataset, run.recipe): run.published and run.published.system for run in compared}
    assert systems.pop(("mnist", "step1")) == "step2"
    assert systems.pop(("my_copy", "step1")) == "step2"  # the same images in a folder of one's own
    assert list(systems.values()) == [None] * 3
    assert [run.difference for run in compared if run.published is None] == [None] * 3


def test_other_data_called_mnist_have_no_published_figure_and_are_told_apart(tmp_path):
    make_run(tmp_path, "step3", "step1")
    make_run(tmp_path, "step3", "step1", fingerprint="0123456789", seed=2)
    mine, other = sorted(compare([tmp_path]), key=lambda run: run.seed)
    assert mine.published is not None
    assert other.published is None
    assert (mine.dataset, other.dataset) == (f"mnist {str(MNIST_FINGERPRINT)[:6]}", "mnist 012345")


def test_older_results_without_a_fingerprint_are_known_by_name(tmp_path):
    shutil.copytree(KEPT_RESULTS / "third" / "s1", tmp_path / "third")
    path = tmp_path / "third" / RESULTS
    older = json.loads(path.read_text())
    for name in ("data_fingerprint", "seal"):
        del older[name]
    path.write_text(json.dumps(older))
    assert compare([tmp_path / "third"])[0].published is not None


def test_a_system_without_a_log_has_its_best_but_no_difference(tmp_path):
    (run,) = compare([make_run(tmp_path, "evolution_v1", "evolution")])
    assert run.published is not None
    assert (run.published.best_test_accuracy, run.difference) == (95.68, None)


def test_an_unfinished_run_has_its_epochs_and_no_figures(tmp_path):
    run = make_run(tmp_path, accuracies=(98.0, 99.0), finished=False)
    with (run / METRICS).open("a") as file:
        file.write('{"epoch": 3, "test_acc')
    (found,) = compare([run])
    assert (found.finished, found.epochs, found.recipe_epochs) == (False, 2, 15)
    assert found.test_accuracies == (98.0, 99.0)
    assert found.seconds == 20.0
    assert found.parameters is found.best_test_accuracy is found.difference is None
    assert markdown_table([found]) == (
        "- Unfinished: third, mnist, seed 1: 2 of 15 epochs, test accuracy 99.00 % so far"
    )


def test_a_run_that_has_just_begun_is_unfinished_with_no_epochs(tmp_path):
    (found,) = compare([make_run(tmp_path, accuracies=(), finished=False)])
    assert (found.epochs, found.test_accuracies) == (0, ())


def test_runs_are_sorted_by_dataset_network_recipe_and_seed(tmp_path):
    wanted = [
        *(("mnist", arch, arch, 1) for arch in ("first", "second")),
        ("mnist", "third", "second", 3),
        *(("mnist", "third", "third", seed) for seed in (1, 2, 10)),
        ("mnist", "third", "third-modified", 1),
        ("mnist", "a_network_of_a_later_version", "first", 1),
        ("fashion_mnist", "first", "first", 1),
        ("digits", "first", "first", 1),
    ]
    assert ARCHS.index("first") < ARCHS.index("second") < ARCHS.index("third")
    for dataset, arch, recipe, seed in reversed(wanted):
        make_run(tmp_path, arch, recipe, dataset=dataset, seed=seed)
    assert [(run.dataset, run.arch, run.recipe, run.seed) for run in compare([tmp_path])] == wanted


def test_runs_are_found_two_levels_down_and_counted_once(tmp_path):
    one = make_run(tmp_path / "runs", seed=1)
    make_run(tmp_path / "runs" / "study", seed=2)
    make_run(tmp_path / "runs" / "study" / "deeper", seed=3)
    (tmp_path / "runs" / "notes").mkdir()
    # What lies in a run belongs to that run.
    make_run(one / "checkpoints", seed=4)
    compared = compare([tmp_path / "runs", one, tmp_path / "runs" / "study" / ".." / one.name])
    assert [run.seed for run in compared] == [1, 2]


def test_folders_that_are_no_runs_are_named_in_one_sentence(call, tmp_path):
    run = make_run(tmp_path / "runs")
    code, out, error = call(tmp_path / "nothing", run, tmp_path / "nowhere", "--out", tmp_path / "out")
    assert (code, out) == (4, "")
    named = f"{tmp_path / 'nothing'} and {tmp_path / 'nowhere'} are not run folders and contain none"
    assert error.startswith(f"error: {named}; give run folders made by train")
    assert not (tmp_path / "out").exists()
    (tmp_path / "empty").mkdir()
    code, _, error = call(tmp_path / "empty")
    assert code == 4
    assert f"{tmp_path / 'empty'} is not a run folder" in error


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (RESULTS, "{"),
        (RESULTS, "[]"),
        (RESULTS, '{"arch": "third"}'),
        (METRICS, '{"epoch": 1}\n'),
        (METRICS, "[1]\n"),
        (METRICS, '{"epoch": 1, "test_accuracy": "high"}\n'),
    ],
)
def test_a_damaged_file_is_named(tmp_path, file, text):
    run = make_run(tmp_path)
    (run / file).write_text(text)
    with pytest.raises(CheckpointError, match=f"{run / file} is damaged"):
        compare([tmp_path])


@pytest.mark.parametrize("value", ["many", None, True, 7_902.5])
def test_a_figure_of_the_wrong_kind_is_damage(tmp_path, value):
    run = make_run(tmp_path)
    results = json.loads((run / RESULTS).read_text())
    write_json(run / RESULTS, results | {"parameters": value})
    with pytest.raises(CheckpointError, match=rf"results\.json is damaged .*{json.dumps(value)}"):
        compare([run])


def test_metrics_without_results_or_configuration_do_not_make_a_run(tmp_path):
    run = make_run(tmp_path, finished=False)
    (run / CONFIG).unlink()
    with pytest.raises(CheckpointError, match=r"is not a run folder: it has no config\.json"):
        compare([tmp_path])


def test_results_alone_are_enough_and_leave_no_curve(tmp_path):
    run = make_run(tmp_path)
    (run / CONFIG).unlink()
    (run / METRICS).unlink()
    compared = compare([run])
    assert (compared[0].best_test_accuracy, compared[0].test_accuracies) == (99.4, ())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "accuracy.png").write_text("of an older comparison")
    (file,) = comparison_plots.save_comparison_pictures(tmp_path / "out", compared)
    assert [file] == list((tmp_path / "out").iterdir())
    assert file.name == "accuracy_against_parameters.png"


@pytest.mark.parametrize("width", [80, 120])
def test_every_line_of_the_table_fits_and_no_name_is_broken(all_systems, width):
    out = io.StringIO()
    print_comparison(Console(file=out, width=width), all_systems)
    lines = out.getvalue().splitlines()
    paths = [line for line in lines if line.startswith("  in ")]
    assert sorted(paths) == sorted(f"  in {run.run}" for run in all_systems if not run.finished)
    lines = [line for line in lines if line not in paths]
    # With the longest names such a line is a little over 80; terminals break it, a pipe should not.
    assert max(len(line) for line in lines if not line.startswith("Unfinished: ")) <= width
    words = [line.split() for line in lines]
    for system in PUBLISHED:
        (row,) = (
            index
            for index, line in enumerate(words[:-1])
            if line[:1] == [system.arch] and words[index + 1][:1] == [system.recipe] and "1" in line
        )
        assert f"{system.parameters:,}" in words[row]
        if system.last_five_mean is None:
            assert "-" in words[row]
        else:
            assert f"{system.last_five_mean:.2f}" in words[row + 1]
            assert float(words[row][4]) == pytest.approx(0.1, abs=0.011)
        assert f"{system.best_test_accuracy:.2f}" in words[row + 1]
    assert sum(line.startswith("Unfinished: ") for line in lines) == len(PUBLISHED)


def test_digits_are_said_not_to_be_mnist(tmp_path):
    out = io.StringIO()
    print_comparison(Console(file=out, width=80), compare([make_run(tmp_path, dataset="digits")]))
    assert "from scikit-learn, not MNIST" in out.getvalue()


def test_the_markdown_table_has_a_line_per_finished_run_and_adds_up(all_systems):
    table, _, unfinished = markdown_table(all_systems).partition("\n\n")
    heading, rule, *lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()
    ]
    assert {"---", "---:"} == set(rule)
    assert len(lines) == len(unfinished.splitlines()) == len(PUBLISHED)
    for line in lines:
        row = dict(zip(heading, line, strict=True))
        if row["network"] == "evolution_v1":
            assert (row["published"], row["points"], row["published best"]) == ("-", "-", "95.68")
        else:
            points = float(row["last-five mean"]) - float(row["published"])
            assert float(row["points"]) == pytest.approx(points)
    step2 = next(line for line in lines if line[:2] == ["step3", "step1"])
    assert step2[heading.index("published best")] == "99.28 (15)"


def test_points_are_of_the_rounded_means(all_systems):
    run = next(run for run in all_systems if run.published and run.published.last_five_mean)
    assert run.published is not None
    for thousandths in range(10):
        mean = (run.published.last_five_mean or 0.0) + thousandths / 1000
        cells = dataclasses.replace(run, last_five_mean_test_accuracy=mean).cells()
        points = float(cells["last-five mean"]) - float(cells["published"])
        assert float(cells["points"]) == pytest.approx(points)


def test_names_in_the_markdown_table_are_text(all_systems):
    named = [dataclasses.replace(all_systems[0], arch="my|net.py:*Net*", finished=True)]
    heading, rule, line = markdown_table(named).splitlines()
    assert line.startswith(r"| my\|net.py:\*Net\* | ")
    aligned = dict(zip(heading.split(" | "), rule.split(" | "), strict=True))
    assert (aligned["recipe"], aligned["seed"], aligned["last-five mean"]) == ("---", "---:", "---:")


@pytest.mark.parametrize("draw", [comparison_plots._accuracies, comparison_plots._against_parameters])
def test_no_text_in_the_pictures_of_all_systems_covers_another_or_is_cut_off(all_systems, draw, monkeypatch):
    drawn: list[Text] = []
    monkeypatch.setattr(Text, "draw", lambda text, _: drawn.append(text))
    figure = draw([run for run in all_systems if run.finished])
    figure.draw_without_rendering()
    # The box of an annotation includes its line unless it is asked for as a text's.
    boxes = [
        (text.get_text(), Text.get_window_extent(text))
        for text in drawn
        if text.get_visible() and text.get_text()
    ]
    assert any(text.startswith("step3, recipe step1") for text, _ in boxes)
    assert "published run" in dict(boxes)
    pairs = itertools.combinations(boxes, 2)
    assert [(one, two) for (one, box), (two, other) in pairs if box.overlaps(other)] == []
    assert [
        text for text, box in boxes if not (figure.bbox.contains(*box.p0) and figure.bbox.contains(*box.p1))
    ] == []


def test_curves_are_in_the_panel_of_their_network(all_systems):
    figure = comparison_plots._accuracies(all_systems)
    panels = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert len(panels) == len(PUBLISHED)
    for title, lengths in (
        ("first", [15, 7, 15]),
        ("evolution_v2", [15, 7, 6]),
        ("evolution_v1", [15, 7]),
        ("step3, recipe step1", [15, 7, 15]),
    ):
        lines = panels[title].lines
        assert [len(np.array(line.get_xdata())) for line in lines] == lengths
    published = panels["evolution_v2"].lines[-1]
    assert np.array(published.get_xdata()).tolist() == [10, 11, 12, 13, 14, 15]
    assert np.array(published.get_ydata())[0] == pytest.approx(100 - 98.86)
    # The lower limit is below the third epoch of the worst network, and the first epochs do not move it.
    bottom, top = panels["first"].get_ylim()
    assert 5 < bottom < 10
    assert top < 0.45


def test_a_training_that_collapsed_leaves_the_axes_to_the_others(tmp_path):
    make_run(tmp_path, accuracies=(98.0, 99.0, 99.2, 20.0, 20.0))
    make_run(tmp_path, seed=2)
    figure = comparison_plots._accuracies(compare([tmp_path]))
    assert figure.axes[0].get_ylim()[0] < 2
    assert "may lie below the axes" in figure.get_suptitle()


def test_networks_are_named_beside_the_axes_as_they_lie_the_best_on_top(all_systems):
    figure = comparison_plots._against_parameters([run for run in all_systems if run.finished])
    legend = figure.axes[0].get_legend()
    assert legend is not None
    names = [text.get_text() for text in legend.get_texts()]
    assert len(names) == len(PUBLISHED)
    assert names[0] == "dilated  99.63"
    means = [float(name.split()[-1]) for name in names]
    assert means == sorted(means, reverse=True)


def test_the_command_writes_figures_and_pictures_and_prints_the_table(call, tmp_path):
    make_run(tmp_path / "runs", "first", "first")
    out = tmp_path / "new" / "out"
    code, printed, error = call(tmp_path / "runs", "--out", out)
    assert (code, error) == (0, "")
    assert {file.name for file in out.iterdir()} == {"comparison.json", *PICTURES}
    assert "Test accuracy (%) on mnist" in printed
    assert f"Written: {out / 'accuracy.png'}" in printed
    (figures,) = json.loads((out / "comparison.json").read_text())["runs"]
    assert figures["last_five_mean_test_accuracy"] == pytest.approx(99.24)
    assert figures["published"]["last_five_mean"] == pytest.approx(99.362)
    assert figures["difference"] == pytest.approx(99.24 - 99.362)


def test_json_or_markdown_are_the_only_thing_on_standard_output(call, tmp_path):
    run, out = make_run(tmp_path), tmp_path / "out"
    code, printed, error = call(run, "--out", out, "--json")
    assert code == 0
    assert json.loads(printed) == json.loads((out / "comparison.json").read_text())
    assert json.loads(printed) == json.loads(json.dumps(as_json(compare([run]))))
    assert "Written: " in error
    code, printed, error = call(run, "--out", out, "--markdown")
    assert (code, printed) == (0, markdown_table(compare([run])) + "\n")
    assert "Written: " in error


def test_wrong_usage_is_answered_with_what_to_do(call, tmp_path):
    run = make_run(tmp_path)
    code, _, error = call()
    assert code == 2
    assert "name run folders" in error
    code, _, error = call(run, "--json", "--markdown")
    assert code == 2
    assert "give one of them" in error
    (tmp_path / "file").write_text("")
    code, _, error = call(run, "--out", tmp_path / "file")
    assert code == 2
    assert f"--out {tmp_path / 'file'} cannot be written to" in error
    assert "name another folder" in error
