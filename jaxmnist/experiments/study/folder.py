"""The study folder: its files, and the figures in them.

study.json      the configuration that all seeds share, and the environment
s<seed>/        an ordinary run for each seed, without checkpoints once it is finished; a sweep adds diverged.json to
                a run that diverged
results.jsonl   a line per finished seed
summary.json    the statistics
plots/          pictures of them
"""

import dataclasses
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxmnist.config.run import RunConfig
from jaxmnist.config.seal import first_difference, opened
from jaxmnist.data.dataset import dataset_title
from jaxmnist.errors import CheckpointError, StorageError, UsageError, writing
from jaxmnist.experiments.statistics import share_settled, summarise
from jaxmnist.runs.folder import CONFIG, METRICS, RESULTS, config_of, naming_damage, write_config, write_json
from jaxmnist.runs.record import read_record
from jaxmnist.runtime.files import write_atomically
from jaxmnist.runtime.json_text import finite, json_text
from jaxmnist.runtime.reading import read_json

STUDY, SEEDS, SUMMARY, PREDICTIONS = "study.json", "results.jsonl", "summary.json", "predictions.npz"
DIVERGED = "diverged.json"
REMEDY = "restore it or delete the folder"
"""Advice for a damaged file of a study or sweep, as a clause."""

_RUN = re.compile(r"s(0|[1-9][0-9]{0,9})")


class Study(NamedTuple):
    """A study's folder, and the configuration that all its seeds share; `seed` in it means nothing."""

    folder: Path
    config: RunConfig

    @property
    def split(self) -> str:
        """The split to report: `val` if it selects, so a choice between studies sees no test image, else `test`."""
        return "val" if self.config.select_on == "val" else "test"

    def run(self, seed: int) -> Path:
        """Returns the run folder of a seed."""
        return self.folder / f"s{seed}"

    def seed_config(self, seed: int) -> RunConfig:
        """Returns the configuration of a seed's run."""
        return dataclasses.replace(self.config, seed=seed)


@dataclasses.dataclass(frozen=True)
class SeedResult:
    """Figures of a finished seed. Accuracies are percentages on the study's split."""

    seed: int
    accuracies: tuple[float, ...]
    """Accuracy after each epoch."""
    seconds: float
    parameters: int
    plain_last: float | None = None
    """Accuracy of the last epoch without averaging of weights, if the recipe averages."""
    last_loss: float | None = None
    """Loss of the last epoch."""

    @property
    def last(self) -> float:
        """Accuracy of the last epoch."""
        return self.accuracies[-1]

    @property
    def last_five(self) -> float:
        """Mean accuracy of the last five epochs."""
        return statistics.fmean(self.accuracies[-5:])


def open_study(folder: Path, config: RunConfig, environment: Mapping[str, Any]) -> Study:
    """Opens the study in a folder, or begins one.

    Raises:
        UsageError: the folder cannot be written, or holds a study of another configuration; the message names the
            difference.
        CheckpointError: the study is damaged.
    """
    config = dataclasses.replace(config, seed=0)
    if (folder / STUDY).is_file():
        present = read_study(folder).config
        if difference := first_difference(dataclasses.asdict(present), dataclasses.asdict(config)):
            raise UsageError(
                f"{folder} is a study of another configuration: {difference}; name another --out."
            )
    else:
        with writing(f"the study folder {folder}", "name another --out"):
            folder.mkdir(parents=True, exist_ok=True)
            write_config(folder / STUDY, config, environment)
    return Study(folder, config)


