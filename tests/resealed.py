"""Run folders as another configuration would have made them, with all seals valid."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxmnist.config.run import RunConfig
from jaxmnist.config.seal import opened, sealed
from jaxmnist.models import arch_word
from jaxmnist.runs.about import ABOUT, FOLDER, SCHEMA, checkpoint_names, recorded
from jaxmnist.runs.folder import CONFIG, open_run, write_json
from jaxmnist.runs.record import write_results
from jaxmnist.runs.selection import summarise
from jaxmnist.runtime.json_text import json_text


def reseal(run: Path, changes: Mapping[str, Any]) -> None:
    """Changes fields of the configuration of a run, in all of its files."""
    values = json.loads((run / CONFIG).read_text()) | dict(changes)
    values.pop("seal", None)
    write_json(run / CONFIG, sealed(values))
    known = {key: value for key, value in changes.items() if key != "environment"}
    if "arch" in known:
        known["arch"] = arch_word(known["arch"])
    for name in checkpoint_names(run / FOLDER):
        path = run / FOLDER / name / ABOUT
        about = opened(json.loads(path.read_text()))
        write_json(path, sealed(about | {"config": about["config"] | known}))


def write_about(run: Path, config: RunConfig, rows: Sequence[Mapping[str, Any]], parameters: int = 1) -> None:
    """Writes the description of a checkpoint, without its arrays."""
    folder = run / FOLDER / str(len(rows))
    folder.mkdir(parents=True)
    about = {
        "schema": SCHEMA,
        "step": len(rows),
        "config": recorded(config),
        "rows": rows,
        "shapes": {"state/params/head/kernel": f"float32[{parameters}]"},
    }
    (folder / ABOUT).write_text(json_text(sealed(about)))


def write_finished(run: Path, config: RunConfig, rows: Sequence[Mapping[str, Any]], parameters: int) -> None:
    """Writes the files of a complete run that took a second and left no checkpoint, as one of a study."""
    missing = {"test_accuracy": 50.0, "train_accuracy": 50.0, "seconds": 1.0 / len(rows)}
    whole = [missing | dict(row) for row in rows]
    open_run(run, config, {})
    write_results(run, summarise(config, whole, parameters), whole)
