"""States on disk: trees of plain arrays, each in a folder of its own that tells whether it is what was saved.

<name>/arrays/     the arrays, as Orbax writes them
<name>/about.json  what they are; SHA-256 of the arrays, of each file in `arrays`, and of itself

A folder gets its name when all in it is on the disk, and loses it before anything in it is deleted: whatever
has a name is whole, or was damaged later, which the sums tell.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree

from jaxmnist.runtime.files import remove_tree, sync, sync_tree
from jaxmnist.train.loss import Metrics
from jaxmnist.train.state import TrainState

ARRAYS, ABOUT = "arrays", "about.json"


class DamagedError(Exception):
    """A state is not what was saved; the reason as a phrase."""


def write_state(folder: Path, tree: PyTree, about: Mapping[str, Any]) -> None:
    """Saves a tree of host arrays; the folder is there once this returns, and lasts through a loss of power.

    Args:
        folder: what it is to be called; a folder of that name is replaced.
        tree: NumPy arrays in dictionaries and tuples.
        about: JSON values to keep beside it.

    Raises:
        Exception: of many kinds, from Orbax and from the system; there is then no new folder.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        folder.parent.mkdir(exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        _require_room(partial / "room", room_for(tree))
        with _quiet():
            _checkpointer().save((partial / ARRAYS).resolve(), args=ocp.args.StandardSave(tree))
        values = {
            **about,
            "shapes": shapes(tree),
            "arrays": _sum_of_arrays(tree),
            "files": _sums_of_files(partial),
        }
        (partial / ABOUT).write_text(json.dumps({**values, "seal": _seal(values)}, indent=1) + "\n")
        sync_tree(partial)
        if folder.exists():
            remove_tree(folder)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync(folder.parent)
    sync(folder.parent.parent)


def room_for(tree: PyTree) -> int:
    """Bytes that are enough on the disk for a state with these arrays."""
    return 2 * sum(leaf.nbytes for leaf in jax.tree.leaves(tree)) + 2**17


def _require_room(file: Path, size: int) -> None:
    # On a full disk TensorStore leaves threads behind, which print tracebacks; this says it in a word.
    file.write_bytes(bytes(size))
    file.unlink()


def remove_leftovers(folder: Path) -> None:
    """Removes what interrupted saves and removals left in a folder of states."""
    for suffix in (".partial", ".removed"):
        for leftover in folder.glob(f"*{suffix}"):
            shutil.rmtree(leftover, ignore_errors=True)


def read_about(folder: Path) -> dict[str, Any]:
    """What a state says of itself, after a look at the sum of that and of all its files.

    Raises:
        DamagedError: something is not as it was saved.
    """
    try:
        values = json.loads((folder / ABOUT).read_text())
        seal = values.pop("seal")
        if seal != _seal(values):
            raise DamagedError(f"{ABOUT} is not as it was saved")
        found = _sums_of_files(folder)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DamagedError(_phrase(error)) from error
    if wrong := sorted(dict(values["files"].items() ^ found.items())):
        raise DamagedError(f"{wrong[0]} is {'not as it was saved' if wrong[0] in found else 'missing'}")
    return values


def read_arrays(folder: Path, template: PyTree, digest: str) -> PyTree:
    """The tree of a state, as NumPy arrays.

    Args:
        folder: the state.
        template: a tree with the shapes and dtypes that are expected.
        digest: sum of the arrays as they were saved.

    Raises:
        DamagedError: they cannot be read, or are not what was saved.
    """
    try:
        with _quiet():
            empty = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), template)
            tree = _checkpointer().restore((folder / ARRAYS).resolve(), args=ocp.args.StandardRestore(empty))
    except Exception as error:  # Orbax and TensorStore raise many kinds
        raise DamagedError(_phrase(error)) from error
    if _sum_of_arrays(tree) != digest:
        raise DamagedError("the arrays are not those that were saved")
    return tree


def shapes(tree: PyTree) -> dict[str, str]:
    """Dtype and shape of every array by its path: `{"state/params/conv1/kernel": "float32[3,3,1,8]"}`."""
    return {path: f"{leaf.dtype}{list(leaf.shape)}".replace(" ", "") for path, leaf in _by_path(tree)}


def _by_path(tree: PyTree) -> list[tuple[str, Any]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in leaves]


def _sum_of_arrays(tree: PyTree) -> str:
    total = hashlib.sha256()
    for path, leaf in _by_path(tree):
        total.update(f"{path} {leaf.dtype.str} {leaf.shape}\n".encode())
        total.update(leaf.tobytes())
    return total.hexdigest()


def _sums_of_files(folder: Path) -> dict[str, str]:
    return {
        Path(parent, name).relative_to(folder).as_posix(): hashlib.sha256(
            Path(parent, name).read_bytes()
        ).hexdigest()
        for parent, _, names in os.walk(folder / ARRAYS)
        for name in names
    }


def _seal(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _phrase(error: Exception) -> str:
    """An error in a few words, as a part of a sentence."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{Path(error.filename).name}: {error.strerror}"
    return str(error).strip().split("\n")[0][:200] or type(error).__name__


def _checkpointer() -> ocp.Checkpointer:
    # Where several processes train together one of them is here, and is not to wait for the others.
    own = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix="leader"
    )
    handler = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # Orbax reports every phase of a save, and its errors with tracebacks, in the middle of the progress bar.
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


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
