"""The study folder: what is in it, and what it says.

study.json      what all seeds share: arch, recipe, dataset, selection; and where it ran
s<seed>/        an ordinary run for each seed, without its checkpoints once it is finished; in a sweep one that
                diverged has a diverged.json
results.jsonl   a line per finished seed
summary.json    the statistics
plots/          pictures of them
"""

import contextlib
import dataclasses
import io
import json
import math
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from jaxmnist.config.parsing import read_json
from jaxmnist.config.run import RunConfig
from jaxmnist.errors import CheckpointError, StorageError, UsageError
from jaxmnist.experiments.statistics import share_settled, summarise
from jaxmnist.runs.folder import METRICS, RESULTS, config_of, read_metrics, write_json
from jaxmnist.runtime.files import write_atomically

STUDY, SEEDS, SUMMARY, PREDICTIONS = "study.json", "results.jsonl", "summary.json", "predictions.npz"
DIVERGED = "diverged.json"

_RUN = re.compile(r"s(\d+)")


class Study(NamedTuple):
    """A study's folder, and the configuration that all its seeds share, in which `seed` says nothing."""

    folder: Path
    config: RunConfig

    @property
    def split(self) -> str:
        """The split whose figures count: `val` where it selects, so that a choice between studies sees no test
        image, otherwise `test`."""
        return "val" if self.config.select_on == "val" else "test"

    def run(self, seed: int) -> Path:
        """The run folder of a seed."""
        return self.folder / f"s{seed}"


@dataclasses.dataclass(frozen=True)
class SeedResult:
    """What counts of a finished seed. Accuracies are percentages on the study's split, as seen in evaluation."""

    seed: int
    accuracies: tuple[float, ...]
    """After each epoch."""
    seconds: float
    parameters: int
    plain_last: float | None = None
    """In the last epoch without the averaging of weights, where there is one."""
    last_loss: float | None = None
    """In the last epoch."""

    @property
    def last(self) -> float:
        """In the last epoch."""
        return self.accuracies[-1]

    @property
    def last_five(self) -> float:
        """Mean of the last five epochs."""
        return statistics.fmean(self.accuracies[-5:])


def open_study(folder: Path, config: RunConfig, environment: Mapping[str, Any]) -> Study:
    """A study in a folder, which is made unless it is there already.

    Raises:
        UsageError: it cannot be written, or is one of another configuration; the message says what differs.
        CheckpointError: it is damaged.
    """
    config = dataclasses.replace(config, seed=0)
    if (folder / STUDY).is_file():
        present = read_study(folder).config
        if difference := first_difference(dataclasses.asdict(present), dataclasses.asdict(config)):
            raise UsageError(
                f"{folder} is a study of another configuration: {difference}; name another --out."
            )
        return Study(folder, config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / STUDY, {**dataclasses.asdict(config), "environment": dict(environment)})
    except OSError as error:
        raise UsageError(
            f"the study folder {folder} cannot be written ({error.strerror}); name another --out."
        ) from error
    return Study(folder, config)


def read_study(folder: Path) -> Study:
    """The study in a folder.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    if not (folder / STUDY).is_file():
        raise CheckpointError(f"{folder} is not a study: it has no {STUDY}; give a folder that study made.")
    with _damage_named(folder / STUDY):
        return Study(folder, config_of(read_json(folder / STUDY)))


def is_finished(study: Study, seed: int) -> bool:
    """Whether a seed is trained and its predictions are written."""
    run = study.run(seed)
    return (run / RESULTS).is_file() and (run / PREDICTIONS).is_file()


def is_closed(study: Study, seed: int) -> bool:
    """Whether there is nothing left to train of a seed: it is finished, or has been noted as diverged."""
    return is_finished(study, seed) or (study.run(seed) / DIVERGED).is_file()


def write_divergence(study: Study, seed: int, reason: str) -> None:
    """Notes that a seed diverged, so that it is not trained again.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        write_json(study.run(seed) / DIVERGED, {"seed": seed, "reason": reason})
    except OSError as error:
        message = f"{study.run(seed) / DIVERGED} cannot be written ({error.strerror}); make room."
        raise StorageError(message) from error


def read_divergences(study: Study) -> list[int]:
    """The seeds that have been noted as diverged."""
    return sorted(
        seed for seed in _seeds_begun(study) if is_closed(study, seed) and not is_finished(study, seed)
    )


def read_seeds(study: Study) -> list[SeedResult]:
    """The finished seeds, by their number.

    Raises:
        CheckpointError: files of one are damaged.
    """
    return [read_seed(study, seed) for seed in _seeds_begun(study) if is_finished(study, seed)]


