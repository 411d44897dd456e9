"""Accuracy on held-out training images by the tilt of the views: `python -m tests.tilts FILE RUN [RUN ...]`.

The runs hold out images, as those of `train --folds 3` do. FILE gets, for each network and tilt, the errors on all
their held-out images, and how many of the errors of images seen once were mended and how many made. Nothing is trained
anew: a tilt changes the use of a network alone.
"""

import dataclasses
import sys
from collections import Counter
from pathlib import Path

from jaxmnist.inference.classifier import load
from jaxmnist.inference.evaluate import evaluate_split
from jaxmnist.inference.opening import dataset_of
from jaxmnist.runs.folder import write_json

TILTS = (0.0, 4.0, 8.0, 12.0, 15.0, 18.0, 21.0)


def main() -> None:
    file, *runs = map(Path, sys.argv[1:])
    counts: dict[str, dict[str, Counter[str]]] = {}
    for run in runs:
        network = load(run, checkpoint="latest").network
        data, once = dataset_of(network, run), set[int]()
        for tilt in TILTS:
            recipe = dataclasses.replace(network.recipe, tilt=tilt)
            found = evaluate_split(network._replace(recipe=recipe), data, "val")
            wrong = {mistake.index for mistake in found.mistakes}
            once = once if tilt else wrong
            count = counts.setdefault(network.arch, {}).setdefault(f"{tilt:g}", Counter())
            count.update(
                images=found.examples, errors=len(wrong), mended=len(once - wrong), made=len(wrong - once)
            )
    write_json(file, {"networks": counts})


if __name__ == "__main__":
    main()
