"""Two studies on the same images: by how much they differ, and whether that is more than chance."""

import dataclasses
from typing import Any

import numpy as np

from jaxmnist.errors import UsageError
from jaxmnist.statistics import between_seeds, by_seed, over_images, summarise
from jaxmnist.study.folder import Study, read_predictions, read_seeds


def compare_studies(first: Study, second: Study) -> dict[str, Any]:
    """Differences of the last epoch's accuracy, the first study minus the second, as plain JSON values.

    Three questions, each with its own test:

    `between_seeds` (Welch): is one recipe's mean over all seeds another than the other's, on these images? The
    figure to decide by. `by_seed` (paired t): the same question where both have the same seeds, as the order of
    the images, and the initial weights of equal networks, are then the same. `over_images` (random signs): do the
    networks at hand differ by more than the choice of images explains? A difference can hold for one and not for
    the other; a claim about recipes on MNIST as such needs both.

    Raises:
        UsageError: the studies cannot be compared: they judge on other images, or one has no finished seed.
        CheckpointError: files are damaged.
    """
    for field in ("dataset", "data_fingerprint"):
        mine, other = (getattr(study.config, field) for study in (first, second))
        if mine != other:
            raise UsageError(
                f"{first.folder} and {second.folder} are on other data: {mine[:12]} and {other[:12]}."
            )
    if first.split != second.split:
        raise UsageError(
            f"{first.folder} is judged on {first.split} and {second.folder} on {second.split}; "
            "compare studies with the same --select-on."
        )
    results = [read_seeds(study) for study in (first, second)]
    for study, found in zip((first, second), results, strict=True):
        if not found:
            raise UsageError(f"{study.folder} has no finished seed; run its study command again.")
    last = [{result.seed: result.last for result in found} for found in results]
    common = sorted(last[0].keys() & last[1].keys())
    differences = {
        "between_seeds": between_seeds(list(last[0].values()), list(last[1].values())),
        "by_seed": by_seed([last[0][seed] for seed in common], [last[1][seed] for seed in common])
        if len(common) > 1
        else None,
        "over_images": over_images(_correct(first, list(last[0])), _correct(second, list(last[1]))),
    }
    return {
        "split": first.split,
        "studies": [
            {
                "study": str(study.folder),
                "arch": study.config.arch,
                "recipe": study.config.recipe.name,
                "seeds": list(of),
                "last_epoch": dataclasses.asdict(summarise(list(of.values()))),
            }
            for study, of in zip((first, second), last, strict=True)
        ],
        "differences": {
            name: None if found is None else dataclasses.asdict(found) for name, found in differences.items()
        },
    }


def _correct(study: Study, seeds: list[int]) -> np.ndarray:
    """Whether each seed gets each image right, `[seeds, images]`."""
    pairs = [read_predictions(study, seed) for seed in seeds]
    return np.stack([predictions == labels for predictions, labels in pairs])
