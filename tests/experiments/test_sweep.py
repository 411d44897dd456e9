"""Sweeps: reproducible members, each trained once, and a ranking that does not look at the test images."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Literal

import jax
import numpy as np
import pytest

from jaxmnist.cli import main as cli
from jaxmnist.config import Recipe, Schedule, get_recipe
from jaxmnist.config.run import RunConfig
from jaxmnist.data import load_dataset
from jaxmnist.errors import CheckpointError, UsageError
from jaxmnist.experiments.study.folder import STUDY, write_divergence
from jaxmnist.experiments.study.jobs import train_jobs
from jaxmnist.experiments.study.predictions import write_predictions
from jaxmnist.experiments.sweep.axes import parse_axes, swept_types
from jaxmnist.experiments.sweep.folder import Plan, open_sweep, read_sweep
from jaxmnist.experiments.sweep.halving import Rung, plan_rungs, promoted
from jaxmnist.experiments.sweep.loop import train_sweep, train_trials
from jaxmnist.experiments.sweep.members import (
    Member,
    corner_members,
    grid_members,
    member_config,
    random_members,
)
from jaxmnist.experiments.sweep.optuna_trials import JOURNAL, TpeTrials
from jaxmnist.experiments.sweep.table import read_results, write_table
from jaxmnist.runs.folder import open_run, read_metrics
from jaxmnist.runs.progress import Progress
from tests.resealed import write_finished
from tests.small_network import Small

DEVICE = jax.devices()[0]
ROOT = Path(__file__).parents[2]
RECIPE = Recipe("short", epochs=1, learning_rate=0.2, schedule=Schedule("linear"))
RANDOM = ("learning_rate=log:0.01:1", "augmentation.rotation=5:15", "batch_size=32:64", "nesterov=true,false")


class Killed(BaseException):
    """An exception that nothing catches, so that only the files remain."""


class Watcher:
    """Records the seeds that are trained, and may kill the sweep at the start of one."""

    def __init__(self, kill_at=None):
        self.begun, self.finished, self.kill_at = [], [], kill_at

    @property
    def reporting(self):
        return self.on_rung, self.callback

    def on_rung(self, rung, members, jobs, done): ...

    def callback(self, member, rung, study):
        def tell(progress):
            if progress.kind == "step" and (member.number, progress.seed) == self.kill_at:
                raise Killed
            if progress.kind == "epoch":
                self.begun.append((rung, member.number, progress.seed))
            if progress.kind == "finished":
                self.finished.append((rung, member.number, progress.seed))

        return tell


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Runs the command in this process; returns exit code, standard output, standard error."""

    def run(*arguments):
        command = ["sweep", "--arch", "second", "--dataset", "digits", "--epochs", "1", *map(str, arguments)]
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as end:
            cli.main("sweep")
        return end.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def make(tmp_path, digits, monkeypatch):
    """Opens a sweep of a small network on digits; its runs have no weights file, as the network has no arch."""
    monkeypatch.setattr("jaxmnist.config.run.create_model", lambda arch, **fields: Small())

    def open_(
        over,
        name="sweep",
        method: Literal["grid", "random", "optuna"] = "grid",
        count=0,
        seeds=1,
        halving=0,
        **recipe,
    ):
        axes = parse_axes(over)
        members = {"grid": grid_members, "random": lambda axes: random_members(axes, count, 0)}.get(
            method, lambda axes: []
        )(axes)
        plan = Plan(tuple(over), method, count or len(members), seeds, halving=halving)
        chosen = dataclasses.replace(RECIPE, **recipe)
        config = RunConfig("second", chosen, "digits", 7, "val", digits.fingerprint, norm="layer")
        rungs = plan_rungs(len(members), chosen.epochs, halving) if halving else []
        return open_sweep(tmp_path / name, plan, {"second": config}, members, rungs, {"device": "test"})

    return open_


def trainer(digits):
    return lambda jobs, count: train_jobs(jobs, digits, DEVICE, {}, note_divergence=True)


