"""Studies on the same images: by how much they differ, and whether that is more than chance."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxmnist.errors import UsageError
from jaxmnist.experiments.statistics import between_seeds, by_seed, over_images, summarise
from jaxmnist.experiments.study.folder import SeedResult, Study, read_predictions, read_seeds


def compare_studies(first: Study, second: Study) -> dict[str, Any]:
    """Differences of the last epoch's accuracy, the first study minus the second, as plain JSON values.

    Three questions, each with its own test:

    `between_seeds` (Welch): is one recipe's mean over all seeds another than the other's, on these images? The
    figure to decide by. `by_seed` (paired t): the same question where both have the same seeds, as the order of
    the images, and the initial weights of equal networks, are then the same. `over_images` (random signs): do the
    networks at hand differ by more than the choice of images explains? A difference can hold for one and not for
    the other; a claim about recipes on MNIST as such needs both. With folds `by_seed` is the figure to decide by: a
    pair has the same held-out images, which are not the next pair's, and there is no `over_images`.

    Raises:
        UsageError: the studies cannot be compared: they judge on other images, or one has no finished seed.
        CheckpointError: files are damaged.
    """
    results = _comparable_seeds((first, second))
    last = [{result.seed: result.last for result in found} for found in results]
    common = sorted(last[0].keys() & last[1].keys())
    differences = {
        "between_seeds": between_seeds(list(last[0].values()), list(last[1].values())),
        "by_seed": by_seed([last[0][seed] for seed in common], [last[1][seed] for seed in common])
        if len(common) > 1
        else None,
        # With folds a seed answers for other images than the next one.
        "over_images": over_images(_correct(first, list(last[0])), _correct(second, list(last[1])))
        if first.config.folds is None
        else None,
    }
    return {
        "split": first.split,
        "studies": [_named(*pair) for pair in zip((first, second), results, strict=True)],
        "differences": {
            name: None if found is None else dataclasses.asdict(found) for name, found in differences.items()
        },
    }


def compare_with_first(studies: Sequence[Study]) -> dict[str, Any]:
    """Each study's last epoch, and by how much its accuracy differs from the first one's, as plain JSON values.

    `difference` is the study minus the first, by Welch's t as `between_seeds` of `compare_studies`, with folds over
    the common seeds as `by_seed`; null for the first itself. Each interval stands alone: of twenty differences one
    is expected to miss zero by chance.

    Raises:
        UsageError: the studies cannot be compared: they judge on other images, or one has no finished seed.
        CheckpointError: files are damaged.
    """
    results = _comparable_seeds(studies)
    last = [{result.seed: result.last for result in found} for found in results]
    rows: list[dict[str, Any]] = []
    for study, found, values in zip(studies, results, last, strict=True):
        losses = [result.last_loss for result in found if result.last_loss is not None]
        loss = dataclasses.asdict(summarise(losses)) if losses else None
        difference = _difference(study, values, last[0]) if rows else None
        accuracies = list(values.values())
        rows.append(
            {**_named(study, found), "accuracies": accuracies, "last_loss": loss, "difference": difference}
        )
    return {"split": studies[0].split, "paired": studies[0].config.folds is not None, "studies": rows}


def _difference(study: Study, values: dict[int, float], first: dict[int, float]) -> dict[str, Any] | None:
    """Of accuracies by their seeds; None with folds where fewer than two seeds are common."""
    if study.config.folds is None:
        return dataclasses.asdict(between_seeds(list(values.values()), list(first.values())))
    common = sorted(values.keys() & first.keys())
    if len(common) < 2:
        return None
    return dataclasses.asdict(by_seed([values[seed] for seed in common], [first[seed] for seed in common]))


def _comparable_seeds(studies: Sequence[Study]) -> list[list[SeedResult]]:
    """The finished seeds of each study, which all judge on the same images."""
    first, *others = studies
    for second in others:
        for field in ("dataset", "data_fingerprint"):
            mine, other = (getattr(study.config, field) for study in (first, second))
            if mine != other:
                raise UsageError(
                    f"{first.folder} and {second.folder} are on other data: {mine[:12]} and {other[:12]}."
                )
        if first.config.folds != second.config.folds:
            raise UsageError(
                f"{first.folder} and {second.folder} hold out other images: --folds {first.config.folds} and "
                f"{second.config.folds}; compare studies with the same."
            )
        if first.split != second.split:
            raise UsageError(
                f"{first.folder} is judged on {first.split} and {second.folder} on {second.split}; "
                "compare studies with the same --select-on."
            )
    results = [read_seeds(study) for study in studies]
    for study, found in zip(studies, results, strict=True):
        if not found:
            raise UsageError(f"{study.folder} has no finished seed; run its study command again.")
    return results


def _named(study: Study, found: Sequence[SeedResult]) -> dict[str, Any]:
    return {
        "study": str(study.folder),
        "arch": study.config.arch,
        "recipe": study.config.recipe.name,
        "seeds": [result.seed for result in found],
        "last_epoch": dataclasses.asdict(summarise([result.last for result in found])),
    }


def _correct(study: Study, seeds: list[int]) -> np.ndarray:
    """Whether each seed gets each image right, `[seeds, images]`."""
    pairs = [read_predictions(study, seed) for seed in seeds]
    return np.stack([predictions == labels for predictions, labels in pairs])
