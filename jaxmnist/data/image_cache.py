"""A cache of folders of images as arrays: reading 70,000 files takes ten seconds or more, the arrays one.

A dataset is taken from the cache only while path, size and times of every file are the same, the fit is, and Pillow.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import PIL

from jaxmnist.data.dataset import Dataset, Fit
from jaxmnist.runtime.files import replacing
from jaxmnist.runtime.npz import read_npz
from jaxmnist.runtime.reading import parse_json

_MAX_BYTES = 2**31  # twice the arrays of as many images as are read
_VERSION = 1  # raise it when the arrays of the same files change
_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def cache_file(folder: Path, fit: Fit) -> Path | None:
    """Returns the file for a folder of images: in `jaxmnist/images` of the user's caches; None without a home folder.

    The caches are in `XDG_CACHE_HOME`, which defaults to `~/.cache`, or `~/Library/Caches` on a Mac.
    """
    caches = os.environ.get("XDG_CACHE_HOME")
    if not caches:
        try:
            caches = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
        except RuntimeError:
            return None
    name = hashlib.sha256(os.fsencode(folder) + fit.encode()).hexdigest()[:32]
    return Path(caches, "jaxmnist", "images", f"{name}.npz")


def files_state(files: Iterable[tuple[str, os.stat_result]]) -> str:
    """SHA-256 (hex) over path, size and times of all files, in any order, and the versions of what reads them."""
    lines = sorted(
        # The time of the last change of status as well: a copy may bring its time of modification along.
        f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}"
        for path, stat in files
    )
    text = "\n".join([f"{_VERSION} {PIL.__version__}", *lines])
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def read(file: Path, state: str) -> Dataset | None:
    """Reads a dataset; None if there is none, it is damaged or its files were in another state."""
    try:
        about = parse_json(str(read_npz(file, _MAX_BYTES, "about".__eq__)["about"]))
        if about.pop("state") != state:
            return None
        stored = read_npz(file, _MAX_BYTES)
        arrays = {name: stored[name] for name in _ARRAYS}
        classes, notes = tuple(about.pop("classes")), tuple(about.pop("notes"))
        return Dataset(**arrays, **about, classes=classes, notes=notes)
    except Exception:  # of any kind, as the file may hold anything: it is written anew
        return None


def write(file: Path, state: str, dataset: Dataset) -> None:
    """Stores a dataset in place of that folder's older one; does nothing if the cache cannot be written."""
    about = {
        field.name: getattr(dataset, field.name)
        for field in dataclasses.fields(dataset)
        if field.name not in _ARRAYS
    }
    arrays = dict(zip(_ARRAYS, dataset.arrays, strict=True))
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as stream:
            np.savez(stream, about=np.array(json.dumps(about | {"state": state})), **arrays)