def tell_all(callbacks, seed, kind, epoch):
    for callback in callbacks:
        callback(Progress(kind, seed, epoch, done=1, total=1))


def invented(score):
    """Makes a trainer that only writes the files of finished seeds, with the accuracy that `score` gives."""

    def train(jobs, count):
        for study, seed, callbacks in jobs:
            tell = partial(tell_all, callbacks, seed)
            run = study.run(seed)
            open_run(run, study.seed_config(seed), {})
            tell("step", 1)
            accuracy = score(study.config, seed)
            if accuracy is None:
                write_divergence(study, seed, "too much")
            else:
                epochs = range(study.config.recipe.epochs)
                rows = [{"epoch": n + 1, "val_accuracy": accuracy} for n in epochs]
                write_finished(run, study.seed_config(seed), rows, 42)
                write_predictions(study, seed, np.zeros(4, np.uint8), np.zeros(4, np.uint8))
            tell("epoch", 1)
            tell("finished", 1)

    return train


def test_a_grid_is_every_combination_and_members_are_named_by_what_differs():
    members = grid_members(
        parse_axes(["learning_rate=0.1,1e-3", "averaging.decay=0.9,0.99", "arch=first,third"])
    )
    assert [member.number for member in members] == list(range(1, 9))
    assert members[1].values == {"learning_rate": 0.1, "averaging.decay": 0.9, "arch": "third"}
    assert members[4].name == "005-learning_rate=0.001-decay=0.9-arch=first"
    # Two fields that end alike keep their parts; a long name is the number.
    assert Member(1, {"plateau.factor": 0.5, "x.factor": 1}).name == "001-plateau.factor=0.5-x.factor=1"
    assert Member(12, {field: 0.123456 for field in swept_types()}).name == "012"


def test_members_at_random_follow_from_the_seed_lie_in_their_ranges_and_a_smaller_count_comes_first():
    axes = parse_axes(RANDOM)
    members = random_members(axes, 200, 3)
    assert members == random_members(axes, 200, 3)
    assert members[:20] == random_members(axes, 20, 3)
    assert [member.values for member in members] != [member.values for member in random_members(axes, 200, 4)]
    columns = {axis.field: [member.values[axis.field] for member in members] for axis in axes}
    rates, sizes = np.array(columns["learning_rate"]), columns["batch_size"]
    assert 0.01 <= rates.min() < 0.02 < 0.5 < rates.max() <= 1
    # Uniform in the logarithm: a half is below the geometric mean of the ends.
    assert np.mean(rates < 0.1) == pytest.approx(0.5, abs=0.1)
    assert {type(size) for size in sizes} == {int}
    assert (min(sizes), max(sizes)) == (32, 64)
    assert all(float(f"{rate:.4g}") == rate for rate in rates)
    assert set(columns["nesterov"]) == {True, False}
    assert len({tuple(member.values.values()) for member in members}) == 200


def test_the_first_members_of_seed_0_stay_what_they_are():
    first, second = random_members(parse_axes(RANDOM), 2, 0)
    assert (first.values, second.values) == (
        {"learning_rate": 0.1879, "augmentation.rotation": 7.698, "batch_size": 33, "nesterov": True},
        {"learning_rate": 0.4232, "augmentation.rotation": 14.13, "batch_size": 52, "nesterov": True},
    )


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ("learningrate=1", r"no recipe field 'learningrate' \(did you mean 'learning_rate'\?\)"),
        ("augmentation.rotatoin=1", r"did you mean 'augmentation\.rotation'\?"),
        ("schedule=one_cycle", r"--over schedule has parts; name one of schedule\.kind, "),
        ("name=a,b", r"--over name is chosen with --recipe"),
        ("learning_rate", r"--over learning_rate has no values; write learning_rate=A,B,C"),
        ("learning_rate=0.1,", r"learning_rate=0\.1, has an empty value"),
        ("learning_rate=0.1,1e-1", r"has 0\.1 twice"),
        ("learning_rate=0.2:0.2", r"is an empty range"),
        ("learning_rate=0.1:many", r"the end 'many', which is not a number"),
        ("learning_rate=log:0:1", r"begins at 0, which has no logarithm"),
        ("optimizer=1:2", r"is a range, but optimizer is not a number"),
        ("epochs=1:2.5", r"has fractions as ends, but epochs is whole"),
        ("learning_rate=[1]", r"has the value \[1\]; give numbers, words"),
    ],
)
def test_an_axis_that_says_nothing_sensible_is_refused_by_its_name(over, message):
    with pytest.raises(UsageError, match=message):
        parse_axes([over])


