"""Content of a run, read in this process and compared byte by byte."""

import hashlib
import json
import re
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxmnist.errors import CheckpointError
from jaxmnist.runs.checkpoints import Checkpoints, Snapshot, abstract
from jaxmnist.runs.folder import read_config
from jaxmnist.train.jit import build_programs
from jaxmnist.train.loss import no_metrics
from jaxmnist.train.state import Keys
from tests.torture import program
from tests.torture.battery import error_of


def read(run: Path, which: str = "latest", warns: bool = True) -> Snapshot:
    """Reads the latest or best checkpoint of a run, with or without warnings."""
    if not warns:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read(run, which)
    config, device = read_config(run), jax.devices("cpu")[0]
    programs = build_programs(config.create_model(), config.recipe, device)
    shapes = jax.eval_shape(programs.create_state, Keys.from_seed(0).init)
    restore = getattr(Checkpoints(run, config.arch), f"restore_{which}")
    return restore(*abstract((shapes, no_metrics()), device))


def leaves(snapshot: Snapshot) -> dict[str, bytes]:
    """Returns the bytes of every array of a snapshot by its path."""
    arrays = jax.tree_util.tree_leaves_with_path((snapshot.state, snapshot.metrics))
    return {jax.tree_util.keystr(path): np.asarray(leaf).tobytes() for path, leaf in arrays}


def assert_equal_runs(run: Path, other: Path) -> None:
    """Asserts equal checkpoints (latest and best), metrics and results."""
    for which in ("latest", "best"):
        ours, theirs = leaves(read(run, which)), leaves(read(other, which))
        assert ours.keys() == theirs.keys(), f"the {which} states have other arrays"
        differing = [path for path in ours if ours[path] != theirs[path]]
        assert not differing, f"the {which} states differ in {', '.join(differing)}"
    assert program.rows(run) == program.rows(other), "the metrics differ"
    assert program.results(run) == program.results(other), "the results differ"


def sealed(about: dict[str, Any]) -> str:
    """Returns the content of an intact about.json with these values."""
    values = {name: value for name, value in about.items() if name != "seal"}
    seal = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    return json.dumps({**values, "seal": seal})


def assert_says(run: Path, message: str) -> None:
    """Asserts that reading the latest checkpoint of a run gives an error or a warning that matches."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        error = error_of(CheckpointError, lambda: read(run))
    said = " ".join(str(reason) for reason in (error, *(warning.message for warning in caught)))
    assert re.search(message, said), f"{message!r} is not said in {said!r}"
