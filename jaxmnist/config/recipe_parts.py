"""What recipes are made of: augmentation, schedules of the learning rate, averaging of weights, a teacher."""

import dataclasses
from typing import Any, Literal

from jaxmnist.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes to a training image, applied in the order of these fields; zero means none.

    All draws are uniform. What comes in from outside is 0 unless said otherwise.
    """

    perspective: float = 0.0
    """Distortion: each corner moves inwards by up to this share of half the side, in whole pixels."""
    perspective_probability: float = 0.5
    """Share of the images that the perspective changes."""
    rotation: float = 0.0
    """Largest angle in degrees, to either side."""
    rotation_fill: int = 0
    """Grey value (0-255) of pixels that a rotation brings in from outside."""
    translation: float = 0.0
    """Largest shift of each axis as a share of the image side; rounded to whole pixels."""
    scale: float = 0.0
    """Largest change of size: the factor is from [1 - scale, 1 + scale]."""
    shear: float = 0.0
    """Largest angle in degrees by which upright lines lean, to either side."""
    elastic: float = 0.0
    """Strength alpha of the elastic change: each pixel moves by alpha / 2 times its blurred noise."""
    elastic_sigma: float = 3.0
    """Standard deviation in pixels of the Gaussian that blurs the elastic change's noise."""
    interpolation: Literal["nearest", "bilinear"] = "nearest"
    """How rotation, translation, scale and shear read pixels: from the nearest one, as the sources do with
    Pillow, or between four. A perspective copies the nearest ones, the elastic change reads between them."""
    fade: float = 0.0
    """Share of the training, its end, in which all changes become smaller, in equal parts from step to step."""
    fade_to: float = 0.0
    """What is left of their limits at the end of that, as a share."""

    def __post_init__(self) -> None:
        limits = {
            "perspective": (0, 1),
            "perspective_probability": (0, 1),
            "rotation": (0, 360),
            "rotation_fill": (0, 255),
            "translation": (0, 1),
            "scale": (0, 0.9),
            "shear": (0, 80),
            "elastic": (0, 1000),
            # The blur reaches four standard deviations; the border is mirrored once, 27 pixels.
            "elastic_sigma": (0.1, 6.7),
            "fade": (0, 1),
            "fade_to": (0, 1),
        }
        for field, (low, high) in limits.items():
            value = getattr(self, field)
            if not low <= value <= high:
                raise UsageError(
                    f"the augmentation has {field}={value!r}, which must be from {low} to {high}."
                )
        if self.interpolation not in ("nearest", "bilinear"):
            raise UsageError(
                f"the augmentation has interpolation={self.interpolation!r}, which must be 'nearest' or 'bilinear'."
            )
        if self.interpolation == "bilinear" and self.rotation_fill:
            raise UsageError(
                f"the augmentation has rotation_fill={self.rotation_fill!r}, which must be 0 with "
                "interpolation='bilinear': what comes in from outside is black there."
            )

    @property
    def in_effect(self) -> dict[str, Any]:
        """The changes that are switched on, and their details; nothing where images stay as they are."""
        values = dataclasses.asdict(self)
        changes = ("perspective", "rotation", "translation", "scale", "shear", "elastic")
        if not any(values[change] for change in changes):
            return {}
        return {
            name: value
            for name, value in values.items()
            if name == "interpolation" or values[name.split("_")[0]]
        }


@dataclasses.dataclass(frozen=True)
class Plateau:
    """When to cut the learning rate; semantics of `torch.optim.lr_scheduler.ReduceLROnPlateau`."""

    monitor: Literal["loss", "accuracy"] = "loss"
    """Watched metric of the selection split: loss (smaller is better) or accuracy in percent (larger)."""
    factor: float = 0.1
    """What the learning rate is multiplied by at a cut."""
    patience: int = 10
    """Epochs without improvement that are tolerated; the next one cuts."""
    threshold: float = 1e-4
    """Smallest relative change that counts as an improvement."""
    min_lr: float = 0.0
    """The learning rate never goes below this."""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A learning rate that depends on the step and the number of all steps, and on nothing else.

    It rises to the recipe's learning rate and then falls until the last step.
    """

    kind: Literal["one_cycle", "linear"] = "one_cycle"
    """Course of the rise and of the fall: half a cosine (L. N. Smith's one-cycle as PyTorch has it, without its
    change of momentum), or a straight line."""
    warm_up: float = 0.2
    """Share of the steps in which it rises; 0 begins with the full rate."""
    start_divisor: float = 25.0
    """The first step's rate is the recipe's divided by this, where there is a rise."""
    end_divisor: float | None = None
    """The rate that the fall ends with is the recipe's divided by this; none lets it end at zero. No step has it:
    the last one is a step before that."""

    def __post_init__(self) -> None:
        def require(field: str, holds: bool, wanted: str) -> None:
            if not holds:
                raise UsageError(
                    f"the schedule has {field}={getattr(self, field)!r}, which must be {wanted}."
                )

        require("kind", self.kind in ("one_cycle", "linear"), "'one_cycle' or 'linear'")
        require("warm_up", 0 <= self.warm_up < 1, "at least 0 and below 1")
        require("start_divisor", 1 <= self.start_divisor <= _MOST, f"from 1 to {_MOST:g}")
        require(
            "end_divisor",
            self.end_divisor is None or 1 <= self.end_divisor <= _MOST,
            f"from 1 to {_MOST:g}, or none",
        )


@dataclasses.dataclass(frozen=True)
class Averaging:
    """A moving average of weights and running statistics, which is evaluated, kept and exported in their place.

    After n steps of averaging the average keeps min(decay, (1 + n) / (10 + n)) of itself, so that early steps,
    the initial weights among them, are soon forgotten.
    """

    decay: float = 0.999
    """What the average keeps of itself at a step."""
    start_epoch: int = 0
    """First epochs that are not averaged: the average then is the last step's weights."""

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise UsageError(f"the averaging has decay={self.decay!r}, which must be at least 0 and below 1.")
        if self.start_epoch < 0:
            raise UsageError(f"the averaging has start_epoch={self.start_epoch!r}, which must be at least 0.")


@dataclasses.dataclass(frozen=True)
class Distillation:
    """Learning from a trained network's scores as well as from labels (Hinton, Vinyals and Dean 2015).

    The teacher sees the images that the step augments. Losses are reported without it.
    """

    teacher: str = ""
    """Folder of the teacher's run, of which the best epoch's weights are taken."""
    weight: float = 0.5
    """Share of the teacher in the objective; the labels have the rest."""
    temperature: float = 4.0
    """Scores of both networks are divided by it before they become probabilities."""

    def __post_init__(self) -> None:
        if not 0 < self.weight <= 1:
            raise UsageError(
                f"the distillation has weight={self.weight!r}, which must be above 0 and at most 1."
            )
        if not 0.1 <= self.temperature <= 1000:
            raise UsageError(
                f"the distillation has temperature={self.temperature!r}, which must be from 0.1 to 1000."
            )


_MOST = 1e9  # divisors beyond are zero in effect