def test_a_network_of_a_file_is_a_choice_and_no_range():
    (axis,) = parse_axes(["arch=third,nets/my_net.py:Net"])
    assert axis.choices == ("third", "nets/my_net.py:Net")


def test_a_field_is_swept_once_and_a_range_has_no_grid_and_no_more_members_than_differ():
    with pytest.raises(UsageError, match=r"--over gives epochs twice"):
        parse_axes(["epochs=1", "epochs=2"])
    with pytest.raises(UsageError, match=r"is a range, which has no grid; list values, or add --random"):
        grid_members(parse_axes(["dropout=0:0.5"]))
    with pytest.raises(UsageError, match=r"--random 7 asks for more than the 6 different members"):
        random_members(parse_axes(["epochs=1:3", "nesterov=true,false"]), 7, 0)
    with pytest.raises(UsageError, match=r"the grid has 1,000,000 members"):
        grid_members(
            parse_axes([f"{field}=" + ",".join(map(str, range(1000))) for field in ("epochs", "mean")])
        )


def test_a_member_changes_its_fields_of_the_base_of_its_arch_and_is_named_where_that_is_impossible():
    bases = {
        arch: RunConfig(arch, get_recipe(arch), "digits", 0, "val", "") for arch in ("second", "dilated")
    }
    values = {"arch": "dilated", "plateau.patience": 4, "learning_rate": 1, "dropout": 0}
    config = member_config(Member(1, values), bases)
    published = get_recipe("dilated")
    assert published.plateau is not None
    plateau = dataclasses.replace(published.plateau, patience=4)
    changed = {"plateau": plateau, "learning_rate": 1.0, "dropout": 0.0, "name": "dilated-modified"}
    assert config == dataclasses.replace(bases["dilated"], recipe=dataclasses.replace(published, **changed))
    assert member_config(Member(2, {"arch": "second"}), bases) == bases["second"]
    for member, message in (
        (Member(3, {"dropout": 1.5}), r"member 003-dropout=1\.5 is impossible: recipe .* has dropout=1\.5"),
        (Member(4, {"epochs": 1.5}), r"member 004-epochs=1\.5 is impossible: recipe\.epochs is 1\.5"),
        (Member(5, {"nesterov": True, "optimizer": "adam"}), r"nesterov=true-optimizer=adam is impossible"),
    ):
        with pytest.raises(UsageError, match=message):
            member_config(member, bases)


def test_corners_are_the_ends_of_ranges_and_every_choice():
    corners = [tuple(member.values.values()) for member in corner_members(parse_axes(RANDOM))]
    assert len(set(corners)) == 16
    assert corners[0] == (0.01, 5.0, 32, True)


def test_rungs_end_with_all_epochs_and_the_better_part_goes_on():
    assert plan_rungs(24, 15, 3) == [Rung(1, 24, 2), Rung(2, 8, 5), Rung(3, 2, 15)]
    assert plan_rungs(4, 4, 2) == [Rung(1, 4, 1), Rung(2, 2, 2), Rung(3, 1, 4)]
    with pytest.raises(
        UsageError, match=r"--halving 3 needs at least 3 members and 3 epochs; there are 2 and 9"
    ):
        plan_rungs(2, 9, 3)
    # Of equal ones the first; none that diverged, however few are left.
    assert promoted({1: 90.0, 2: None, 3: 95.0, 4: 90.0, 5: 80.0}, 2) == [1, 3]
    assert promoted({1: None, 2: 50.0}, 2) == [2]


