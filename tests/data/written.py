"""Datasets written to the disk in the formats that people have."""

import gzip
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from jaxmnist.data import idx
from tests.data.test_idx import encode


class Images(NamedTuple):
    """Labelled images of two splits."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    @property
    def splits(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return {"train": self[:2], "test": self[2:]}


def some_images(
    train: int = 40, test: int = 15, classes: int = 3, shape: tuple[int, ...] = (28, 28)
) -> Images:
    """Noise on a dark ground, whose labels go round."""
    rng = np.random.default_rng(classes)
    images = rng.integers(0, 256, (train + test, *shape), np.uint8)
    images[:, :3] = images[:, -3:] = images[:, :, :3] = images[:, :, -3:] = 0
    labels = np.arange(train + test, dtype=np.int32) % classes
    return Images(images[:train], labels[:train], images[train:], labels[train:])


def write_png(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def write_idx(folder: Path, data: Images) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(idx.FILE_NAMES, data, strict=True):
        (folder / name).write_bytes(encode(array.astype(np.uint8)))
    return folder


KERAS = "x_train y_train x_test y_test"


def write_npz(path: Path, data: Images, names: str = KERAS, /, **others: Any) -> Path:
    arrays: dict[str, Any] = dict(zip(names.split(), data, strict=True)) | others
    np.savez(path, **arrays)
    return path


def csv_text(images: np.ndarray, labels: np.ndarray, header: bool = True) -> bytes:
    out = io.StringIO()
    if header:
        out.write(",".join(["label", *(f"pixel{number}" for number in range(images[0].size))]) + "\n")
    for image, label in zip(images, labels, strict=True):
        out.write(",".join([str(label), *map(str, image.ravel())]) + "\n")
    return out.getvalue().encode()


def write_csv(path: Path, images: np.ndarray, labels: np.ndarray, header: bool = True) -> Path:
    text = csv_text(images, labels, header)
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def write_folder(folder: Path, data: Images, names: tuple[str, ...] = ("0", "1", "2")) -> Path:
    for split, (images, labels) in data.splits.items():
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            write_png(folder / split / names[label] / f"{number}.png", image)
    return folder
