"""Checkpoints on disk: trees of arrays, each in a folder of its own that proves its content.

<name>/arrays/     the arrays, as Orbax writes them; TensorStore reads them
<name>/about.json  description; SHA-256 of the arrays, of each file in `arrays/`, and of the description itself

A folder gets its name once all of its content is on disk, and loses it before any content is deleted. A folder with
a name is therefore complete, or was damaged later, and then a checksum differs.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections import namedtuple
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import tensorstore
from jaxtyping import PyTree

from jaxmnist.config.seal import SealError, opened, sealed
from jaxmnist.runs.about import ABOUT
from jaxmnist.runtime.files import remove_tree, sync, sync_tree
from jaxmnist.runtime.json_text import json_text
from jaxmnist.runtime.reading import MAX_ROWS_BYTES, read_json, sha256_of
from jaxmnist.train.loss import Metrics
from jaxmnist.train.state import TrainState

if TYPE_CHECKING:
    import orbax.checkpoint as ocp

ARRAYS = "arrays"
_LAYOUT = "_METADATA"  # in it Orbax says how it wrote the arrays


class DamagedError(Exception):
    """A difference between a checkpoint and the state that was saved; its message is a phrase."""


def write_state(folder: Path, tree: PyTree, about: Mapping[str, Any]) -> None:
    """Saves a tree of host arrays; once this returns, the folder survives a power failure.

    Args:
        folder: folder to write; an existing one is replaced.
        tree: NumPy arrays in dictionaries and tuples.
        about: JSON values to save beside it.

    Raises:
        Exception: of many kinds, from Orbax and from the system; there is then no new folder.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        folder.parent.mkdir(exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        # On a full disk TensorStore leaves threads behind that print tracebacks; this fails first, in one sentence.
        room = partial / "room"
        room.write_bytes(bytes(room_for(tree)))
        room.unlink()
        with _quiet():
            checkpointer, arguments = _checkpointer(tree)
            checkpointer.save((partial / ARRAYS).resolve(), args=arguments)
        sums = {"arrays": _sum_of_arrays(tree), "files": _sums_of_files(partial)}
        values = {**about, "shapes": shapes(tree), **sums}
        (partial / ABOUT).write_text(json_text(sealed(values), indent=1) + "\n")
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
    """Returns a number of bytes that is enough on disk for a checkpoint with these arrays."""
    return 2 * sum(leaf.nbytes for leaf in jax.tree.leaves(tree)) + 2**17


def remove_leftovers(folder: Path) -> None:
    """Removes partial folders that interrupted saves and removals left in a folder of checkpoints."""
    for suffix in (".partial", ".removed"):
        for leftover in folder.glob(f"*{suffix}"):
            shutil.rmtree(leftover, ignore_errors=True)


def read_about(folder: Path) -> dict[str, Any]:
    """Reads the description of a checkpoint and compares the checksums of all files.

    Raises:
        DamagedError: something differs from the state that was saved.
    """
    try:
        values = opened(read_json(folder / ABOUT, MAX_ROWS_BYTES))
        # Names and sizes first: of a file that does not belong there, nothing is read.
        files, sizes = values["files"], _sizes_of_files(folder)
        wrong = {name for name in files.keys() | sizes if sizes.get(name) != files.get(name, {}).get("bytes")}
        wrong = wrong or {name for name in files if sha256_of(folder / name) != files[name]["sha256"]}
    except SealError as error:
        raise DamagedError(f"{ABOUT} has changed") from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DamagedError(_phrase(error)) from error
    if wrong:
        first = min(wrong)
        raise DamagedError(f"{first} {'has changed' if first in sizes else 'is missing'}")
    return values


def read_arrays(folder: Path, template: PyTree, digest: str) -> PyTree:
    """Reads the tree of a checkpoint as NumPy arrays.

    Orbax would take a quarter of a second more, most of it to import; the checksum is of what is read.

    Args:
        folder: the checkpoint.
        template: a tree with the expected shapes and dtypes.
        digest: checksum of the arrays as they were saved.

    Raises:
        DamagedError: the arrays cannot be read or have changed.
    """
    try:
        driver = "zarr3" if json.loads((folder / ARRAYS / _LAYOUT).read_text())["use_zarr3"] else "zarr"
        base = {"driver": "file", "path": f"{(folder / ARRAYS).resolve()}/"}
        stores = [
            {"driver": "ocdbt", "base": base, "path": f"{path.replace('/', '.')}/"}
            for path, _ in _by_path(template)
        ]
        context = tensorstore.Context()
        handles = [
            tensorstore.open({"driver": driver, "kvstore": store}, context=context) for store in stores
        ]
        arrays = [array.result().read() for array in handles]
        tree = jax.tree.unflatten(jax.tree.structure(template), [array.result() for array in arrays])
    except Exception as error:  # TensorStore raises many kinds
        raise DamagedError(_phrase(error)) from error
    if _sum_of_arrays(tree) != digest:
        raise DamagedError("the arrays have changed")
    return tree


def shapes(tree: PyTree) -> dict[str, str]:
    """Returns dtype and shape of every array by its path: `{"state/params/conv1/kernel": "float32[3,3,1,8]"}`."""
    return {path: f"{leaf.dtype}{list(leaf.shape)}".replace(" ", "") for path, leaf in _by_path(tree)}


def as_tree(state: TrainState, metrics: Metrics) -> dict[str, Any]:
    """Returns the tree that a checkpoint holds for a state and sums."""
    # To Orbax, a field without arrays would be a different tree.
    saved = _WithoutAverage(*state[:-1]) if state.average is None else state
    return {"state": saved, "metrics": metrics}


def from_tree(tree: dict[str, Any]) -> tuple[TrainState, Metrics]:
    """Returns the state and the sums in the tree of a checkpoint."""
    return TrainState(*tree["state"]), tree["metrics"]


_WithoutAverage = namedtuple("_WithoutAverage", TrainState._fields[:-1])


def _by_path(tree: PyTree) -> list[tuple[str, Any]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in leaves]


def _sum_of_arrays(tree: PyTree) -> str:
    total = hashlib.sha256()
    for path, leaf in _by_path(tree):
        total.update(f"{path} {leaf.dtype.str} {leaf.shape}\n".encode())
        total.update(leaf.tobytes())
    return total.hexdigest()


def _sums_of_files(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        name: {"bytes": size, "sha256": sha256_of(folder / name)}
        for name, size in _sizes_of_files(folder).items()
    }


def _sizes_of_files(folder: Path) -> dict[str, int]:
    files = [Path(parent, name) for parent, _, names in os.walk(folder / ARRAYS) for name in names]
    return {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}


def _phrase(error: Exception) -> str:
    """Returns an error as a phrase within a sentence."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{Path(error.filename).name}: {error.strerror}"
    return str(error).strip().split("\n")[0][:200] or type(error).__name__


def _checkpointer(tree: PyTree) -> "tuple[ocp.Checkpointer, ocp.args.StandardSave]":
    """Returns Orbax's writer and its arguments."""
    import orbax.checkpoint as ocp  # an eighth of a second, which predictions need not wait for

    # With several processes only one of them is here, and must not wait for the others.
    own = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix="leader"
    )
    handler = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone), ocp.args.StandardSave(tree)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # Orbax logs every phase of a save, and its errors with tracebacks, in the middle of the progress bar.
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
