"""The lines of metrics and the results of a run that count: the sealed ones, with which its files are compared.

The newest checkpoint holds the lines of all epochs. A run without checkpoints, as studies leave them, has a sealed
`results.json`, which holds a digest of the lines.
"""

import dataclasses
import math
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from jaxmnist.config.parsing import parsed
from jaxmnist.config.seal import SEAL, digest, first_difference, opened, sealed
from jaxmnist.errors import CheckpointError, JaxmnistWarning, shortened
from jaxmnist.runs.about import newest_about, rows_of
from jaxmnist.runs.folder import (
    CONFIG,
    METRICS,
    RESULTS,
    naming_damage,
    read_config,
    read_metrics,
    write_json,
    write_metrics,
)
from jaxmnist.runs.selection import Results, summarise
from jaxmnist.runtime.json_text import finite
from jaxmnist.runtime.reading import read_json

METRICS_DIGEST = "metrics_sha256"
"""Key in `results.json`: digest of the lines of metrics that the results are made of."""

_REMEDY = "restore it or leave the run out"


class Record(NamedTuple):
    """Figures of a run."""

    rows: list[dict[str, Any]]
    """Lines of metrics of the completed epochs."""
    results: Results | None
    """Final figures; None for a run that is not complete."""


def write_results(run: Path, results: Results, rows: list[dict[str, Any]]) -> None:
    """Writes the files of a complete run.

    Raises:
        OSError: a file could not be written.
    """
    write_metrics(run, rows)
    write_json(run / RESULTS, sealed({**dataclasses.asdict(results), METRICS_DIGEST: digest(rows)}))


def read_results(run: Path) -> Results | None:
    """Reads the final figures of a run, if it is complete; errors and warnings as for `read_record`."""
    return read_record(run).results if (run / RESULTS).exists() else None


def read_record(run: Path) -> Record:
    """Reads the figures of a run. A file that differs from them is named in a warning.

    Raises:
        CheckpointError: a file is damaged, or has changed and there is no checkpoint to go by.
    """
    written = read_metrics(run)  # before the checkpoint, which training writes first
    _require_numbers(run / METRICS, written)
    results, values = None, {}
    if (run / RESULTS).exists():
        with naming_damage(run / RESULTS):
            values = read_json(run / RESULTS)
            # The figures kept in this repository are from before there were these keys.
            missing = {
                "rule_met": True,
                "data_fingerprint": "",
                "stopped": None,
                "final_train_accuracy": None,
            }
            results = parsed(Results, missing | _with_nan(values))
    about = newest_about(run)
    rows = rows_of(about["rows"]) if about else []
    if results is None:
        # The last line may be missing: it is written after the checkpoint.
        if digest(written) not in (digest(rows), digest(rows[:-1])):
            _warn(run / METRICS, about)
        return Record(rows if about else written, None)
    # Otherwise the checkpoints are deleted, or the latest is damaged.
    if about is not None and len(rows) == about["config"]["recipe"]["epochs"]:
        sealed_results = summarise(read_config(run), rows, _parameters(about))
        if digest(written) != digest(rows):
            _warn(run / METRICS, about)
        # NaN would differ from itself.
        pair = [finite(dataclasses.asdict(of)) for of in (results, sealed_results)]
        if difference := first_difference(*pair):
            _warn(run / RESULTS, about, f" ({shortened(difference)})")
        return Record(rows, sealed_results)
    # Of a run whose figures alone were kept, without its configuration, nothing is sealed.
    if SEAL in values or (run / CONFIG).exists() or about is not None:
        with naming_damage(run / RESULTS, _REMEDY):
            content = opened(values)
        is_whole = content.get(METRICS_DIGEST) == digest(written) and digest(written[: len(rows)]) == digest(
            rows
        )
        if (run / METRICS).exists() and not is_whole:
            raise CheckpointError(
                f"{run / METRICS} is damaged (its lines are not those that {RESULTS} was made of); {_REMEDY}."
            )
    return Record(written, results)


def _require_numbers(path: Path, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        for name, value in row.items():
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise CheckpointError(f"{path} is damaged ({name} is {value!r}); {_REMEDY}.")


def _with_nan(values: dict[str, Any]) -> dict[str, Any]:
    """Returns results with the one figure that may be null as a number."""
    key = "best_train_accuracy"
    return values | {key: math.nan} if values.get(key, 0) is None else values


def _parameters(about: dict[str, Any]) -> int:
    shapes = [shape for path, shape in about["shapes"].items() if path.startswith("state/params/")]
    sizes = [shape.partition("[")[2].rstrip("]").split(",") for shape in shapes]
    return sum(math.prod(int(side) for side in size if side) for size in sizes)


def _warn(path: Path, about: dict[str, Any] | None, difference: str = "") -> None:
    message = (
        f"{path} cannot be confirmed, as the run has no checkpoint and no {RESULTS}; it is taken as it is."
    )
    if about is not None:
        source = f"the checkpoint of step {about['step']}"
        message = f"{path} differs from {source}{difference}; the figures of the checkpoint are used."
    warnings.warn(message, JaxmnistWarning, stacklevel=4)
