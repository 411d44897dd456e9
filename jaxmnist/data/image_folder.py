"""Datasets as folders of images.

Either a folder for each split and in it one for each class, `train/CLASS/*`, `test/CLASS/*` and, if there is one,
`val/CLASS/*` (also `training`, `testing`, `valid` and `validation`, in any case); or one for each class alone. Without
`test` one image in seven of each class becomes it, see `jaxmnist.data.assemble`. Files may have any format and size,
see `jaxmnist.data.images`. Hidden files are left out.

The classes are in order of their names, whole numbers by value. The images of a split are in order of their files'
names across all classes, numbers by value, and then of their classes: images that were written as
`train/CLASS/00000.png` with running numbers have their order back.
"""

import os
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxmnist.data import image_cache
from jaxmnist.data.assemble import Part, assemble, class_order, content_hash
from jaxmnist.data.dataset import Dataset, Fit
from jaxmnist.data.idx import MAX_ITEMS
from jaxmnist.data.image_formats import is_image_name
from jaxmnist.data.image_paths import natural_order
from jaxmnist.data.images import MAX_STREAM_BYTES, decode, pillow_warnings
from jaxmnist.errors import DataError
from jaxmnist.runtime.reading import read_bytes

_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_FEW = 3
_FEW_SHARE = 0.01
_SECONDS = 5  # between two lines on the progress
_CHUNK = 250
_TICK = 0.02  # seconds; the times of files are as fine as the kernel's clock, 10 ms or less


class _File(NamedTuple):
    path: str
    name: str
    label: int
    stat: os.stat_result


def is_one(folder: Path) -> bool:
    """True if a folder has folders of images in it, directly or within those of splits."""
    folders = _folders(folder)
    within = [inner for outer in folders if outer.name.lower() in _SPLITS for inner in _folders(outer)]
    return any(is_image_name(Path(entry.name)) for inner in [*folders, *within] for entry in _visible(inner))


def load(folder: Path, fit: Fit, announce: Callable[[str], None]) -> Dataset:
    """Loads the dataset in a folder of images, from the cache if none of its files has changed.

    Args:
        folder: the folder.
        fit: see `jaxmnist.data.fitting.to_28x28`.
        announce: called with a line every five seconds while files are read.

    Raises:
        DataError: a class or split has no images, many files are no images, or splits have different classes.
    """
    roots = _split_roots(folder)
    classes = _classes(folder, roots)
    files = {split: _files(root, classes) for split, root in roots.items()}
    if (count := sum(map(len, files.values()))) > MAX_ITEMS:
        raise DataError(f"{folder} has {count:,} files where at most {MAX_ITEMS:,} are read; remove some.")
    cached = image_cache.cache_file(folder, fit)
    state = image_cache.files_state((file.path, file.stat) for found in files.values() for file in found)
    if cached and (dataset := image_cache.read(cached, state)):
        return dataset
    # A file that changes once it is read must not have the time that it had before.
    newest = max(file.stat.st_ctime_ns for found in files.values() for file in found) / 1e9
    time.sleep(min(_TICK, max(0, newest + _TICK - time.time())))
    dataset = _read(folder, roots, classes, files, fit, announce)
    if cached:
        image_cache.write(cached, state, dataset)
    return dataset


def _split_roots(folder: Path) -> dict[str, Path]:
    """The folders of the splits; `train` is the folder itself if it has none."""
    # A class may be called "train": a split's folder has folders in it.
    named = [(_SPLITS[path.name.lower()], path) for path in _folders(folder) if path.name.lower() in _SPLITS]
    roots: dict[str, Path] = {}
    for split, path in named:
        if _folders(path):
            if split in roots:
                raise DataError(f"{roots[split]} and {path} are both for {split}; move one of them away.")
            roots[split] = path
    if not roots:
        return {"train": folder}
    for split, path in named:
        if split not in roots:
            raise DataError(
                f"{path} has no class folders; put the images of each class in a folder of its name."
            )
    if "train" not in roots:
        raise DataError(
            f"{folder} has {', '.join(roots)} and no train; add a folder train with class folders."
        )
    return {split: roots[split] for split in ("train", "val", "test") if split in roots}


