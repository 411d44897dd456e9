"""The run folder: the files of a training run, under names that scripts can rely on.

config.json    configuration (arch, recipe, dataset, seed, selection) and environment, sealed
metrics.jsonl  one line per epoch
results.json   final figures, written when the run is complete, sealed; see `jaxmnist.runs.record`
checkpoints/   see `jaxmnist.runs.checkpoints`
run.log        what happened when, see `jaxmnist.runs.log`
plots/         see `jaxmnist.runs.curves`
"""

import contextlib
import dataclasses
import datetime
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxmnist.config import Recipe
from jaxmnist.config.parsing import shown, updated
from jaxmnist.config.run import RunConfig
from jaxmnist.config.seal import SEAL, SealError, opened, sealed
from jaxmnist.data import Dataset, is_path, load_dataset
from jaxmnist.data.dataset import dataset_word
from jaxmnist.errors import CheckpointError, DataError, UsageError, listed, shortened, writing
from jaxmnist.models import arch_word
from jaxmnist.runs.about import difference_from_record, newest_about, recorded, rows_of
from jaxmnist.runtime.files import append, write_atomically
from jaxmnist.runtime.json_text import json_text
from jaxmnist.runtime.reading import MAX_ROWS_BYTES, parse_json, read_bytes, read_json

CONFIG, METRICS, RESULTS = "config.json", "metrics.jsonl", "results.json"

_LONGEST_PATH = 4096 - 256  # limit of Linux, less the names within a checkpoint
_REMEDY = "choose another --runs folder"


def create_run(root: Path, config: RunConfig, environment: Mapping[str, Any]) -> Path:
    """Creates a folder `<arch>-<recipe>-<dataset>-s<seed>-<time>` under `root`, with its `config.json`.

    Raises:
        UsageError: the folder cannot be created.
    """
    time = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    name = (
        f"{arch_word(config.arch)}-{config.recipe.name}-{dataset_word(config.dataset)}-s{config.seed}-{time}"
    )
    _require_usable(root / name)
    with writing(f"the run folder {root / name}", _REMEDY):
        root.mkdir(parents=True, exist_ok=True)
        run = _first_free(root, name)
        write_config(run / CONFIG, config, environment)
    return run


def open_run(run: Path, config: RunConfig, environment: Mapping[str, Any]) -> None:
    """Creates a run folder of any name with its `config.json`, or opens the existing one.

    Raises:
        UsageError: the folder cannot be created.
        CheckpointError: the existing run has another configuration.
    """
    _require_usable(run)
    with writing(f"the run folder {run}", "choose another"):
        run.mkdir(parents=True, exist_ok=True)
        if not (run / CONFIG).is_file():
            write_config(run / CONFIG, config, environment)
    if read_config(run) != config:
        raise CheckpointError(f"{run} is a run of another configuration; move it away.")


def write_config(path: Path, config: RunConfig, environment: Mapping[str, Any]) -> None:
    """Writes a configuration and its environment, sealed.

    Raises:
        OSError: the file cannot be written.
    """
    write_json(path, sealed({**dataclasses.asdict(config), "environment": dict(environment)}))


def read_config(run: Path) -> RunConfig:
    """Reads the configuration of a run, and compares it with the one that its checkpoints record.

    Raises:
        CheckpointError: the folder is not a run, or its configuration is damaged or has changed.
    """
    if not (run / CONFIG).is_file():
        raise CheckpointError(
            f"{run} is not a run folder: it has no {CONFIG}; give a folder that train made."
        )
    with naming_damage(run / CONFIG):
        values = read_json(run / CONFIG)
        config = config_of(values)
    about = newest_about(run)
    if about and (difference := difference_from_record(recorded(config), about["config"])):
        raise changed_config(run, difference, about)
    try:
        opened(values)
    except SealError as error:
        raise changed_config(run, str(error)) from error
    return config


def changed_config(run: Path, difference: str, about: Mapping[str, Any] | None = None) -> CheckpointError:
    """Makes the error for a `config.json` that is not the one that a run was trained under.

    Args:
        run: the run folder.
        difference: the difference, as a clause.
        about: description of the checkpoint that records the configuration, if there is one.
    """
    source = f" as the checkpoint of step {about['step']} records" if about else ""
    return CheckpointError(
        f"{run / CONFIG} is not the configuration of the run: {shortened(difference)}{source}; restore it, or to train "
        f"with other values begin a run with --config {run / CONFIG}."
    )


