"""What a report says of runs, as plain data: figures in sentences, settings, differences, errors side by side."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from jaxmnist.config import get_recipe
from jaxmnist.config.run import RunConfig
from jaxmnist.data import CLOTHING, NUM_CLASSES
from jaxmnist.inference.evaluate import Evaluation
from jaxmnist.models.structure import Layer, Totals
from jaxmnist.runs.compare import ComparedRun
from jaxmnist.runs.published import PUBLISHED


class Samples(NamedTuple):
    """Training images as they are, and as training may see them."""

    originals: UInt8[np.ndarray, "n 28 28"]
    versions: Float32[np.ndarray, "versions n 28 28"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RunFacts:
    """One run, as far as it is there."""

    figures: ComparedRun
    verdict: str
    """A sentence or two: how good, picked how, on what."""
    interval: tuple[float, float] | None
    """95 % interval of the accuracy in the verdict, in percent; None where no count of images is known."""
    config: RunConfig | None
    environment: dict[str, Any]
    rows: list[dict[str, Any]]
    """Lines of metrics."""
    results: dict[str, Any] | None
    """Contents of `results.json`; None of an unfinished run."""
    layers: list[Layer]
    totals: Totals | None
    evaluation: Evaluation | None
    """The best checkpoint on the test images."""
    pictures: dict[int, UInt8[np.ndarray, "28 28"]]
    """Images by the index that a mistake has."""
    samples: Samples | None
    notes: tuple[str, ...]
    """Why something is missing, a sentence each."""

    @property
    def classes(self) -> tuple[str, ...]:
        if self.figures.dataset == "fashion_mnist":
            return tuple(f"{number} {name}" for number, name in enumerate(CLOTHING))
        return tuple(map(str, range(NUM_CLASSES)))

    @property
    def wrong(self) -> set[int] | None:
        """Indices of the test images that are classified wrongly; None where that is not known."""
        if self.evaluation is None:
            return None
        return {mistake.index for mistake in self.evaluation.mistakes}


class Pair(NamedTuple):
    """The errors of two runs on the same test images."""

    first: int
    second: int
    """Positions of the runs."""
    both_right: int
    both_wrong: int
    only_first: int
    """Images that the first alone gets wrong."""
    only_second: int
    p_value: float
    """Of McNemar's exact test."""


def settings(config: RunConfig) -> dict[str, Any]:
    """All that was asked for, `recipe.plateau.patience` say, in the order of the fields."""
    return _flat(dataclasses.asdict(config))


def settings_of(run: RunFacts) -> dict[str, Any]:
    """The same of a run, of which less is known where its configuration was not kept."""
    if run.config is not None:
        return settings(run.config)
    figures = run.figures
    known = {name: getattr(figures, name) for name in ("arch", "dataset", "seed", "select_on")}
    return known | {"recipe.name": figures.recipe, "recipe.epochs": figures.recipe_epochs}


def published_settings(config: RunConfig) -> dict[str, Any] | None:
    """Settings of a run by the published protocol with the same recipe; None where that is no published one."""
    name = config.recipe.name.removesuffix("-modified")
    if name not in {run.recipe for run in PUBLISHED}:
        return None
    recipe = get_recipe(name)
    protocol = {"seed": recipe.default_seed, "select_on": "test", "dropout": None, "norm": None}
    return settings(dataclasses.replace(config, recipe=recipe, **protocol))


def beside(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both settings with the same names: a part that only one of them has, as a plateau, is one setting there."""
    return _gathered(ours, theirs), _gathered(theirs, ours)


def _gathered(values: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    gathered: dict[str, Any] = {}
    for name, value in values.items():
        part, _, field = name.rpartition(".")
        if part in other:
            gathered.setdefault(part, {})[field] = value
        else:
            gathered[name] = value
    return gathered


def differences(per_run: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Names whose values are not the same in all mappings, each with its values; None where it has none."""
    names = dict.fromkeys(name for values in per_run for name in values)
    columns = {name: [values.get(name) for values in per_run] for name in names}
    return {name: values for name, values in columns.items() if any(value != values[0] for value in values)}


def flat_environment(run: RunFacts) -> dict[str, Any]:
    """The environment, `packages.jax` say."""
    return _flat(run.environment)


def as_json(run: RunFacts) -> dict[str, Any]:
    """A run as plain JSON values; null for a figure that is not finite."""
    figures = run.figures
    theirs = figures.published and dataclasses.asdict(figures.published)
    values = {
        **dataclasses.asdict(figures),
        "published": theirs,
        "difference": figures.difference,
        "verdict": run.verdict,
        "interval": run.interval,
        "notes": run.notes,
        "config": run.config and dataclasses.asdict(run.config),
        "environment": run.environment,
        "metrics": run.rows,
        "layers": [layer._asdict() for layer in run.layers],
        "evaluation": run.evaluation and run.evaluation.as_json(),
    }
    return _finite(values)


def _flat(values: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in values.items():
        flat |= _flat(value, f"{place}{name}.") if isinstance(value, Mapping) else {f"{place}{name}": value}
    return flat


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
