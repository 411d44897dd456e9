"""Makes a dataset of images and labels as a file or folder of the user's own holds them, the same from any format.

**Classes** are the labels that occur, in order: whole numbers by value, words by their letters. A number's name is the
number. **Without a test split** one image in seven of each class becomes it, as in MNIST: the one whose hash is
lowest, so that it is the same from run to run and machine to machine, and stays nearly the same as images are added.
**A val split** goes behind the training images. **Sorted by class**, training images are dealt out, so that every
part of them has the classes in the same proportion: `val` is the last twelfth, or a fold. **Dark ink on a light
ground** is inverted, in all images or in none: where the border of the typical training image is in the upper third of
the image's grey values.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Integer, UInt8, UInt64

from jaxmnist.data.dataset import MAX_CLASSES, Dataset, Fit, dataset_title
from jaxmnist.errors import DataError, listed, shortened

_TEST_SHARE = 7  # one in seven: 10,000 of MNIST's 70,000
_RARE = 10
_LONGEST_NAME = 255  # the longest name of a folder
_SAMPLE = 1_000


class Part(NamedTuple):
    """The images of a split as they were found."""

    images: UInt8[np.ndarray, "n 28 28"]
    labels: np.ndarray
    """`[n]`, whole numbers or words."""
    place: str
    """Origin, for messages."""
    hashes: UInt64[np.ndarray, " n"] | None = None
    """Of the contents of each image; needed to hold out a test split."""


def assemble(
    path: Path,
    kind: str,
    parts: dict[str, Part],
    fit: Fit,
    classes: Sequence[str] | None = None,
    notes: Iterable[str] = (),
) -> Dataset:
    """Makes the dataset.

    Args:
        path: absolute path of the file or folder.
        kind: see `Dataset.kind`.
        parts: `train`, and `val` and `test` where they are there; images made 28x28 with `fit`.
        fit: see `Dataset.fit`.
        classes: names of the labels from 0; without them the labels that occur.
        notes: sentences about what was left out.

    Raises:
        DataError: a split has no images, labels are of no use, there is but one class or more than `MAX_CLASSES`, or
            `test` or `val` have images of a class that `train` has not.
    """
    for split, part in parts.items():
        if not len(part.images):
            raise DataError(f"{part.place} has no images for the {split} split; put some there.")
    classes, labels = _classified(path, parts, classes)
    images = {split: part.images for split, part in parts.items()}
    places = {split: part.place for split, part in parts.items()}
    if "test" not in parts:
        assert parts["train"].hashes is not None
        held_out = hold_out(labels["train"], parts["train"].hashes)
        if not held_out.any():
            raise DataError(f"{path} has too few different images to hold out any for test; add some.")
        for arrays in (images, labels):
            arrays["test"], arrays["train"] = arrays["train"][held_out], arrays["train"][~held_out]
        places["test"] = (
            f"{places['train']}: one image in {_TEST_SHARE} of each class, by the hash of its contents"
        )
    counts = {split: np.bincount(of_split, minlength=len(classes)) for split, of_split in labels.items()}
    _check(path, classes, counts)
    if (order := _dealt_out(labels["train"])) is not None:
        images["train"], labels["train"] = images["train"][order], labels["train"][order]
    inverted = _has_dark_ink(images["train"])  # never with "mnist", which inverts one by one
    for split in ("train", "test"):
        if split == "train" and "val" in parts:
            images["train"] = np.concatenate([images["train"], images["val"]])
            labels["train"] = np.concatenate([labels["train"], labels["val"]])
        if inverted:
            images[split] = 255 - images[split]
    return Dataset(
        dataset_title(str(path)),
        images["train"],
        labels["train"],
        images["test"],
        labels["test"],
        source=str(path),
        classes=classes,
        val_count=len(labels["val"]) if "val" in parts else None,
        fit=fit,
        path=str(path),
        kind=kind,
        notes=(*notes, *_class_notes(path, classes, counts)),
        inverted=inverted,
        places=places,
    )


def class_order(name: str) -> tuple[bool, int, str]:
    """Sort key of the names of classes: whole numbers by value, then all others by their letters."""
    return (False, int(name), name) if name.isdecimal() else (True, 0, name)


def content_hash(content: bytes | memoryview) -> int:
    """Hash of the contents of an image, 64 bits."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")


