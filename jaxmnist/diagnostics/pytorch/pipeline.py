"""Input pipeline of the sources: a DataLoader over a dataset that torchvision augments image by image."""

from collections.abc import Iterator
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
from PIL import Image
from torch.utils.data import DataLoader, Dataset  # pyright: ignore[reportMissingImports]
from torchvision import transforms  # pyright: ignore[reportMissingImports]


class Digits(Dataset):
    """Images that are opened, augmented and normalised on access, as in a torchvision dataset.

    Args:
        images: uint8 `[n, 28, 28]`.
        labels: `[n]`.
        setup: `mean`, `std` and `augmentation`, the fields of a `jaxmnist.config.Augmentation`; only rotation,
            translation and perspective are applied.
        augmented: False normalises only, as for evaluation.
    """

    def __init__(
        self, images: torch.Tensor, labels: torch.Tensor, setup: dict[str, Any], augmented: bool
    ) -> None:
        self.images, self.labels = images.numpy(), labels.tolist()
        changes = _changes(setup["augmentation"]) if augmented else ()
        normalise = transforms.Normalize((setup["mean"],), (setup["std"],))
        self.transform = transforms.Compose([*changes, transforms.ToTensor(), normalise])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def _changes(augmentation: dict[str, Any]) -> Iterator[torch.nn.Module]:
    if share := augmentation["perspective"]:
        nearest = transforms.InterpolationMode.NEAREST
        yield transforms.RandomPerspective(share, augmentation["perspective_probability"], nearest)
    if angle := augmentation["rotation"]:
        yield transforms.RandomRotation(angle, fill=augmentation["rotation_fill"])
    if reach := augmentation["translation"]:
        yield transforms.RandomAffine(0, translate=(reach, reach))


def loader(
    images: torch.Tensor, labels: torch.Tensor, setup: dict[str, Any], workers: int, training: bool
) -> DataLoader:
    """Returns a loader of full batches, shuffled and augmented for training, with a number of worker processes."""
    return DataLoader(
        Digits(images, labels, setup, augmented=training),
        batch_size=setup["batch_size"],
        shuffle=training,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
