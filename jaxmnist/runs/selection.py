"""The choice of a run's best epoch, and the results that follow from it."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from jaxmnist.config.run import RunConfig
from jaxmnist.data.dataset import dataset_title
from jaxmnist.data.splits import SelectOn
from jaxmnist.runs.notebook import facts_html


@dataclasses.dataclass(frozen=True)
class Results:
    """Final figures of a complete run, as `results.json` holds them. Accuracies are in percent."""

    arch: str
    recipe: str
    dataset: str
    """Name of the dataset; of a path its last part."""
    data_fingerprint: str
    """SHA-256 of the images and labels."""
    seed: int
    parameters: int
    """Trainable parameters."""
    epochs: int
    select_on: SelectOn
    rule_met: bool
    """True if an epoch met the recipe's checkpoint rule; see `is_best`."""
    best_epoch: int
    """The kept epoch: the last one that `is_best`; if there is none, the first one with the highest score."""
    test_accuracy_of_best: float
    final_test_accuracy: float
    """Test accuracy of the last epoch."""
    last_five_mean_test_accuracy: float
    best_test_accuracy: float
    """Highest test accuracy of any epoch, on which no honest claim can rest."""
    best_test_epoch: int
    best_train_accuracy: float
    seconds: float
    """Time of all epochs, evaluation included."""
    stopped: str | None = None
    """Reason for the end before the recipe's last epoch, as a phrase; None after all epochs."""
    final_train_accuracy: float | None = None
    """Train accuracy of the last epoch, on augmented images; None in runs of earlier versions."""

    def _repr_html_(self) -> str:
        return facts_html("Results", dataclasses.asdict(self))


def is_best(config: RunConfig, rows: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> bool:
    """True if an epoch counts as the best so far by the recipe's checkpoint rule.

    It must come after the ignored epochs, reach `best_model`, and be strictly above every earlier epoch. With `last`
    every epoch replaces the one before it.

    Args:
        config: recipe and selecting split.
        rows: lines of the epochs before it.
        row: line of the epoch.
    """
    if config.select_on == "last":
        return True
    select, recipe = f"{config.select_on}_accuracy", config.recipe
    return (
        row["epoch"] > recipe.ignored_epochs
        and row[select] >= recipe.best_model
        and all(row[select] > earlier[select] for earlier in rows)
    )


def score(config: RunConfig, row: Mapping[str, Any]) -> float:
    """Returns the figure by which an epoch is chosen, higher is better: accuracy in percent on the selecting split.

    With `last` it is the epoch's number, so that the latest epoch is the best.
    """
    return float(row["epoch"]) if config.select_on == "last" else row[f"{config.select_on}_accuracy"]


def best_row(config: RunConfig, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Returns the line of the kept epoch; see `Results.best_epoch`."""
    meeting_rule = [row for i, row in enumerate(rows) if is_best(config, rows[:i], row)]
    return meeting_rule[-1] if meeting_rule else max(rows, key=lambda row: score(config, row))


def summarise(
    config: RunConfig, rows: Sequence[Mapping[str, Any]], parameters: int, stopped: str | None = None
) -> Results:
    """Computes the results of a complete run from its lines of metrics."""
    best_test = max(rows, key=lambda row: row["test_accuracy"])
    best = best_row(config, rows)
    return Results(
        arch=config.arch,
        recipe=config.recipe.name,
        dataset=dataset_title(config.dataset),
        data_fingerprint=config.data_fingerprint,
        seed=config.seed,
        parameters=parameters,
        epochs=len(rows),
        select_on=config.select_on,
        rule_met=any(is_best(config, rows[:i], row) for i, row in enumerate(rows)),
        best_epoch=best["epoch"],
        test_accuracy_of_best=best["test_accuracy"],
        final_test_accuracy=rows[-1]["test_accuracy"],
        last_five_mean_test_accuracy=statistics.fmean(row["test_accuracy"] for row in rows[-5:]),
        best_test_accuracy=best_test["test_accuracy"],
        best_test_epoch=best_test["epoch"],
        # NaN for an epoch all of whose steps were skipped.
        best_train_accuracy=max(
            (row["train_accuracy"] for row in rows if not math.isnan(row["train_accuracy"])), default=math.nan
        ),
        seconds=round(sum(row["seconds"] for row in rows), 3),
        stopped=stopped,
        final_train_accuracy=rows[-1]["train_accuracy"],
    )
