"""What an attack is, and how a battery of them is run, counted and printed."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

_Error = TypeVar("_Error", bound=Exception)

Trial = Callable[[], None]
"""Attacks once; raises AssertionError, with an explanation, where the promise is broken."""


@dataclasses.dataclass(frozen=True)
class Attack:
    """One way to hurt the program, tried many times."""

    name: str
    """Lower case, words joined by hyphens."""
    trials: int
    """How many trials the whole battery makes."""
    short: int
    """How many the short one makes, a few seconds' worth."""
    run: Callable[[int, Path, np.random.Generator], Iterator[Trial]]
    """(trials, folder, random) -> the trials, one after the other. What comes before the first `yield` prepares
    them all; a trial is made as soon as it is yielded. `folder` is empty and belongs to the attack alone."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of an attack."""

    name: str
    trials: int
    passed: int
    seconds: float
    failures: tuple[str, ...]
    """An explanation for each trial that failed."""


def run_attack(attack: Attack, trials: int, folder: Path, seed: int) -> Outcome:
    """Makes the trials of an attack; a trial that fails, in whatever way, is counted and the others go on.

    Args:
        attack: which.
        trials: how many; fewer than this count as failed.
        folder: a place for files, which is made.
        seed: decides everything random, together with the attack's name.
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
    """A line per attack, and below the table a line per failure."""
    width = max(len("attack"), *(len(outcome.name) for outcome in outcomes))
    lines = [f"{'attack':<{width}}  trials  passed  seconds"]
    lines += [
        f"{outcome.name:<{width}}  {outcome.trials:>6,}  {outcome.passed:>6,}  {outcome.seconds:>7.1f}"
        for outcome in outcomes
    ]
    lines += [f"FAILED {outcome.name}, {failure}" for outcome in outcomes for failure in outcome.failures]
    return "\n".join(lines)


def error_of(kind: type[_Error], function: Callable[[], object]) -> _Error | None:
    """The error of that kind that a function ends with; None where it ends without."""
    try:
        function()
    except kind as error:
        return error
    return None


def _explain(error: Exception) -> str:
    return str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
