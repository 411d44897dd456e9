"""A dataset in the terminal: origin, statistics, and the number of images of each class."""

from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from jaxmnist.data import Dataset
from jaxmnist.report.terminal import name_cell, print_facts, print_files, print_line


def data_as_json(dataset: Dataset) -> dict[str, Any]:
    """Returns everything about a dataset but its images, as plain JSON values."""
    mean, std = dataset.mean_and_std
    return {
        "name": dataset.name,
        "kind": dataset.kind,
        "path": dataset.path,
        "source": dataset.source,
        "places": dict(dataset.places),
        "fit": dataset.fit,
        "inverted": dataset.inverted,
        "classes": list(dataset.classes),
        "counts": {split: counts.tolist() for split, counts in dataset.class_counts().items()},
        "mean": mean,
        "std": std,
        "fingerprint": dataset.fingerprint,
        "notes": list(dataset.notes),
    }


def print_data(console: Console, dataset: Dataset, picture: Path) -> None:
    """Prints what there is to know about a dataset before training on it.

    Args:
        console: where to print.
        dataset: the dataset.
        picture: file with samples that was written.
    """
    mean, std = dataset.mean_and_std
    print_line(console, dataset.describe())
    places = dict(dataset.places) or {"from": dataset.source}
    print_facts(console, places)
    facts = {
        "pixels": f"mean {mean:.4f}, standard deviation {std:.4f} (training images, 0 to 1)",
        "ink": "dark on a light ground; all images were inverted" if dataset.inverted else "",
        "fit": dataset.fit if dataset.path else "",
        "SHA-256": dataset.fingerprint,
    }
    print_facts(console, facts)
    counts = dataset.class_counts()
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("class", overflow="fold")
    for split in counts:
        table.add_column(split, justify="right")
    for label, name in enumerate(dataset.classes):
        table.add_row(name_cell(name), *(f"{of_split[label]:,}" for of_split in counts.values()))
    table.add_section()
    table.add_row("all", *(f"{of_split.sum():,}" for of_split in counts.values()), style="bold")
    console.print(table)
    for note in dataset.notes:
        print_line(console, f"Note: {note}")
    print_files(console, [picture])
