"""The best known accuracy at every budget of size, work and time, from studies on MNIST's test images.

`frontier.json` is written by `python scripts/budget.py --studies docs/results/studies --table FILE`; nothing in it is
written by hand.
"""

import dataclasses
import functools
import json
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path

from jaxmnist.config import RECIPES, get_recipe
from jaxmnist.errors import CheckpointError, UsageError
from jaxmnist.experiments.study.folder import REMEDY, SEEDS, SUMMARY
from jaxmnist.models import ARCHS, create_model
from jaxmnist.models.structure import Totals, layers, totals
from jaxmnist.runs.folder import naming_damage, write_json
from jaxmnist.runtime.reading import read_json

FRONTIER = Path(__file__).with_name("frontier.json")

LEAST_SEEDS = 4
"""Fewest seeds of a study that counts: with fewer an interval says nothing."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """A network and recipe with what they cost and reach. Accuracies are percentages of MNIST's test images."""

    arch: str
    recipe: str
    parameters: int
    size_kb: float
    """Parameters as float32, in kilobytes of 1,024 bytes."""
    multiply_adds: int
    """Multiplications by kernel elements to classify one image, in all its views."""
    epochs: int
    seconds: float
    """Training time of a seed: the median of runs by themselves if there are any, else of the study's seeds."""
    seeds: int
    accuracy: float
    """Mean over the seeds of the last epoch's accuracy."""
    low: float
    """Lower end of the 95 % interval of the mean, Student's t."""
    high: float
    """Upper end of the interval."""
    standard_deviation: float

    @property
    def command(self) -> str:
        """The command that trains it on all training images."""
        return f"jaxmnist train --arch {self.arch} --recipe {self.recipe} --select-on last"


LIMITS = {"params": "parameters", "size-kb": "size_kb", "madds": "multiply_adds", "seconds": "seconds"}
"""Names of budgets, and the field of a choice that each bounds."""

_UNITS = {"params": "parameters", "size-kb": "kB", "madds": "multiply-adds", "seconds": "seconds"}


def read_frontier() -> list[Choice]:
    """Reads the choices shipped with the package, by number of parameters."""
    return [Choice(**values) for values in read_json(FRONTIER)["choices"]]


def write_frontier(path: Path, choices: Iterable[Choice]) -> None:
    """Writes choices in the form of `frontier.json`.

    Raises:
        OSError: the file cannot be written.
    """
    write_json(path, {"choices": [dataclasses.asdict(choice) for choice in choices]})


def choices_of(studies: Path, timing: Path | None = None) -> list[Choice]:
    """Collects choices from a folder of studies, by number of parameters.

    A study counts if it is on MNIST by `--select-on last`, of a named network by a named recipe as they are now, with
    at least `LEAST_SEEDS` seeds.

    Args:
        studies: folder with a folder for each study.
        timing: the `comparison.json` of runs that had a machine to themselves; their seconds replace the study's.

    Raises:
        UsageError: no study there counts.
        CheckpointError: a file is damaged.
    """
    seconds = {} if timing is None else _seconds(timing)
    choices = [choice for path in sorted(studies.glob(f"*/{SUMMARY}")) for choice in _choices(path, seconds)]
    if not choices:
        raise UsageError(
            f"{studies} holds no study of a named network by a named recipe on MNIST with --select-on last and at "
            f"least {LEAST_SEEDS} seeds; name a folder of such studies."
        )
    return sorted(choices, key=lambda choice: (choice.parameters, choice.seconds))


def best_within(choices: Iterable[Choice], limits: Mapping[str, int | float]) -> Choice:
    """Returns the best choice among those within all limits: the one whose interval ends highest at its lower end.

    By the mean a study of four seeds would win over one of ten by luck.

    Args:
        choices: choices, at least one.
        limits: the most of each budget, by its name in `LIMITS`.

    Raises:
        UsageError: there is none; the message names the least of each budget.
    """
    choices = list(choices)
    fitting = [c for c in choices if all(getattr(c, LIMITS[name]) <= most for name, most in limits.items())]
    if fitting:
        return max(fitting, key=lambda choice: choice.low)
    given = " with ".join(f"--{name} {most}" for name, most in limits.items())
    least = {name: min(getattr(choice, LIMITS[name]) for choice in choices) for name in limits}
    needs = " and ".join(f"{value:,} {_UNITS[name]}" for name, value in least.items())
    raise UsageError(f"no studied network fits {given}; the least that any of them takes is {needs}.")


def _choices(path: Path, seconds: Mapping[tuple[str, str, int], float]) -> list[Choice]:
    """Returns the choice that a study's summary makes, if it counts."""
    with naming_damage(path, REMEDY):
        figures = read_json(path)
        arch, recipe, last = figures["arch"], figures["recipe"], figures["last_epoch"]
        on_test = (figures["dataset"], figures["select_on"]) == ("mnist", "last")
        if not on_test or arch not in ARCHS or recipe not in RECIPES or last["count"] < LEAST_SEEDS:
            return []
        sums = _totals(arch)
        if (figures["parameters"], figures["epochs"]) != (sums.parameters, get_recipe(recipe).epochs):
            return []  # of an earlier form or recipe
        return [
            Choice(
                arch,
                recipe,
                sums.parameters,
                round(sums.parameter_bytes / 1024, 2),
                sums.multiply_adds * get_recipe(recipe).views,
                figures["epochs"],
                round(
                    seconds.get((arch, recipe, sums.parameters)) or _median_seconds(path.with_name(SEEDS)), 1
                ),
                last["count"],
                *(round(last[name], 4) for name in ("mean", "low", "high", "standard_deviation")),
            )
        ]


@functools.cache
def _totals(arch: str) -> Totals:
    return totals(layers(create_model(arch)))


def _median_seconds(path: Path) -> float:
    """Returns the median training time of a study's seeds; one that was paused does not count for more."""
    with naming_damage(path, REMEDY):
        return statistics.median(json.loads(line)["seconds"] for line in path.read_text().splitlines())


def _seconds(timing: Path) -> dict[tuple[str, str, int], float]:
    """Returns the median training time of finished runs on all training images, by arch, recipe and parameters."""
    found: dict[tuple[str, str, int], list[float]] = {}
    try:
        for run in read_json(timing)["runs"]:
            if run["finished"] and run["select_on"] == "last":
                names = run["arch"], run["recipe"], run["parameters"]
                found.setdefault(names, []).append(float(run["seconds"]))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CheckpointError(
            f"{timing} is not the comparison.json of the compare command; name such a file."
        ) from error
    return {names: statistics.median(values) for names, values in found.items()}