def hold_out(labels: Int[np.ndarray, " n"], hashes: UInt64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Selects the test images: of each class a seventh, that with the lowest hashes, and equal images together.

    A class of one image, or of equal ones, keeps all for training.
    """
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        last = np.sort(hashes[of_class])[max(1, round(len(of_class) / _TEST_SHARE)) - 1]
        chosen = of_class[hashes[of_class] <= last]
        held_out[chosen] = len(chosen) < len(of_class)
    return held_out


def _classified(
    path: Path, parts: dict[str, Part], classes: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Returns the names of the classes, and the labels as int32 in the order of these."""
    numbers = _as_numbers([part.labels for part in parts.values()])
    if numbers is None:
        if classes is not None:
            raise DataError(f"{path} names its classes and has words for labels; make them numbers from 0.")
        found = [str(label) for part in parts.values() for label in part.labels]
        classes = sorted(set(found), key=class_order)
        index = {name: label for label, name in enumerate(classes)}
        labels = np.array([index[name] for name in found])
    else:
        limit = MAX_CLASSES if classes is None else len(classes)
        for part, values in zip(parts.values(), numbers, strict=True):
            wrong = np.flatnonzero(~((values == np.floor(values)) & (values >= 0) & (values < limit)))
            if wrong.size:
                raise DataError(
                    f"{part.place} has the label {part.labels[wrong[0]]} at position {wrong[0]} where labels are "
                    f"whole numbers from 0 to {limit - 1}; correct it there."
                )
        labels = np.concatenate(numbers).astype(np.int32)
        if classes is None:
            values, labels = np.unique(labels, return_inverse=True)
            classes = list(map(str, values))
    starts = np.cumsum([len(part.labels) for part in parts.values()])[:-1]
    return tuple(classes), dict(zip(parts, np.split(labels.astype(np.int32), starts), strict=True))


def _as_numbers(labels: list[np.ndarray]) -> list[np.ndarray] | None:
    try:
        return [of_split.astype(np.float64) for of_split in labels]
    except ValueError:  # words among them
        return None


def _check(path: Path, classes: tuple[str, ...], counts: dict[str, np.ndarray]) -> None:
    """Refuses classes that nothing can be trained on."""
    if len(set(classes)) < len(classes):
        raise DataError(f"{path} gives two classes the same name; rename one of them.")
    if len(classes) > MAX_CLASSES:
        raise DataError(f"{path} has {len(classes):,} classes, and at most {MAX_CLASSES:,} can be trained.")
    if long := [name for name in classes if len(name.encode(errors="replace")) > _LONGEST_NAME]:
        raise DataError(
            f"{path} has a class whose name is longer than {_LONGEST_NAME} bytes, {shortened(repr(long[0]))}; shorten "
            "it."
        )
    if np.count_nonzero(counts["train"]) < 2:
        only = classes[int(counts["train"].argmax())]
        raise DataError(f"{path} has training images of class {only!r} only; add those of another class.")
    for split, of_split in counts.items():
        if alone := _names(classes, (of_split > 0) & (counts["train"] == 0)):
            raise DataError(
                f"{path} has {split} images of class {alone} but no training images of it; both splits need the same "
                "classes."
            )


def _class_notes(path: Path, classes: tuple[str, ...], counts: dict[str, np.ndarray]) -> list[str]:
    """Sentences about classes that are missing or rare."""
    notes = []
    numbers = [int(name) for name in classes if name.isdecimal()]
    if len(numbers) == len(classes) and (gaps := sorted(set(range(numbers[0], numbers[-1])) - set(numbers))):
        names = tuple(map(str, gaps))
        if len(gaps) < len(classes):
            notes.append(f"No image of {path} has the label {_names(names, np.ones(len(names), bool))}.")
    for split, of_split in counts.items():
        if missing := _names(classes, of_split == 0):
            notes.append(f"{path} has no {split} image of class {missing}.")
    rare = (counts["train"] > 0) & (counts["train"] < _RARE)
    if rare.any():
        notes.append(f"{path} has fewer than {_RARE} training images of class {_names(classes, rare)}.")
    return notes


def _names(classes: tuple[str, ...], chosen: np.ndarray) -> str:
    return listed([classes[index] for index in np.flatnonzero(chosen)])


def _dealt_out(labels: Integer[np.ndarray, " n"]) -> np.ndarray | None:
    """Order in which any part has the classes of the whole; None if the labels are mixed already.

    Sorted are labels of which more neighbours are equal than half way from chance to all.
    """
    shares = np.bincount(labels) / len(labels)
    if np.mean(labels[1:] == labels[:-1]) <= (1 + shares @ shares) / 2:
        return None
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return order[np.argsort((rank + 0.5) / np.repeat(counts, counts), kind="stable")]


def _has_dark_ink(images: UInt8[np.ndarray, "n 28 28"]) -> bool:
    sample = images[:: max(1, len(images) // _SAMPLE)].astype(np.float32)
    low, high = sample.min((1, 2)), sample.max((1, 2))
    border = np.concatenate([sample[:, 0], sample[:, -1], sample[:, :, 0], sample[:, :, -1]], axis=1)
    level = (border.mean(1) - low) / np.maximum(high - low, 1)
    return bool(np.median(level) > 2 / 3)
