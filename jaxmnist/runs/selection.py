"""Which epoch is a run's, and the results that follow from it."""

import statistics
from collections.abc import Mapping
from typing import Any

from jaxmnist.config.run import RunConfig


def is_best(config: RunConfig, rows: list[dict[str, Any]], row: dict[str, Any]) -> bool:
    """Whether an epoch counts as the best so far: the recipe's checkpoint rule.

    It is after the ignored epochs, reaches `best_model`, and is strictly above every earlier epoch. Where
    nothing is selected on (`last`), every epoch takes the place of the one before it.

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
    """What an epoch is chosen by, more being better: accuracy in percent on the split that selects; with `last`
    the epoch's number, so that the latest is the best whatever its accuracy.
    """
    return float(row["epoch"]) if config.select_on == "last" else row[f"{config.select_on}_accuracy"]


def summarise(config: RunConfig, rows: list[dict[str, Any]], parameters: int) -> dict[str, Any]:
    """The results of a complete run, from its lines of metrics. Accuracies are percentages.

    `best` is the last epoch that `is_best`, or where there is none (`rule_met` is then false) the first one
    with the highest accuracy on the split that selects; with `last` it is the last epoch. `best_test_accuracy`
    is the highest that any epoch reached on the test images, a figure that no honest claim can rest on.
    """
    best = max(rows, key=lambda row: score(config, row))
    best_test = max(rows, key=lambda row: row["test_accuracy"])
    meeting_rule = [row for i, row in enumerate(rows) if is_best(config, rows[:i], row)]
    best = meeting_rule[-1] if meeting_rule else best
    return {
        "arch": config.arch,
        "recipe": config.recipe.name,
        "dataset": config.dataset,
        "seed": config.seed,
        "parameters": parameters,
        "epochs": len(rows),
        "select_on": config.select_on,
        "rule_met": bool(meeting_rule),
        "best_epoch": best["epoch"],
        "test_accuracy_of_best": best["test_accuracy"],
        "final_test_accuracy": rows[-1]["test_accuracy"],
        "last_five_mean_test_accuracy": statistics.fmean(row["test_accuracy"] for row in rows[-5:]),
        "best_test_accuracy": best_test["test_accuracy"],
        "best_test_epoch": best_test["epoch"],
        "best_train_accuracy": max(row["train_accuracy"] for row in rows),
        "seconds": round(sum(row["seconds"] for row in rows), 3),
    }