def read_study(folder: Path) -> Study:
    """Reads the study in a folder.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    if not (folder / STUDY).is_file():
        raise CheckpointError(f"{folder} is not a study: it has no {STUDY}; give a folder that study made.")
    with naming_damage(folder / STUDY, REMEDY):
        values = read_json(folder / STUDY)
        config = config_of(values)
        opened(values)
        return Study(folder, config)


def is_finished(study: Study, seed: int) -> bool:
    """Returns True if a seed of the study is trained and its predictions are written.

    Raises:
        CheckpointError: the seed's configuration is damaged.
    """
    run = study.run(seed)
    return (run / RESULTS).is_file() and (run / PREDICTIONS).is_file() and _is_own(study, seed)


def is_closed(study: Study, seed: int) -> bool:
    """Returns True if there is nothing left to train: the seed is finished, or recorded as diverged."""
    return is_finished(study, seed) or ((study.run(seed) / DIVERGED).is_file() and _is_own(study, seed))


def own_folders(study: Study) -> list[str]:
    """Returns the names of the folders of seeds that belong to the study, begun or finished.

    Raises:
        CheckpointError: a seed's configuration is damaged.
    """
    begun = [(seed, study.run(seed)) for seed in _seeds_begun(study)]
    return [run.name for seed, run in begun if not (run / CONFIG).is_file() or _is_own(study, seed)]


def write_divergence(study: Study, seed: int, reason: str) -> None:
    """Records that a seed diverged, so that it is not trained again.

    Raises:
        StorageError: the file cannot be written.
    """
    path = study.run(seed) / DIVERGED
    with writing(path, "give the same command again", StorageError, mend=True):
        write_json(path, {"seed": seed, "reason": reason})


def read_divergences(study: Study) -> list[int]:
    """Returns the seeds that are recorded as diverged."""
    return [seed for seed in _seeds_begun(study) if is_closed(study, seed) and not is_finished(study, seed)]


def read_seeds(study: Study) -> list[SeedResult]:
    """Reads the finished seeds, in ascending order.

    Raises:
        CheckpointError: files of a seed are damaged.
    """
    return [_read_seed(study, seed) for seed in _seeds_begun(study) if is_finished(study, seed)]


def summary(study: Study, results: Sequence[SeedResult], threshold: float) -> dict[str, Any]:
    """Computes the contents of `summary.json`; with `select_on="val"` they hold no figure of the test images.

    Args:
        study: the study.
        results: finished seeds, at least one.
        threshold: percentage that the last five epochs of a seed have to reach to count as settled.
    """

    def over_seeds(values: list[float]) -> dict[str, Any]:
        return dataclasses.asdict(summarise(values))

    config, plain = study.config, [result.plain_last for result in results if result.plain_last is not None]
    return {
        "arch": config.arch,
        "recipe": config.recipe.name,
        "dataset": dataset_title(config.dataset),
        "select_on": config.select_on,
        "folds": config.folds,
        "split": study.split,
        "parameters": results[0].parameters,
        "epochs": config.recipe.epochs,
        "seeds": [result.seed for result in results],
        "last_epoch": over_seeds([result.last for result in results]),
        "last_five_mean": over_seeds([result.last_five for result in results]),
        "plain_last_epoch": over_seeds(plain) if len(plain) == len(results) else None,
        "threshold": threshold,
        "share_settled": share_settled([result.accuracies for result in results], threshold),
        "seconds_per_seed": over_seeds([result.seconds for result in results]),
    }


def write_results(study: Study, results: Sequence[SeedResult], figures: Mapping[str, Any]) -> None:
    """Writes `results.jsonl`, and the figures of `summary` as `summary.json`.

    Raises:
        OSError: a file cannot be written.
    """
    lines = [
        {**dataclasses.asdict(result), "last": result.last, "last_five_mean": result.last_five}
        for result in results
    ]
    write_atomically(study.folder / SEEDS, "".join(json_text(line) + "\n" for line in lines))
    write_json(study.folder / SUMMARY, figures)


def _seeds_begun(study: Study) -> list[int]:
    found = (_RUN.fullmatch(folder.name) for folder in study.folder.iterdir())
    return sorted(int(match[1]) for match in found if match and int(match[1]) < 2**32)


def _is_own(study: Study, seed: int) -> bool:
    """Returns True if the run in a seed's folder is that of the seed, and not a copy of another one."""
    path = study.run(seed) / CONFIG
    with naming_damage(path, REMEDY):
        values = opened(read_json(path))
    wanted = dataclasses.asdict(study.seed_config(seed)) | {"environment": values.get("environment")}
    return not first_difference(values, finite(wanted))


def _read_seed(study: Study, seed: int) -> SeedResult:
    run = study.run(seed)
    rows, results = read_record(run)
    with naming_damage(run / METRICS, REMEDY):
        accuracies = tuple(float(row[f"{study.split}_accuracy"]) for row in rows)
        plain = rows[-1].get(f"plain_{study.split}_accuracy")
        loss = rows[-1].get(f"{study.split}_loss")
        if (
            results is None
            or len(rows) != study.config.recipe.epochs
            or not all(map(math.isfinite, accuracies))
        ):
            raise ValueError(f"{len(rows)} epochs")
    return SeedResult(seed, accuracies, results.seconds, results.parameters, plain, loss)
