"""Attacks, and a battery that runs, counts and prints them."""

import dataclasses
import functools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

_Error = TypeVar("_Error", bound=Exception)

Trial = Callable[[], None]
"""One attack; raises AssertionError with an explanation if a promise is broken."""


@dataclasses.dataclass(frozen=True)
class Attack:
    """One way to hurt the program, tried many times."""

    name: str
    """Lower case, words joined by hyphens."""
    trials: int
    """Number of trials in the whole battery."""
    short: int
    """Number of trials in the short battery, which takes seconds."""
    run: Callable[[int, Path, np.random.Generator], Iterator[Trial]]
    """Generator of the trials: (trials, folder, random) -> trials. Code before the first `yield` prepares all trials; a
    trial runs as soon as it is yielded. `folder` is empty and used by no other attack."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Result of an attack."""

    name: str
    trials: int
    passed: int
    seconds: float
    failures: tuple[str, ...]
    """An explanation of each failed trial."""


def run_attack(attack: Attack, trials: int, folder: Path, seed: int) -> Outcome:
    """Runs the trials of an attack; a trial that fails in any way is counted, and the others continue.

    Args:
        attack: the attack.
        trials: number of trials; missing ones count as failed.
        folder: folder for files, which is created.
        seed: seed of all random choices, together with the attack's name.
    """
    began = time.perf_counter()
    folder.mkdir(parents=True)
    random = np.random.default_rng([seed, *attack.name.encode()])
    passed, failures = 0, []
    try:
        for number, trial in enumerate(attack.run(trials, folder, random), start=1):
            try:
                trial()
                passed += 1
            except Exception as error:
                failures.append(f"trial {number}: {_explain(error)}")
    except Exception as error:
        failures.append(f"preparation: {_explain(error)}")
    made = passed + len(failures)
    if made < trials:
        failures.append(f"only {made} of {trials} trials were made")
    return Outcome(attack.name, trials, passed, time.perf_counter() - began, tuple(failures))


def table(outcomes: Sequence[Outcome]) -> str:
    """Returns a table with a line per attack, followed by a line per failure."""
    width = max(len("attack"), *(len(outcome.name) for outcome in outcomes))
    lines = [f"{'attack':<{width}}  trials  passed  seconds"]
    lines += [
        f"{outcome.name:<{width}}  {outcome.trials:>6,}  {outcome.passed:>6,}  {outcome.seconds:>7.1f}"
        for outcome in outcomes
    ]
    lines += [f"FAILED {outcome.name}, {failure}" for outcome in outcomes for failure in outcome.failures]
    return "\n".join(lines)


def markdown(outcomes: Sequence[Outcome], attacks: Sequence[Attack]) -> str:
    """Returns a table for docs/reliability.md, in the order of the attacks; outcomes of other attacks are left out."""
    made = {outcome.name: outcome for outcome in outcomes}
    lines = ["| attack | done | trials | lost or silently wrong |", "|---|---|---|---|"]
    for attack in attacks:
        if (outcome := made.get(attack.name)) is not None:
            function = attack.run.func if isinstance(attack.run, functools.partial) else attack.run
            done = " ".join((function.__doc__ or "").split("\n\n")[0].split())
            failed = outcome.trials - outcome.passed
            lines.append(f"| {attack.name} | {done} | {outcome.trials:,} | {failed:,} |")
    return "\n".join(lines)


def read_outcomes(path: Path) -> list[Outcome]:
    """Reads the file of outcomes that a battery wrote; none if there is no file."""
    if not path.is_file():
        return []
    found = json.loads(path.read_text())["outcomes"]
    return [Outcome(**values | {"failures": tuple(values["failures"])}) for values in found]


def error_of(kind: type[_Error], function: Callable[[], object]) -> _Error | None:
    """Returns the error of a class that a function raises, or None if it returns."""
    try:
        function()
    except kind as error:
        return error
    return None


def _explain(error: Exception) -> str:
    return str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
