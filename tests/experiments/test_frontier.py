"""The best choice for a budget: read from studies, named by the command `budget`."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import pytest

from jaxmnist.cli import main as cli
from jaxmnist.errors import CheckpointError, UsageError
from jaxmnist.experiments.frontier import FRONTIER, Choice, best_within, choices_of, read_frontier

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "docs" / "results" / "studies"
SMALL = Choice("flagship_small", "flagship", 5_245, 20.49, 738_504, 15, 88.4, 10, 99.5, 99.46, 99.54, 0.05)
FAST = dataclasses.replace(SMALL, arch="flagship", recipe="fast", parameters=7_836, seconds=35.0, low=99.4)
LUCKY = dataclasses.replace(FAST, recipe="flagship", seconds=131.0, seeds=4, accuracy=99.52, low=99.45)


@pytest.fixture
def budget(monkeypatch, capsys):
    """Runs the command in this process; returns exit code, standard output, standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["budget", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "80")
        with pytest.raises(SystemExit) as end:
            cli.main("budget")
        return end.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def studies(tmp_path):
    """Two studies that count, and their folder."""
    for name in ("flagship_small", "fast"):
        shutil.copytree(STUDIES / name, tmp_path / name)
    return tmp_path


def changed(studies, **values):
    path = studies / "fast" / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return [(choice.arch, choice.recipe) for choice in choices_of(studies)]


def test_the_shipped_table_follows_from_the_studies_and_their_timing():
    timing = ROOT / "docs" / "results" / "timing" / "comparison.json"
    assert read_frontier() == choices_of(STUDIES, timing if timing.is_file() else None), (
        f"write {FRONTIER.name} anew with the command that its module names"
    )


def test_an_interval_s_lower_end_decides_so_that_few_lucky_seeds_do_not_win():
    assert best_within([SMALL, FAST, LUCKY], {"params": 8_000}) is SMALL


def test_every_limit_binds_and_is_itself_within_the_budget():
    choices = [SMALL, FAST]
    assert best_within(choices, {"params": 7_836, "seconds": 35.0}) is FAST
    assert best_within(choices, {"params": 5_245}) is SMALL
    assert best_within(choices, {"size-kb": 20.49, "madds": 738_504}) is SMALL
    with pytest.raises(
        UsageError,
        match=r"^no studied network fits --params 5244 with --seconds 34.9; the least "
        r"that any of them takes is 5,245 parameters and 35.0 seconds\.$",
    ):
        best_within(choices, {"params": 5_244, "seconds": 34.9})


@pytest.mark.parametrize(
    "values",
    [
        {"dataset": "fashion_mnist"},
        {"select_on": "test"},
        {"recipe": "fast-modified"},
        {"arch": "net.py:Net"},
        {"parameters": 7_918},
        {"epochs": 4},
        {"last_epoch": {"count": 3, "mean": 99.9, "low": 99.8, "high": 100.0, "standard_deviation": 0.1}},
    ],
    ids=lambda values: next(iter(values)),
)
def test_a_study_of_something_else_or_of_few_seeds_does_not_count(studies, values):
    assert changed(studies) == [("flagship_small", "flagship"), ("flagship", "fast")]
    assert changed(studies, **values) == [("flagship_small", "flagship")]


def test_a_damaged_summary_is_named(studies):
    path = studies / "fast" / "summary.json"
    path.write_text(path.read_text().replace('"mean"', '"median"'))
    with pytest.raises(CheckpointError, match=r"fast/summary\.json is damaged \(it has no 'mean'\)"):
        choices_of(studies)


def test_the_seconds_of_a_study_are_the_median_of_its_seeds(studies):
    path = studies / "fast" / "results.jsonl"
    lines = [json.loads(line) | {"seconds": 30.0} for line in path.read_text().splitlines()]
    lines[0]["seconds"] = 900.0  # its process was paused
    path.write_text("\n".join(map(json.dumps, lines)))
    assert [choice.seconds for choice in choices_of(studies) if choice.recipe == "fast"] == [30.0]
    path.write_text("{}")
    with pytest.raises(CheckpointError, match=r"fast/results\.jsonl is damaged \(it has no 'seconds'\)"):
        choices_of(studies)


def test_seconds_of_runs_by_themselves_replace_those_of_the_study(studies):
    run = {"arch": "flagship", "recipe": "fast", "select_on": "last", "finished": True, "parameters": 7_836}
    changes = ({"select_on": "val"}, {"finished": False}, {"arch": "third"}, {"parameters": 7_918})
    others = [run | change for change in changes]
    runs = [run | {"seconds": seconds} for seconds in (9.0, 7.0, 8.0)] + [
        o | {"seconds": 1.0} for o in others
    ]
    timing = studies / "comparison.json"
    timing.write_text(json.dumps({"runs": runs}))
    assert [choice.seconds for choice in choices_of(studies, timing)] == [200.5, 8.0]
    timing.write_text("[]")
    with pytest.raises(CheckpointError, match=r"is not the comparison\.json of the compare command"):
        choices_of(studies, timing)


def test_the_command_names_network_recipe_accuracy_and_command(budget):
    code, text, error = budget("--params", 6_000)
    assert (code, error) == (0, "")
    assert max(map(len, text.splitlines()[:-1])) <= 80  # the last one, to be pasted, is not broken
    assert "network    flagship_small: 5,245 parameters, 20.5 kB as float32\n" in text
    assert "work       2,215,512 multiply-adds to classify an image\n" in text
    assert "accuracy   99.601 % of MNIST's test images, mean of 10 seeds\n" in text
    assert "95 % interval of the mean 99.560 to 99.642; standard deviation 0.058\n" in text
    assert text.endswith(
        "command    jaxmnist train --arch flagship_small --recipe flagship --select-on last\n"
    )


def test_json_holds_the_choice_or_without_a_budget_all(budget):
    code, text, _ = budget("--params", 6_000, "--json")
    choice = json.loads(text)
    assert (code, choice["arch"], choice["accuracy"]) == (0, "flagship_small", 99.601)
    assert choice["command"] == "jaxmnist train --arch flagship_small --recipe flagship --select-on last"
    every = json.loads(budget("--json")[1])["choices"]
    assert choice in every
    assert len(every) == len(read_frontier())


def test_a_budget_below_the_smallest_is_answered_in_a_sentence(budget):
    for option, value in {"--params": -1, "--size-kb": "nan", "--madds": 0, "--seconds": 0.01}.items():
        code, text, error = budget(option, value)
        assert (code, text, error.count("\n")) == (2, "", 1)
        assert error.startswith(
            f"error: no studied network fits {option} {value}; the least that any of them"
        )


def test_all_choices_are_listed_in_80_columns_and_drawn(budget, studies, tmp_path):
    table, picture = tmp_path / "table.json", tmp_path / "frontier.png"
    code, text, _ = budget("--studies", studies, "--table", table, "--picture", picture)
    assert code == 0
    assert "…" not in text
    listed = [line.split()[:2] for line in text.splitlines() if "flagship" in line]
    assert listed == [["flagship_small", "flagship"], ["flagship", "fast"]]
    assert [values["arch"] for values in json.loads(table.read_text())["choices"]] == [
        "flagship_small",
        "flagship",
    ]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_folder_without_such_studies_and_a_timing_without_studies_are_refused(budget, tmp_path):
    assert budget("--studies", tmp_path)[2].startswith(f"error: {tmp_path} holds no study of a named network")
    assert budget("--timing", "comparison.json")[2] == (
        "error: --timing needs the studies that it completes; add --studies FOLDER.\n"
    )
