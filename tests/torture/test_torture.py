"""The short battery: a few trials of each attack."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.torture.attacks import ATTACKS
from tests.torture.battery import Attack, markdown, read_outcomes, run_attack, table

ROOT = Path(__file__).parents[2]

SLOW = {
    "kill",
    "signals",
    "second-signal",
    "hang-ups",
    "fuzzed-sweeps",
    "hostile-names",
    "kill-a-process",
    "not-finite",
    "not-finite-resumed",
}
"""Attacks that start processes or compile several programs."""

PARAMETERS = [
    pytest.param(attack, id=attack.name, marks=[pytest.mark.slow] * (attack.name in SLOW))
    for attack in ATTACKS
    if attack.short
]


@pytest.mark.parametrize("attack", PARAMETERS)
def test_nothing_is_lost_or_silently_wrong_under(attack, tmp_path):
    outcome = run_attack(attack, attack.short, tmp_path / "attack", seed=1)
    assert not outcome.failures, "\n".join(outcome.failures)
    assert outcome.passed == attack.short


def test_a_trial_that_fails_is_counted_and_the_others_go_on(tmp_path):
    def fail():
        raise AssertionError("it broke")

    def divide():
        raise ZeroDivisionError("division by zero")

    def trials(count, folder, random):
        assert folder.is_dir()
        yield from (lambda: None, fail, divide, lambda: None)

    outcome = run_attack(Attack("mixed", 5, 5, trials), 5, tmp_path / "attack", seed=1)
    assert (outcome.trials, outcome.passed) == (5, 2)
    assert outcome.failures == (
        "trial 2: it broke",
        "trial 3: ZeroDivisionError: division by zero",
        "only 4 of 5 trials were made",
    )
    assert "FAILED mixed, trial 2: it broke" in table([outcome])


def test_the_table_of_attacks_in_the_documentation_is_that_of_the_battery_s_file():
    table_of_file = markdown(read_outcomes(ROOT / "docs" / "results" / "reliability.json"), ATTACKS)
    assert table_of_file in (ROOT / "docs" / "reliability.md").read_text()


@pytest.mark.slow
def test_a_part_of_the_battery_keeps_the_outcomes_of_other_parts(tmp_path):
    file = tmp_path / "outcomes.json"
    for name in ("fuzzed-configurations", "damaged-data-files"):
        command = [sys.executable, "-m", "tests.torture", "--short", "--only", name, "--json", str(file)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert [outcome.name for outcome in read_outcomes(file)] == [
        "damaged-data-files",
        "fuzzed-configurations",
    ]
