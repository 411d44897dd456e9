"""Fine-tuning from MNIST to three own classes, beside training from scratch: `python -m tests.fine_tuning FILE`.

A network trained on MNIST for three epochs, or as many as a second argument says, goes on with three classes it has not
seen, of 30 images each; the same network with fresh weights trains on the same images by the same recipe. Each of five
seeds has images and weights of its own. FILE gets every accuracy. The classes are the letters B, R and K drawn at
random, and three of Fashion-MNIST.
"""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

import jaxmnist
from jaxmnist.data import CLASSES, load_dataset
from jaxmnist.experiments.statistics import summarise
from jaxmnist.runs.environment import environment

ARCH, SEEDS, PER_CLASS, TEST_PER_CLASS = "third", (1, 2, 3, 4, 5), 30, 300
RECIPE: dict[str, Any] = {"epochs": 20, "batch_size": 16}

_CLOTHES = ("pullover", "coat", "shirt")
_LETTERS = {
    "B": "35,20 35,80 55,80 66,68 56,52 36,50 54,46 62,33 52,20 35,20",
    "R": "35,82 35,20 54,20 65,33 54,48 36,50 | 46,50 68,82",
    "K": "35,15 35,85 | 66,18 36,52 68,85",
}


def main() -> None:
    """Trains all networks, and prints a table."""
    out, epochs = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3
    figures: dict[str, Any] = {"arch": ARCH, "recipe": RECIPE, "images of a class": PER_CLASS}
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        source = jaxmnist.train_run(ARCH, epochs=epochs, runs=runs, device="cpu", progress=False)
        assert source.results is not None
        figures["source"] = {"epochs": epochs, "test accuracy": source.results.test_accuracy_of_best}
        for name, make in (("letters", _letters), ("clothes", _clothes)):
            accuracies: dict[str, list[float]] = {"fine-tuned": [], "from scratch": []}
            for seed in SEEDS:
                data = runs / f"{name}-{seed}.npz"
                np.savez(data, **make(np.random.default_rng(seed)))
                for way, init_from in (("fine-tuned", source), ("from scratch", None)):
                    options: dict[str, Any] = {"seed": seed, "select_on": "last", "schedule": "one_cycle"}
                    trained = jaxmnist.train_run(
                        ARCH,
                        recipe=RECIPE,
                        dataset=data,
                        init_from=init_from,
                        runs=runs,
                        progress=False,
                        **options,
                    )
                    assert trained.results is not None
                    accuracies[way].append(round(trained.results.final_test_accuracy, 2))
            differences = np.subtract(accuracies["fine-tuned"], accuracies["from scratch"]).tolist()
            figures[name] = {way: _summary(values) for way, values in accuracies.items()}
            figures[name]["difference"] = _summary(differences)
            for way, values in figures[name].items():
                low, high = values["low"], values["high"]
                print(
                    f"{name:8} {way:13} {values['mean']:6.2f}  95 % interval {low:.2f} to {high:.2f}",
                    flush=True,
                )
        # The command has the place of this file.
        figures["environment"] = {**environment(source.network.device), "command": []}
    out.write_text(json.dumps(figures, indent=1) + "\n")


def _summary(values: Sequence[float]) -> dict[str, Any]:
    return {**dataclasses.asdict(summarise(values)), "values": list(values)}


def _clothes(random: np.random.Generator) -> dict[str, Any]:
    """Returns images of three classes of Fashion-MNIST, as the arrays of a file."""
    dataset = load_dataset("fashion_mnist")
    labels = [CLASSES["fashion_mnist"].index(name) for name in _CLOTHES]

    def drawn(of: np.ndarray, count: int) -> np.ndarray:
        return np.concatenate([random.choice(np.flatnonzero(of == label), count, False) for label in labels])

    train, test = drawn(dataset.train_labels, PER_CLASS), drawn(dataset.test_labels, TEST_PER_CLASS)
    names = np.array(CLASSES["fashion_mnist"])
    return {
        "x_train": dataset.train_images[train],
        "y_train": names[dataset.train_labels[train]],
        "x_test": dataset.test_images[test],
        "y_test": names[dataset.test_labels[test]],
    }


def _letters(random: np.random.Generator) -> dict[str, Any]:
    """Draws letters, each with a hand of its own, as the arrays of a file."""
    arrays: dict[str, Any] = {}
    for split, count in (("train", PER_CLASS), ("test", TEST_PER_CLASS)):
        labels = np.repeat(list(_LETTERS), count)
        arrays |= {f"x_{split}": np.stack([_draw(name, random) for name in labels]), f"y_{split}": labels}
    return arrays


def _draw(letter: str, random: np.random.Generator) -> np.ndarray:
    side, angle, width = 112, random.normal(0, 0.2), int(random.integers(5, 13))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shape = turn @ np.array([[1, random.normal(0, 0.2)], [0, 1]]) * random.uniform(0.65, 1.05, (2, 1))
    picture = Image.new("L", (side, side))
    draw = ImageDraw.Draw(picture)
    for stroke in _LETTERS[letter].split("|"):
        points = (
            np.array([[float(number) for number in point.split(",")] for point in stroke.split()]) / 100 - 0.5
        )
        points += random.normal(0, 0.04, points.shape)
        placed = (points @ shape.T + 0.5 + random.normal(0, 0.03, 2)) * side
        draw.line([(float(x), float(y)) for x, y in placed], fill=255, width=width, joint="curve")
    return np.asarray(picture.resize((28, 28), Image.Resampling.BOX))


if __name__ == "__main__":
    main()