def test_a_sweep_killed_in_a_member_goes_on_and_trains_each_seed_of_each_member_once(make, digits):
    over = ["learning_rate=0.1,1e30"]
    broken = Watcher(kill_at=(1, 2))
    with pytest.raises(Killed):
        train_sweep(make(over, seeds=2), trainer(digits), *broken.reporting)
    assert broken.finished == [(0, 1, 1)]
    again = Watcher()
    sweep = make(over, seeds=2)
    train_sweep(sweep, trainer(digits), *again.reporting)
    assert again.finished == [(0, 1, 2), (0, 2, 1), (0, 2, 2)]
    results = read_results(sweep)
    assert [(result.member.number, result.diverged) for result in results] == [(1, ()), (2, (1, 2))]
    assert results[1].score is None
    # What diverged is not tried again.
    train_sweep(sweep, trainer(digits), *(third := Watcher()).reporting)
    assert third.finished == []
    figures, _ = write_table(sweep, results)
    assert figures["best"]["last_epoch"]["mean"] == max(result.score or 0 for result in results)
    assert figures["diverged"] == ["002-learning_rate=1e+30"]
    for name in ("results.jsonl", "summary.json"):
        assert "test" not in (sweep.folder / name).read_text()


def test_with_halving_every_rung_trains_a_complete_schedule_of_its_own(make, digits):
    sweep = make(["learning_rate=0.1,0.2"], halving=2, epochs=2)
    train_sweep(sweep, trainer(digits), *(watcher := Watcher()).reporting)
    assert [done[:2] for done in watcher.finished[:2]] == [(0, 1), (0, 2)]
    ((rung, winner, _),) = watcher.finished[2:]
    first, last = read_results(sweep)
    assert (rung, first.member.number, first.epochs, last.epochs) == (1, winner, 2, 1)
    lowest = [read_metrics(result.study / "s1")[-1]["learning_rate"] for result in (first, last)]
    assert max(lowest) < 0.02  # both schedules have come to their end


def test_halving_promotes_by_the_mean_over_seeds_and_none_that_diverged(make):
    scores = {1: (90.0, 90.0), 2: (99.0, None), 3: (99.0, 83.0), 4: (92.0, 80.0)}

    def score(config, seed):
        return scores[round(10 * config.recipe.learning_rate)][seed - 1]

    sweep = make(["learning_rate=0.1,0.2,0.3,0.4"], halving=2, seeds=2, epochs=4)
    train_sweep(sweep, invented(score), *(watcher := Watcher()).reporting)
    by_rung = [
        [number for rung, number, seed in watcher.finished if (rung, seed) == (at, 1)] for at in range(3)
    ]
    assert by_rung == [[1, 2, 3, 4], [1, 3], [3]]
    assert [result.member.number for result in read_results(sweep)] == [3, 1, 4, 2]


def test_more_seeds_and_members_are_added_and_anything_else_is_another_sweep(make):
    over = ["learning_rate=0.1:0.3"]

    def score(config, seed):
        return 100 * config.recipe.learning_rate + seed

    train_sweep(make(over, method="random", count=2), invented(score), *Watcher().reporting)
    larger = make(over, method="random", count=3, seeds=2)
    train_sweep(larger, invented(score), *(watcher := Watcher()).reporting)
    assert watcher.finished == [(0, 1, 2), (0, 2, 2), (0, 3, 1), (0, 3, 2)]
    assert read_sweep(larger.folder).members == larger.members
    # A smaller count leaves what is there.
    assert len(make(over, method="random", count=1).members) == 3
    with pytest.raises(UsageError, match=r"is another sweep: its over is \[.*\], not .*; name another --out"):
        make(["learning_rate=0.1:0.4"], method="random", count=2)
    with pytest.raises(UsageError, match=r"is another sweep: its second\.recipe\.momentum is 0\.9, not 0\.8"):
        make(over, method="random", count=2, momentum=0.8)
    (larger.folder / "sweep.json").write_text('{"plan": 3}')
    with pytest.raises(CheckpointError, match=r"sweep\.json is damaged"):
        read_sweep(larger.folder)


