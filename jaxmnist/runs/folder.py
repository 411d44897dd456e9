"""The run folder: what a training run leaves behind, under names that scripts can rely on.

config.json    what was asked for: arch, recipe, dataset, seed, selection; and where it ran
metrics.jsonl  one line per epoch
results.json   the final numbers, written when the run is complete
checkpoints/   see `jaxmnist.runs`
plots/         pictures of the curves
"""

import dataclasses
import datetime
import functools
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxmnist.config import Recipe
from jaxmnist.config.parsing import parsed, read_json, updated
from jaxmnist.config.run import RunConfig
from jaxmnist.data import Dataset
from jaxmnist.errors import CheckpointError, DataError, UsageError, shortened
from jaxmnist.models import arch_word
from jaxmnist.runs.selection import Results
from jaxmnist.runtime.files import append, write_atomically
from jaxmnist.runtime.mesh import Where, where_text

CONFIG, METRICS, RESULTS = "config.json", "metrics.jsonl", "results.json"

_PACKAGES = ("jaxmnist", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def create_run(root: Path, config: RunConfig, environment: Mapping[str, Any]) -> Path:
    """A new folder `<arch>-<recipe>-<dataset>-s<seed>-<time>` under `root`, with its `config.json`.

    Raises:
        UsageError: the folder cannot be made.
    """
    time = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    name = f"{arch_word(config.arch)}-{config.recipe.name}-{config.dataset}-s{config.seed}-{time}"
    _require_room(root / name)
    try:
        root.mkdir(parents=True, exist_ok=True)
        run = _first_free(root, name)
        write_json(run / CONFIG, {**dataclasses.asdict(config), "environment": dict(environment)})
    except OSError as error:
        raise UsageError(
            f"the run folder {root / name} cannot be written ({error.strerror}); choose another --runs folder."
        ) from error
    return run


def open_run(run: Path, config: RunConfig, environment: Mapping[str, Any]) -> None:
    """Makes sure that a run's folder, of whatever name, is there with its `config.json`; one that is there stays.

    Raises:
        UsageError: it cannot be made.
        CheckpointError: there is one of another configuration.
    """
    _require_room(run)
    try:
        run.mkdir(parents=True, exist_ok=True)
        if not (run / CONFIG).is_file():
            write_json(run / CONFIG, {**dataclasses.asdict(config), "environment": dict(environment)})
    except OSError as error:
        raise UsageError(
            f"the run folder {run} cannot be written ({error.strerror}); choose another."
        ) from error
    if read_config(run) != config:
        raise CheckpointError(f"{run} is a run of another configuration; move it away.")


def read_config(run: Path) -> RunConfig:
    """The configuration of an existing run.

    Raises:
        CheckpointError: the folder is not a run, or its configuration is damaged.
    """
    if not (run / CONFIG).is_file():
        raise CheckpointError(
            f"{run} is not a run folder: it has no {CONFIG}; give the folder that train made."
        )
    try:
        return config_of(read_json(run / CONFIG))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
        raise CheckpointError(
            f"{run / CONFIG} is damaged ({shortened(reason)}); restore it or train again."
        ) from error


def config_of(values: Mapping[str, Any]) -> RunConfig:
    """The configuration that `config.json` holds.

    Raises:
        KeyError, TypeError, AttributeError, UsageError: it is damaged.
    """
    values = {key: value for key, value in values.items() if key != "environment"}
    recipe = updated(Recipe(values["recipe"]["name"]), values["recipe"], "recipe")
    needed = {key: values[key] for key in ("arch", "dataset", "seed", "select_on", "data_fingerprint")}
    return updated(RunConfig(recipe=recipe, **needed), {**values, "recipe": {}})


def require_data_of_run(config: RunConfig, dataset: Dataset, run: Path) -> None:
    """Checks that a dataset is the one that a run was trained on.

    Raises:
        DataError: it is not.
    """
    if dataset.fingerprint != config.data_fingerprint:
        raise DataError(
            f"{run} was trained on other data than {dataset.source}: the fingerprints are "
            f"{config.data_fingerprint[:12]} and {dataset.fingerprint[:12]}; give --data-dir the original files."
        )


def read_results(run: Path) -> Results | None:
    """Reads `results.json`; None if training has not ended.

    Raises:
        CheckpointError: it is damaged.
    """
    try:
        return parsed(Results, read_json(run / RESULTS))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, UsageError) as error:
        raise CheckpointError(
            f"{run / RESULTS} is damaged ({shortened(str(error))}); restore it or train again."
        ) from error


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`, one dictionary per epoch; a half-written last line is left out."""
    rows = []
    if (run / METRICS).is_file():
        for line in (run / METRICS).read_bytes().splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
    return rows


def write_metrics(run: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Has `metrics.jsonl` hold these lines: the last is appended where the others are there, as in training.

    Raises:
        OSError: it could not be written; whole lines that were there still are.
    """
    path, lines = run / METRICS, [(json.dumps(row) + "\n").encode() for row in rows]
    present = path.read_bytes() if path.is_file() else b""
    if present == b"".join(lines):
        return
    if not lines or present != b"".join(lines[:-1]):
        write_atomically(path, b"".join(lines))
        return
    append(path, lines[-1])


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes a JSON object so that the file is always either the old or the new one."""
    write_atomically(path, json.dumps(values, indent=2) + "\n")


def environment(where: Where) -> dict[str, Any]:
    """What a number depends on besides the configuration: versions, machine, devices, git revision."""
    return {
        "python": platform.python_version(),
        "packages": versions(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
        "device": where_text(where),
        "git_revision": _git_revision(),
        "command": sys.argv,
    }


@functools.cache
def versions() -> dict[str, str | None]:
    """Versions of this package and of those that decide its numbers and files; None for one not installed."""
    return {name: _version(name) for name in _PACKAGES}


_LONGEST_PATH = 4096 - 256  # of Linux, less what the parts of a checkpoint need
_REMEDY = "choose another --runs folder"


def _require_room(run: Path) -> None:
    """Refuses what the libraries that write checkpoints would fail at, in the middle of a run."""
    try:
        length = len(str(run.absolute()).encode())
    except UnicodeEncodeError as error:
        raise UsageError(f"the run folder {str(run)!a} has a name that is not UTF-8; {_REMEDY}.") from error
    if length > _LONGEST_PATH:
        raise UsageError(f"the run folder {shortened(str(run))} has a path that is too long; {_REMEDY}.")


def _first_free(root: Path, name: str) -> Path:
    # Two runs may start within the same second; mkdir decides which of them owns a name.
    for suffix in ("", *(f"-{i}" for i in range(2, 1000))):
        try:
            (root / f"{name}{suffix}").mkdir()
            return root / f"{name}{suffix}"
        except FileExistsError:
            continue
    raise UsageError(f"there are already 999 runs named {root / name}; choose another --runs folder.")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def _git_revision() -> str | None:
    source = Path(__file__).parents[1]
    if not (source.parent / ".git").exists():
        return None
    command = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
