"""What a state holds under which names, today and in earlier versions."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxmnist.checkpoints.states import DamagedError
from jaxmnist.train import Metrics, TrainState

SCHEMA = 1
"""What a state holds and how. 0 had no sums, no skipped steps and no lines of metrics; it can be read."""


class _WithoutAverage(NamedTuple):
    """A `TrainState` of a recipe without averaging: Orbax would see a field without arrays as another tree."""

    step: Any
    params: Any
    batch_stats: Any
    opt_state: Any
    bad_steps: Any


def as_tree(state: TrainState, metrics: Metrics) -> dict[str, Any]:
    fields = state._asdict()
    if state.average is None:
        del fields["average"]
        return {"state": _WithoutAverage(**fields), "metrics": metrics}
    return {"state": state, "metrics": metrics}


def from_tree(tree: dict[str, Any]) -> tuple[TrainState, Metrics]:
    return TrainState(**tree["state"]._asdict()), tree["metrics"]


def read_about_of_schema_0(folder: Path) -> dict[str, Any]:
    """What a state of schema 0 says of itself, under the names of today."""
    try:
        about = json.loads((folder / "about" / "metadata").read_text())
        rank = json.loads((folder / "metrics" / "metrics").read_text())
        accuracy = None if rank["accuracy"] < 0 else rank["accuracy"]
        score = {"step": int(folder.name), "accuracy": accuracy, "meets_rule": rank["rule"]}
        return {"schema": 0, **score, **{name: about[name] for name in ("arch", "epoch", "seconds")}}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DamagedError(f"what it says of itself cannot be read: {error}") from error


def as_schema_0(tree: dict[str, Any]) -> dict[str, Any]:
    parts = {name: part._asdict() for name, part in tree.items()}
    del parts["state"]["bad_steps"], parts["metrics"]["skipped"]
    return parts


def from_schema_0(parts: dict[str, Any]) -> dict[str, Any]:
    nothing = jnp.int32(0)
    return as_tree(
        TrainState(**parts["state"], bad_steps=nothing), Metrics(**parts["metrics"], skipped=nothing)
    )
