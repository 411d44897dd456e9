"""The descriptions of a run's checkpoints, which can be read without the arrays that they describe.

A description holds the configuration and the lines of metrics, and is sealed: against it the files of the run are
checked.
"""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxmnist.config.run import RunConfig
from jaxmnist.config.seal import first_difference, opened
from jaxmnist.models import arch_word
from jaxmnist.runtime.json_text import finite
from jaxmnist.runtime.reading import MAX_ROWS_BYTES, read_json

FOLDER, ABOUT = "checkpoints", "about.json"

SCHEMA = 3
"""Version of the content of a checkpoint; one of another version is refused, with both named."""

_NAME = re.compile(r"(\d+)(-mid-epoch)?")


def checkpoint_names(folder: Path) -> list[str]:
    """Returns the names of the checkpoints in a folder, newest first."""
    if not folder.is_dir():
        return []
    names = [inside.name for inside in folder.iterdir() if _NAME.fullmatch(inside.name)]
    return sorted(names, key=order, reverse=True)


def order(name: str) -> tuple[int, bool]:
    """Sort key of names: the end of an epoch comes after a checkpoint in its middle, even at the same step."""
    step, middle = _NAME.fullmatch(name).groups()  # pyright: ignore[reportOptionalMemberAccess]
    return int(step), not middle


def newest_about(run: Path) -> dict[str, Any] | None:
    """Reads the newest description in a run folder that is intact and of this version; None if there is none."""
    for name in checkpoint_names(run / FOLDER):
        try:
            about = opened(read_json(run / FOLDER / name / ABOUT, MAX_ROWS_BYTES))
        except (OSError, ValueError, TypeError, AttributeError):
            continue
        if about.get("schema") == SCHEMA and about.get("config") is not None:
            return about
    return None


def recorded(config: RunConfig) -> dict[str, Any]:
    """Returns a configuration as descriptions and weights files record it.

    Without the place of the class of a network of one's own, which may move.
    """
    return finite(dataclasses.asdict(config) | {"arch": arch_word(config.arch)})


def difference_from_record(config: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """Describes the first difference of a configuration from that of a checkpoint; empty if there is none.

    A run that was given more epochs has checkpoints from before. Fields that a later version added are in no record.
    """
    record = _with_missing(record, config)
    first, epochs = config["extended_from"], record["recipe"]["epochs"]
    if first is not None and first <= epochs < config["recipe"]["epochs"]:
        earlier = {"epochs": epochs, "name": record["recipe"]["name"]}
        config = {
            **config,
            "extended_from": record.get("extended_from"),
            "recipe": {**config["recipe"], **earlier},
        }
    return first_difference(config, record)


def _with_missing(record: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a record with the fields that only the configuration has."""
    filled = {
        key: _with_missing(record[key], value)
        if isinstance(value, Mapping) and isinstance(record.get(key), Mapping)
        else record.get(key, value)
        for key, value in config.items()
    }
    return {**record, **filled}


def rows_of(values: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns lines of metrics from JSON; a figure that was not finite, null in JSON, is NaN."""
    return [{key: math.nan if value is None else value for key, value in row.items()} for row in values]
