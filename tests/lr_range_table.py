"""The rates that range tests suggest, trained beside the recipes' own: `python -m tests.lr_range_table FILE [IMAGES]`.

Every published recipe trains five epochs at either rate, on two seeds; what counts is `val`, the last 5,000 training
images of MNIST. IMAGES limits the training to that many. FILE holds what is finished after every seed, and the same
command again goes on from there.
"""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxmnist.config import get_recipe
from jaxmnist.config.changes import modified
from jaxmnist.config.run import RunConfig, run_config, with_data
from jaxmnist.data import Dataset, load_dataset
from jaxmnist.experiments.lr_range import analyse, doubt, find_learning_rate, range_test_of
from jaxmnist.runs.environment import environment
from jaxmnist.runs.folder import create_run
from jaxmnist.runs.loop import fit
from jaxmnist.runs.record import read_record
from jaxmnist.runtime.devices import Device, select_device, use_compile_cache

ARCHS = {
    "first": "first",
    "second": "second",
    "third": "third",
    "step1": "step3",  # as in step 2 of the source; the network of step 1 takes twenty times as long
    "step3": "step3",
    "dilated": "dilated",
    "challenge": "challenge_gap",
    "evolution": "evolution_v2",
}
"""The network that each recipe trains here; the quick ones first."""
SEEDS, EPOCHS, VAL = (1, 2), 5, 5_000


def main() -> None:
    """Trains what is missing in the file, and prints a line for each recipe and seed."""
    out = Path(sys.argv[1])
    device = select_device("cpu")
    use_compile_cache()
    dataset = load_dataset("mnist")
    images = int(sys.argv[2]) if len(sys.argv) > 2 else len(dataset.train_labels) - VAL
    dataset = _subset(dataset, images)
    earlier = json.loads(out.read_text()) if out.exists() else {"training images": images, "lines": []}
    if earlier["training images"] != images:
        sys.exit(f"{out} has results of {earlier['training images']} images; name another file.")
    lines: list[dict[str, Any]] = earlier["lines"]
    done = {(line["recipe"], line["seed"]) for line in lines}
    for recipe, arch in ARCHS.items():
        for seed in SEEDS:
            if (recipe, seed) not in done:
                config = with_data(run_config({"recipe": recipe, "arch": arch, "seed": seed}), dataset)
                lines.append(_line(config, dataset, device))
                about: dict[str, Any] = {"training images": images, "epochs": EPOCHS}
                about["environment"] = {**environment(device), "command": []}  # has the place of this file
                out.write_text(json.dumps(about | {"lines": lines}, indent=1) + "\n")
                print({name: value for name, value in lines[-1].items() if name != "losses"}, flush=True)
    print(table(lines))


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """Returns the best accuracy of the five epochs at either rate as a table in Markdown."""
    rows = [
        "| recipe (network) | seed | own rate | at it | suggested | at it | difference | warning |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        settings = range_test_of(get_recipe(line["recipe"]))
        said = doubt(analyse(np.array(line["losses"]), settings), line["own rate"])
        best = {rate: max(accuracies) for rate, accuracies in line["val accuracies"].items()}
        cells = [f"`{line['recipe']}` ({line['arch']})", line["seed"], f"{line['own rate']:.4g}"]
        cells.append(f"{best['own']:.2f}")
        if line["suggested rate"] is None:
            cells += ["none", "", "", line["reason for none"]]
        else:
            difference = f"{best['suggested'] - best['own']:+.2f}"
            cells += [f"{line['suggested rate']:.4g}", f"{best['suggested']:.2f}", difference, said or ""]
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


def _subset(dataset: Dataset, images: int) -> Dataset:
    """Returns the first training images and the last ones, which are held out."""
    kept = np.r_[:images, len(dataset.train_labels) - VAL : len(dataset.train_labels)]
    return dataclasses.replace(
        dataset,
        train_images=dataset.train_images[kept],
        train_labels=dataset.train_labels[kept],
        val_count=VAL,
    )


def _line(config: RunConfig, dataset: Dataset, device: Device) -> dict[str, Any]:
    found, own = find_learning_rate(config, dataset, device), config.recipe.learning_rate
    accuracies = {"own": _accuracies(config, dataset, device, own)}
    if found.suggestion is not None:
        accuracies["suggested"] = _accuracies(config, dataset, device, found.suggestion)
    return {
        "recipe": config.recipe.name.removesuffix("-modified"),
        "arch": config.arch,
        "seed": config.seed,
        "own rate": own,
        "suggested rate": found.suggestion,
        "reason for none": found.reason,
        "val accuracies": accuracies,
        "losses": [round(loss, 4) for loss in found.losses.tolist()],
    }


def _accuracies(config: RunConfig, dataset: Dataset, device: Device, rate: float) -> list[float]:
    """Trains a run in a temporary folder and returns its accuracy in percent after each epoch."""
    config = dataclasses.replace(config, recipe=modified(config.recipe, learning_rate=rate, epochs=EPOCHS))
    with tempfile.TemporaryDirectory() as folder:
        run = create_run(Path(folder), config, environment(device))
        fit(config, dataset, run, device)
        return [row["val_accuracy"] for row in read_record(run).rows]


if __name__ == "__main__":
    main()
