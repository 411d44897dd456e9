"""What a run holds, read in this process, so that it can be compared byte by byte."""

from pathlib import Path

import jax
import numpy as np

from jaxmnist import runs
from jaxmnist.checkpoints import Checkpoints, Snapshot, abstract
from jaxmnist.programs import build_programs
from jaxmnist.train import Keys, no_metrics
from tests.torture import program


def read(run: Path, which: str = "latest") -> Snapshot:
    """A run's latest or best snapshot."""
    config, device = runs.read_config(run), jax.devices("cpu")[0]
    programs = build_programs(config.create_model(), config.recipe, device)
    shapes = jax.eval_shape(programs.create_state, Keys.from_seed(0).init)
    restore = getattr(Checkpoints(run, config.arch), f"restore_{which}")
    return restore(*abstract((shapes, no_metrics()), device))


def leaves(snapshot: Snapshot) -> dict[str, bytes]:
    """The bytes of every array of a snapshot by its path."""
    arrays = jax.tree_util.tree_leaves_with_path((snapshot.state, snapshot.metrics))
    return {jax.tree_util.keystr(path): np.asarray(leaf).tobytes() for path, leaf in arrays}


def assert_equal_runs(run: Path, other: Path) -> None:
    """Asserts equal states, latest and best, metrics of all epochs, and results."""
    for which in ("latest", "best"):
        ours, theirs = leaves(read(run, which)), leaves(read(other, which))
        assert ours.keys() == theirs.keys(), f"the {which} states have other arrays"
        differing = [path for path in ours if ours[path] != theirs[path]]
        assert not differing, f"the {which} states differ in {', '.join(differing)}"
    assert program.rows(run) == program.rows(other), "the metrics differ"
    assert program.results(run) == program.results(other), "the results differ"