def read_seed(study: Study, seed: int) -> SeedResult:
    """A finished seed.

    Raises:
        CheckpointError: its files are damaged.
    """
    run = study.run(seed)
    with _damage_named(run / METRICS):
        rows = read_metrics(run)
        accuracies = tuple(float(row[f"{study.split}_accuracy"]) for row in rows)
        plain = rows[-1].get(f"plain_{study.split}_accuracy")
        loss = rows[-1].get(f"{study.split}_loss")
        if len(rows) != study.config.recipe.epochs or not all(map(math.isfinite, accuracies)):
            raise ValueError(f"{len(rows)} epochs")
    with _damage_named(run / RESULTS):
        results = json.loads((run / RESULTS).read_text())
        seconds, parameters = float(results["seconds"]), int(results["parameters"])
        return SeedResult(seed, accuracies, seconds, parameters, plain, loss)


def write_predictions(study: Study, seed: int, predictions: np.ndarray, labels: np.ndarray) -> None:
    """Keeps what the last epoch's network makes of each image of the study's split, and the labels.

    Raises:
        StorageError, OSError: they cannot be written.
    """
    content = io.BytesIO()
    arrays = {"predictions": predictions.astype(np.uint8), "labels": labels.astype(np.uint8)}
    np.savez_compressed(content, allow_pickle=False, **arrays)
    write_atomically(study.run(seed) / PREDICTIONS, content.getvalue())


def read_predictions(study: Study, seed: int) -> tuple[UInt8[np.ndarray, " n"], UInt8[np.ndarray, " n"]]:
    """Predictions and labels of a finished seed, image by image.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = study.run(seed) / PREDICTIONS
    try:
        with np.load(path, allow_pickle=False) as arrays:
            predictions, labels = arrays["predictions"], arrays["labels"]
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds
        raise CheckpointError(f"{path} is damaged ({error}); delete it and train the seed again.") from error
    if predictions.shape != labels.shape or predictions.dtype != np.uint8 or predictions.ndim != 1:
        raise CheckpointError(f"{path} is damaged; delete it and train the seed again.")
    return predictions, labels


def summary(study: Study, results: Sequence[SeedResult], threshold: float) -> dict[str, Any]:
    """The contents of `summary.json`; with `select_on="val"` there is no figure of the test images in it.

    Args:
        study: the study.
        results: finished seeds, at least one.
        threshold: percentage that the last five epochs of a seed are held against.
    """
    config, plain = study.config, [result.plain_last for result in results if result.plain_last is not None]
    return {
        "arch": config.arch,
        "recipe": config.recipe.name,
        "dataset": config.dataset,
        "select_on": config.select_on,
        "folds": config.folds,
        "split": study.split,
        "parameters": results[0].parameters,
        "epochs": config.recipe.epochs,
        "seeds": [result.seed for result in results],
        "last_epoch": dataclasses.asdict(summarise([result.last for result in results])),
        "last_five_mean": dataclasses.asdict(summarise([result.last_five for result in results])),
        "plain_last_epoch": dataclasses.asdict(summarise(plain)) if len(plain) == len(results) else None,
        "threshold": threshold,
        "share_settled": share_settled([result.accuracies for result in results], threshold),
        "seconds_per_seed": dataclasses.asdict(summarise([result.seconds for result in results])),
    }


def write_results(study: Study, results: Sequence[SeedResult], threshold: float) -> dict[str, Any]:
    """Writes `results.jsonl` and `summary.json`; returns the latter's contents.

    Raises:
        OSError: they cannot be written.
    """
    lines = [
        {**dataclasses.asdict(result), "last": result.last, "last_five_mean": result.last_five}
        for result in results
    ]
    write_atomically(study.folder / SEEDS, "".join(json.dumps(line) + "\n" for line in lines))
    figures = summary(study, results, threshold)
    write_json(study.folder / SUMMARY, figures)
    return figures


def first_difference(present: Mapping[str, Any], wanted: Mapping[str, Any], place: str = "") -> str:
    """Where two configurations differ, in words; nothing where they do not."""
    for key, value in wanted.items():
        path, now = f"{place}{key}", present.get(key)
        if isinstance(value, Mapping) and isinstance(now, Mapping):
            if inner := first_difference(now, value, f"{path}."):
                return inner
        elif now != value:
            return f"its {path} is {now!r}, not {value!r}"
    return ""


def _seeds_begun(study: Study) -> list[int]:
    found = (_RUN.fullmatch(folder.name) for folder in study.folder.iterdir())
    return sorted(int(match[1]) for match in found if match)


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError, UsageError) as error:
        raise CheckpointError(f"{path} is damaged ({error!r}); restore it or delete the folder.") from error