def test_shards_are_all_members_and_none_is_in_two(make):
    sweep = make(["learning_rate=0.1,0.2,0.3,0.4,0.5"])
    parts = []
    for index in range(3):
        train_sweep(sweep, invented(lambda config, seed: 90.0), *(watcher := Watcher()).reporting, (index, 3))
        parts.append([number for _, number, _ in watcher.finished])
    assert parts == [[3], [1, 4], [2, 5]]
    assert len(read_results(sweep)) == 5


def score_of(config, seed):
    """Highest at 0.3 with dropout 0.1; diverges beyond 0.9."""
    rate = config.recipe.learning_rate
    return (
        None if rate > 0.9 else 90 - 20 * abs(rate - 0.3) + 10 * (config.recipe.dropout == 0.1) + 0.1 * seed
    )


TRIALS = ("learning_rate=log:0.01:1", "dropout=0.0,0.1")


def train_optuna(make, name, count, watcher, over=TRIALS):
    sweep = make(over, name, "optuna", count, seeds=2)
    trials = TpeTrials(sweep.folder, sweep.plan.axes, count, 0)
    sweep.members[:] = trials.members()
    train_trials(sweep, trials, invented(score_of), *watcher.reporting)
    return sweep


def test_optuna_killed_and_resumed_chooses_the_same_members_as_undisturbed_and_finds_the_better_half(make):
    whole = train_optuna(make, "whole", 20, Watcher())
    with pytest.raises(Killed):
        train_optuna(make, "broken", 20, Watcher(kill_at=(12, 2)))
    journal = make(TRIALS, "broken", "optuna", 20, seeds=2).folder / JOURNAL
    # As kill -9 leaves it in the middle of a write: half a line, and Optuna's own lock.
    with journal.open("ab") as file:
        file.write(b'{"op_code":4,"wor')
    journal.with_name(f"{JOURNAL}.lock").symlink_to(journal)
    run = next(path for path in journal.parent.glob("012-*/s2"))
    shutil.rmtree(run)
    broken = train_optuna(make, "broken", 20, watcher := Watcher())
    assert next(number for _, number, seed in watcher.finished if seed == 2) == 12
    assert broken.members == whole.members
    assert len(broken.members) == 20
    assert read_sweep(broken.folder).members == broken.members
    best = read_results(broken)[0].member
    assert best.values["dropout"] == 0.1
    assert abs(best.values["learning_rate"] - 0.3) < 0.1
    late = [member.values["dropout"] for member in broken.members[12:]]
    assert late.count(0.1) > 4
    # More of them go on from there.
    assert len(train_optuna(make, "broken", 21, Watcher()).members) == 21


def test_a_trial_that_repeats_another_shares_its_member(make):
    sweep = train_optuna(make, "few", 9, watcher := Watcher(), ["dropout=0.0,0.1", "nesterov=true,false"])
    assert len(sweep.members) <= 4
    assert len(watcher.finished) == 2 * len(sweep.members)
    trials = TpeTrials(sweep.folder, sweep.plan.axes, 9, 0)
    assert (trials.begun(), trials.ask()) == ([], None)
    assert trials.members() == sweep.members


