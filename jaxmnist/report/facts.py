"""Facts of runs for a report, as plain data: figures, settings, and the errors of two runs on the same images."""

import dataclasses
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from jaxmnist.config import get_recipe
from jaxmnist.config.run import RunConfig
from jaxmnist.data import DIGITS
from jaxmnist.data.checksums import MNIST_FINGERPRINT
from jaxmnist.inference.evaluate import Evaluation
from jaxmnist.models.structure import Layer, Totals
from jaxmnist.runs.compare import ComparedRun, run_as_json
from jaxmnist.runs.published import PUBLISHED
from jaxmnist.runtime.json_text import finite


class Samples(NamedTuple):
    """Training images, and random versions of them as training may see them."""

    originals: UInt8[np.ndarray, "n 28 28"]
    versions: Float32[np.ndarray, "versions n 28 28"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RunFacts:
    """Facts of one run, as far as its folder and the data provide them."""

    figures: ComparedRun
    verdict: str
    """The test accuracy and the selection of the epoch, in a sentence or two."""
    interval: tuple[float, float] | None
    """95 % interval of the verdict's accuracy, in percent; None if the number of images is unknown."""
    config: RunConfig | None
    environment: dict[str, Any]
    rows: list[dict[str, Any]]
    """Lines of the metrics."""
    layers: list[Layer]
    totals: Totals | None
    evaluation: Evaluation | None
    """Evaluation of the best checkpoint on the test images."""
    pictures: dict[int, UInt8[np.ndarray, "28 28"]]
    """Test images by the index of a mistake."""
    samples: Samples | None
    notes: tuple[str, ...]
    """Reasons for missing facts, a sentence each."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return DIGITS if self.config is None else self.config.classes

    @property
    def wrong(self) -> set[int] | None:
        """Indices of the misclassified test images; None if they are unknown."""
        return self.evaluation and {mistake.index for mistake in self.evaluation.mistakes}

    @property
    def median_seconds(self) -> float | None:
        """Median time of an epoch."""
        known = [value for value in self.column("seconds") if math.isfinite(value)]
        return statistics.median(known) if known else None

    def column(self, key: str) -> list[float]:
        """Returns a column of the metrics; NaN for an epoch without that figure."""
        return [float(row.get(key, math.nan)) for row in self.rows]

    def settings(self) -> dict[str, Any]:
        """Returns the configuration as nested mappings; the known part if the file is missing."""
        if self.config is not None:
            return _settings_of(self.config)
        figures = self.figures
        known = {name: getattr(figures, name) for name in ("arch", "dataset", "seed", "select_on")}
        return known | {"recipe": {"name": figures.recipe, "epochs": figures.recipe_epochs}}

    def as_json(self) -> dict[str, Any]:
        """Returns the facts as plain JSON values; null for a figure that is not finite."""
        values = {
            **run_as_json(self.figures),
            "verdict": self.verdict,
            "interval": self.interval,
            "notes": self.notes,
            "config": self.config and dataclasses.asdict(self.config),
            "environment": self.environment,
            "metrics": self.rows,
            "layers": [layer._asdict() for layer in self.layers],
            "evaluation": self.evaluation and self.evaluation.as_json(),
        }
        return {name: finite(value) for name, value in values.items()}


class Pair(NamedTuple):
    """Errors of two runs on the same test images."""

    first: int
    """Position of the first run."""
    second: int
    """Position of the second run."""
    both_right: int
    both_wrong: int
    only_first: int
    """Number of images that only the first run gets wrong."""
    only_second: int
    """Number of images that only the second run gets wrong."""
    p_value: float
    """P-value of McNemar's exact test."""


def pairs(found: Sequence[RunFacts]) -> list[Pair]:
    """Compares the errors of every two runs that were evaluated on the same test images."""
    from jaxmnist.experiments.statistics import mcnemar  # SciPy's statistics take a second to import

    compared = []
    for (first, one), (second, other) in itertools.combinations(enumerate(found), 2):
        if one.evaluation is None or other.evaluation is None or one.wrong is None or other.wrong is None:
            continue
        assert one.config is not None
        assert other.config is not None
        if one.config.data_fingerprint != other.config.data_fingerprint:
            continue
        both_wrong = len(one.wrong & other.wrong)
        only_first, only_second = len(one.wrong) - both_wrong, len(other.wrong) - both_wrong
        both_right = one.evaluation.examples - both_wrong - only_first - only_second
        p_value = mcnemar(only_first, only_second)
        compared.append(Pair(first, second, both_right, both_wrong, only_first, only_second, p_value))
    return compared


def published_settings(config: RunConfig) -> dict[str, Any] | None:
    """Returns the settings of the published run with the same recipe; None if the recipe is not a published one."""
    name = config.recipe.name.removesuffix("-modified")
    if name not in {run.recipe for run in PUBLISHED}:
        return None
    recipe = get_recipe(name)
    if config.data_fingerprint != MNIST_FINGERPRINT:  # other data have another mean
        recipe = dataclasses.replace(recipe, mean=config.recipe.mean, std=config.recipe.std)
    protocol = {"seed": recipe.default_seed, "select_on": "test", "norm": None, "folds": None}
    return _settings_of(dataclasses.replace(config, recipe=recipe, **protocol))


def _settings_of(config: RunConfig) -> dict[str, Any]:
    values, schedule = dataclasses.asdict(config), config.recipe.schedule
    if schedule is not None:
        values["recipe"]["schedule"] = schedule.in_effect
    return values


def side_by_side(per_run: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Lists the settings of several runs by name, such as `recipe.plateau.patience`.

    A part that only some of the runs have, such as a plateau, is one setting.
    """
    table: dict[str, list[Any]] = {}
    for name in dict.fromkeys(name for values in per_run for name in values):
        column = [values.get(name, _UNKNOWN) for values in per_run]
        if all(value is _UNKNOWN or isinstance(value, Mapping) for value in column):
            parts = side_by_side([{} if value is _UNKNOWN else value for value in column])
            table |= {f"{name}.{part}": values for part, values in parts.items()}
        else:
            table[name] = column
    return table


def differences(per_run: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Lists the settings that differ among the runs with a record of them; None for a run without one."""
    differing = {}
    for name, column in side_by_side(per_run).items():
        known = [value for value in column if value is not _UNKNOWN]
        if any(value != known[0] for value in known):
            differing[name] = [None if value is _UNKNOWN else value for value in column]
    return differing


_UNKNOWN = object()
