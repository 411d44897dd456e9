"""Comparison of studies on the same images: the differences of their accuracies, and tests of them."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from jaxmnist.data.dataset import dataset_title
from jaxmnist.errors import UsageError
from jaxmnist.experiments.statistics import Difference, between_seeds, by_seed, over_images, summarise
from jaxmnist.experiments.strays import warn_of_strays
from jaxmnist.experiments.study.folder import SeedResult, Study, own_folders, read_seeds
from jaxmnist.experiments.study.predictions import read_predictions


def compare_studies(studies: Sequence[Study]) -> dict[str, Any]:
    """Compares the last epoch's accuracy of studies with that of the first one, as plain JSON values.

    Each study but the first has `differences`, the study minus the first one, by three tests:

    - `between_seeds` (Welch): does the mean over all seeds differ, on these images?
    - `by_seed` (paired t): the same question over common seeds, which see the same order of images and, in equal
      networks, start from the same weights.
    - `over_images` (permutation): do these networks differ by more than the choice of images explains?

    A claim about two recipes on MNIST needs both kinds, over seeds and over images. `difference` is the one to decide
    by: `between_seeds`, or with folds `by_seed`, as a pair of seeds is judged on the same held-out images, which
    differ from the next pair's; then there is no `over_images`. Each interval stands alone: of twenty differences one
    is expected to miss zero by chance.

    Raises:
        UsageError: the studies are judged on different images, or one has no finished seed.
        CheckpointError: files are damaged.
    """
    first, *others = studies
    for study in others:
        _require_same_images(first, study)
    for study in studies:
        warn_of_strays(study.folder, own_folders(study))
    results = [read_seeds(study) for study in studies]
    rows = []
    for study, found in zip(studies, results, strict=True):
        if not found:
            raise UsageError(f"{study.folder} has no finished seed; run its study command again.")
        tests = _differences(first, results[0], study, found) if rows else {}
        losses = [result.last_loss for result in found if result.last_loss is not None]
        rows.append(
            {
                "study": str(study.folder),
                "arch": study.config.arch,
                "recipe": study.config.recipe.name,
                "seeds": [result.seed for result in found],
                "last_epoch": dataclasses.asdict(summarise([result.last for result in found])),
                "accuracies": [result.last for result in found],
                "last_loss": dataclasses.asdict(summarise(losses)) if losses else None,
                "difference": tests.get("between_seeds" if study.config.folds is None else "by_seed"),
                "differences": tests,
            }
        )
    return {"split": first.split, "paired": first.config.folds is not None, "studies": rows}


def _differences(
    first: Study, first_results: Sequence[SeedResult], study: Study, results: Sequence[SeedResult]
) -> dict[str, Any]:
    base = {result.seed: result.last for result in first_results}
    values = {result.seed: result.last for result in results}
    common = sorted(base.keys() & values.keys())
    differences: dict[str, Difference] = {
        "between_seeds": between_seeds([*values.values()], [*base.values()])
    }
    if len(common) > 1:
        differences["by_seed"] = by_seed([values[seed] for seed in common], [base[seed] for seed in common])
    if study.config.folds is None:
        differences["over_images"] = over_images(_correct(study, values), _correct(first, base))
    return {name: dataclasses.asdict(difference) for name, difference in differences.items()}


def _require_same_images(first: Study, second: Study) -> None:
    pair = first, second
    for facts, remedy in (
        (
            [f"{dataset_title(one.config.dataset)} {one.config.data_fingerprint[:12]}" for one in pair],
            "of one dataset",
        ),
        ([f"--folds {one.config.folds}" for one in pair], "with the same --folds"),
        ([one.split for one in pair], "with the same --select-on"),
    ):
        if facts[0] != facts[1]:
            raise UsageError(
                f"{first.folder} and {second.folder} are judged on different images, {facts[0]} and {facts[1]}; "
                f"compare studies {remedy}."
            )


def _correct(study: Study, seeds: Iterable[int]) -> Bool[np.ndarray, "seeds images"]:
    """Returns True where a seed's network classifies an image correctly."""
    pairs = [read_predictions(study, seed) for seed in seeds]
    return np.stack([predictions == labels for predictions, labels in pairs])