def test_without_optuna_the_error_says_how_to_get_it(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, _, error = call("--over", "learning_rate=0.1:0.2", "--optuna", "3")
    assert code == 2
    assert "not installed; pip install 'jaxmnist[optuna]'" in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "a sweep needs values to try; add --over"),
        (("--over", "momentun=0.1"), "did you mean 'momentum'"),
        (("--over", "learning_rate=-1"), "member 001-learning_rate=-1 is impossible: recipe 'second-"),
        (("--over", "learning_rate=-1:1", "--optuna", "2"), "member 001-learning_rate=-1.0 is impossible"),
        (("--over", "arch=second,thrid"), "did you mean 'third'"),
        (("--over", "epochs=1,2", "--halving", "2"), "take epochs out of --over"),
        (("--over", "mean=0.1,0.2", "--random", "2", "--optuna", "2"), "give one of them"),
        (("--over", "mean=0.1,0.2", "--shard", "2/2"), "--shard 2/2 is no I/N"),
        (("--over", "mean=0.1,0.2", "--seeds", "0"), "--seeds 0 is out of range"),
        (
            ("--over", "mean=0.1,0.2", "--out", "/proc/nowhere"),
            "the sweep folder /proc/nowhere cannot be written",
        ),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2_before_anything_is_trained(call, options, message):
    code, _, error = call(*options)
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
    assert not Path("sweeps").exists()


def test_the_table_of_a_folder_is_collected_with_a_picture_and_in_json(make, call):
    sweep = make(["learning_rate=0.1,0.2,5", "dropout=0.1,null"], seeds=2)

    def score(config, seed):
        return None if config.recipe.learning_rate > 1 else 90.0 + seed + 10 * config.recipe.learning_rate

    train_sweep(sweep, invented(score), *Watcher().reporting)
    code, out, _ = call("--collect", sweep.folder)
    assert code == 0
    rows = [line.split() for line in out.splitlines() if line.strip().startswith("00")]
    assert [row[0] for row in rows] == ["003", "004", "001", "002", "005", "006"]
    assert rows[0] == ["003", "0.2", "0.1", "2", "93.500", "6.353", "2.0"]
    assert rows[4][4:6] == ["diverged", "s1,"]
    assert f"--config {sweep.folder / '003-learning_rate=0.2-dropout=0.1' / STUDY}" in out.replace("\n", "")
    assert "test accuracy" not in out
    assert (sweep.folder / "plots" / "sweep.png").stat().st_size > 10_000
    code, out, _ = call("--collect", sweep.folder, "--json")
    assert json.loads(out)["best"]["number"] == 3
    code, _, error = call("--collect", sweep.folder / "plots")
    assert (code, "is not a sweep" in error) == (4, True)


def finished_runs(folder):
    """Returns the time at which each finished training was written."""
    return {str(path.parent): path.stat().st_mtime_ns for path in folder.glob("*/s*/predictions.npz")}


@pytest.mark.battery
def test_a_sweep_of_24_members_over_2_processes_killed_once_is_complete_with_each_member_once(tmp_path):
    folder = tmp_path / "sweep"
    command = [sys.executable, str(ROOT / "scripts" / "sweep.py"), "--arch", "second", "--dataset", "digits"]
    command += [
        "--epochs",
        "1",
        "--over",
        "learning_rate=log:0.02:0.5",
        "--over",
        "augmentation.rotation=0:15",
    ]
    command += ["--random", "24", "--processes", "2", "--json", "--out", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(finished_runs(folder)) < 9 and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert (figures["members"], figures["members_begun"], figures["diverged"]) == (24, 24, [])
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert sorted(row["number"] for row in rows) == list(range(1, 25))
    assert [row["seeds"] for row in rows] == [[1]] * 24
    lines = [line.split() for line in done.stderr.splitlines() if "/24 " in line]
    trained = [line[1] for line in lines]
    # Those finished before the kill, or by the children that saw their parent gone, are not trained again.
    assert len(trained) == len(set(trained)) <= 24 - 9
    assert lines[-1][0] == "24/24"
    assert len(finished_runs(folder)) == 24
    for row in rows:
        (metrics,) = read_metrics(folder / row["study"] / "s1")
        assert metrics["val_accuracy"] == row["last_epoch"]["mean"]
    before = finished_runs(folder)
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(again.stdout) == figures
    assert finished_runs(folder) == before