def _classes(folder: Path, roots: dict[str, Path]) -> list[str]:
    """The names of the classes, the same in all splits."""
    names = {split: {path.name for path in _folders(root)} for split, root in roots.items()}
    for split in names:
        if different := sorted(names[split] ^ names["train"], key=class_order):
            raise DataError(
                f"{folder} has the class {different[0]!r} in only one of train and {split}; both need the same classes."
            )
    return sorted(names["train"], key=class_order)


def _files(root: Path, classes: list[str]) -> list[_File]:
    """The files in the class folders of a split."""
    for entry in _visible(root):
        if entry.is_file() and is_image_name(Path(entry.name)):
            raise DataError(f"{entry.path} is in no class folder; move it into the one of its class.")
    files = []
    for label, name in enumerate(classes):
        found = [_File(entry.path, entry.name, label, entry.stat()) for entry in _visible(root / name)]
        if not found:
            raise DataError(f"{root / name} is empty; put images of the class there, or remove the folder.")
        files.extend(found)
    return files


def _read(
    folder: Path,
    roots: dict[str, Path],
    classes: list[str],
    files: dict[str, list[_File]],
    fit: Fit,
    announce: Callable[[str], None],
) -> Dataset:
    for found in files.values():
        found.sort(key=lambda file: (natural_order(file.name), file.label, file.name))
    everything = [file for found in files.values() for file in found]
    images, hashes, is_image = _decoded(folder, everything, fit, announce)
    bad = [file.path for file, good in zip(everything, is_image, strict=True) if not good]
    of_files = f"{len(bad):,} of {len(everything):,} files in {folder}"
    if len(bad) > max(_FEW, _FEW_SHARE * len(everything)):
        raise DataError(f"{of_files} are no readable images, {bad[0]} for one; remove or replace them.")
    shown = ", ".join([*bad[:_FEW], *(["..."] if len(bad) > _FEW else [])])
    notes = [f"Skipped {of_files}, which are no readable images: {shown}."] if bad else []
    parts: dict[str, Part] = {}
    start = 0
    for split, found in files.items():
        chosen = start + np.flatnonzero(is_image[start : start + len(found)])
        labels = np.array([everything[index].label for index in chosen], np.int32)
        for label in np.setdiff1d(np.arange(len(classes)), labels):
            raise DataError(f"{roots[split] / classes[label]} has no readable image; put images there.")
        parts[split] = Part(images[chosen], labels, str(roots[split]), hashes[chosen])
        start += len(found)
    return assemble(folder, "folder of images", parts, fit, classes, notes)


def _decoded(
    folder: Path, files: list[_File], fit: Fit, announce: Callable[[str], None]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the images, the hashes of their files, and which of the files are images."""
    images = np.zeros((len(files), 28, 28), np.uint8)
    hashes, is_image = np.zeros(len(files), np.uint64), np.zeros(len(files), bool)

    def read(start: int) -> int:
        for index, file in enumerate(files[start : start + _CHUNK], start):
            try:
                is_file = stat.S_ISREG(file.stat.st_mode) and file.stat.st_size <= MAX_STREAM_BYTES
                if not is_file or not is_image_name(Path(file.name)):
                    continue
                content = read_bytes(file.path, MAX_STREAM_BYTES)
                images[index] = decode(content, file.path, fit)
            except (DataError, OSError):
                continue
            hashes[index], is_image[index] = content_hash(content), True
        return min(start + _CHUNK, len(files))

    last = time.monotonic()
    # Threads: Pillow decodes and scales without holding Python's lock.
    with pillow_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        for done in pool.map(read, range(0, len(files), _CHUNK)):
            if time.monotonic() - last > _SECONDS:
                last = time.monotonic()
                announce(f"Reading the images in {folder}: {done:,} of {len(files):,}")
    return images, hashes, is_image


def _folders(folder: Path) -> list[Path]:
    return sorted(Path(entry.path) for entry in _visible(folder) if entry.is_dir())


def _visible(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if not entry.name.startswith((".", "__MACOSX")))