def config_of(values: Mapping[str, Any]) -> RunConfig:
    """Returns the configuration in the content of a `config.json`.

    Raises:
        KeyError, TypeError, AttributeError, UsageError: the content is damaged.
    """
    values = {key: value for key, value in values.items() if key not in ("environment", SEAL)}
    if not isinstance(values["recipe"], Mapping):
        raise UsageError(f"recipe is {shown(values['recipe'])}, which must be a JSON object.")
    recipe = updated(Recipe(values["recipe"]["name"]), values["recipe"], "recipe")
    needed = {key: values[key] for key in ("arch", "dataset", "seed", "select_on", "data_fingerprint")}
    return updated(RunConfig(recipe=recipe, **needed), {**values, "recipe": {}})


def load_data_of_run(config: RunConfig, data_dir: str | Path | None = None, download: bool = True) -> Dataset:
    """Loads the dataset of a run as for its training; `require_data_of_run` checks that it is the same.

    Args:
        config: configuration of the run.
        data_dir: see `jaxmnist.load_dataset`; of a dataset of the user's own, its new place.
        download: see `jaxmnist.load_dataset`.

    Raises:
        DataError: the data are missing or damaged.
    """
    if is_path(config.dataset):
        return load_dataset(data_dir or config.dataset, fit=config.fit, test=config.test_path)
    return load_dataset(config.dataset, data_dir, download=download)


def require_data_of_run(config: RunConfig, dataset: Dataset, run: Path) -> None:
    """Checks that a run was trained on a dataset.

    Raises:
        DataError: the run was trained on other data, or its classes have other names.
    """
    if dataset.classes != config.classes:
        raise DataError(
            f"{run} was trained on other classes than those of {dataset.source}: {listed(config.classes)} and "
            f"{listed(dataset.classes)}; give the original data."
        )
    if dataset.fingerprint != config.data_fingerprint:
        raise DataError(
            f"{run} was trained on other data than {dataset.source}: the fingerprints are "
            f"{config.data_fingerprint[:12]} and {dataset.fingerprint[:12]}; give --data-dir the original files."
        )


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Reads `metrics.jsonl` as it is, one dictionary per epoch; a half-written last line is left out.

    What counts are the sealed lines, see `jaxmnist.runs.record`.

    Raises:
        CheckpointError: the file cannot be read.
    """
    rows: list[dict[str, Any]] = []
    if not (run / METRICS).exists():
        return rows
    with naming_damage(run / METRICS):
        content = read_bytes(run / METRICS, MAX_ROWS_BYTES)
    for line in content.splitlines():
        try:
            row = parse_json(line)
        except ValueError:
            break
        if not isinstance(row, dict):
            break
        rows.append(row)
    return rows_of(rows)


def write_metrics(run: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes `metrics.jsonl`; if only the last line is new, as in training, it is appended.

    Raises:
        OSError: the file could not be written; earlier whole lines are intact.
    """
    path, lines = run / METRICS, [(json_text(row) + "\n").encode() for row in rows]
    content, size = b"".join(lines), path.stat().st_size if path.is_file() else 0
    present = path.read_bytes() if 0 < size <= len(content) else b""
    if lines and size == len(present) and present + lines[-1] == content:
        append(path, lines[-1])
    elif size != len(content) or present != content:
        write_atomically(path, content)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes a JSON object atomically: the file is always either the old or the new one."""
    write_atomically(path, json_text(values, indent=2) + "\n")


@contextlib.contextmanager
def naming_damage(path: Path, remedy: str = "restore it or train again") -> Iterator[None]:
    """Turns an error of reading or parsing within into a CheckpointError.

    Args:
        path: the file that is read.
        remedy: the advice, as a clause.
    """
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError, UsageError) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        reason = f"it has no {error}" if isinstance(error, KeyError) else reason
        raise CheckpointError(f"{path} is damaged ({shortened(reason)}); {remedy}.") from error


def _require_usable(run: Path) -> None:
    """Refuses a path that would make the checkpoint libraries fail in the middle of a run."""
    try:
        length = len(str(run.absolute()).encode())
    except UnicodeEncodeError as error:
        raise UsageError(f"the run folder {str(run)!a} has a name that is not UTF-8; {_REMEDY}.") from error
    if length > _LONGEST_PATH:
        raise UsageError(f"the run folder {shortened(str(run))} has a path that is too long; {_REMEDY}.")


def _first_free(root: Path, name: str) -> Path:
    # Runs may start within the same second; mkdir decides which of them gets a name.
    for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
        with contextlib.suppress(FileExistsError):
            (root / f"{name}{suffix}").mkdir()
            return root / f"{name}{suffix}"
    raise UsageError(f"there are already 999 runs named {root / name}; {_REMEDY}.")
