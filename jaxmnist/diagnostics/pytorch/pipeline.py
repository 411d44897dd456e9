"""The sources' input pipeline: a DataLoader whose dataset augments one image after the other with Pillow."""

import importlib.util
import math
import random
from collections.abc import Callable
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
from PIL import Image
from torch.utils.data import DataLoader, Dataset  # pyright: ignore[reportMissingImports]

_NEAREST = Image.Resampling.NEAREST


TRANSFORMS = "torchvision" if importlib.util.find_spec("torchvision") else "Pillow"
"""What augments: torchvision's transforms, as in the sources, where it is installed; else the same changes
made with Pillow directly, which takes half to a third of their time."""


class Digits(Dataset):
    """Images as a torchvision dataset gives them: each opened, changed and normalised when it is asked for.

    Args:
        images: uint8 `[n, 28, 28]`.
        labels: their labels.
        setup: `augmentation`, the fields of a `jaxmnist.config.Augmentation`, of which rotation, translation
            and perspective are known here; `mean` and `std`.
        augmented: whether images are changed, or only normalised, as for evaluation.
    """

    def __init__(
        self, images: torch.Tensor, labels: torch.Tensor, setup: dict[str, Any], augmented: bool
    ) -> None:
        self.images, self.labels = images.numpy(), labels.tolist()
        if not augmented:
            setup = setup | {"augmentation": dict.fromkeys(setup["augmentation"], 0)}
        self.transform = _torchvision(setup) if TRANSFORMS == "torchvision" else _Pillow(setup)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def _torchvision(setup: dict[str, Any]) -> Callable[[Image.Image], torch.Tensor]:
    from torchvision import transforms  # pyright: ignore[reportMissingImports]

    change = setup["augmentation"]
    steps: list[Any] = []
    if share := change["perspective"]:
        nearest = transforms.InterpolationMode.NEAREST
        steps.append(transforms.RandomPerspective(share, change["perspective_probability"], nearest))
    if angle := change["rotation"]:
        steps.append(transforms.RandomRotation(angle, fill=change["rotation_fill"]))
    if reach := change["translation"]:
        steps.append(transforms.RandomAffine(0, translate=(reach, reach)))
    to_tensor = [transforms.ToTensor(), transforms.Normalize((setup["mean"],), (setup["std"],))]
    return transforms.Compose([*steps, *to_tensor])


class _Pillow:
    def __init__(self, setup: dict[str, Any]) -> None:
        self.augmentation, self.mean, self.std = setup["augmentation"], setup["mean"], setup["std"]

    def __call__(self, image: Image.Image) -> torch.Tensor:
        changed = bytearray(self._augmented(image).tobytes())
        pixels = torch.frombuffer(changed, dtype=torch.uint8).view(1, 28, 28)
        return (pixels.float() / 255 - self.mean) / self.std

    def _augmented(self, image: Image.Image) -> Image.Image:
        change = self.augmentation
        if change["perspective"] and random.random() < change["perspective_probability"]:
            image = image.transform((28, 28), Image.Transform.PERSPECTIVE, self._corners(), _NEAREST)
        if angle := change["rotation"]:
            image = image.rotate(random.uniform(-angle, angle), _NEAREST, fillcolor=change["rotation_fill"])
        if reach := 28 * change["translation"]:
            right, down = (round(random.uniform(-reach, reach)) for _ in range(2))
            image = image.transform((28, 28), Image.Transform.AFFINE, (1, 0, -right, 0, 1, -down), _NEAREST)
        return image

    def _corners(self) -> list[float]:
        """Coefficients that move each corner inwards by a random whole number of pixels."""
        most = math.floor(self.augmentation["perspective"] * 14)
        rows, targets = [], []
        for x, y in ((0, 0), (27, 0), (27, 27), (0, 27)):
            new_x, new_y = (edge + random.randint(0, most) * (1 if edge == 0 else -1) for edge in (x, y))
            rows += [[new_x, new_y, 1, 0, 0, 0, -x * new_x, -x * new_y]]
            rows += [[0, 0, 0, new_x, new_y, 1, -y * new_x, -y * new_y]]
            targets += [x, y]
        return torch.linalg.solve(
            torch.tensor(rows, dtype=torch.float64), torch.tensor(targets).double()
        ).tolist()


def loader(
    images: torch.Tensor, labels: torch.Tensor, setup: dict[str, Any], workers: int, training: bool
) -> DataLoader:
    """Batches of whole size, from that many worker processes; 0 makes them in this one.

    For training shuffled and augmented, else in order and as they are.
    """
    return DataLoader(
        Digits(images, labels, setup, augmented=training),
        batch_size=setup["batch_size"],
        shuffle=training,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
