"""Parts of a recipe: augmentation, plateau, learning-rate schedule, averaging, distillation and range test."""

import dataclasses
from typing import Annotated, Any, Literal

from jaxmnist.config.limits import Limits, check_fields
from jaxmnist.errors import UsageError


class _Part:
    """Base class that checks the fields of a part when it is made."""

    def __post_init__(self) -> None:
        check_fields(self, f"the {type(self).__name__.lower()}")


@dataclasses.dataclass(frozen=True)
class Augmentation(_Part):
    """Random changes to a training image, applied in the order of these fields; 0 turns a change off.

    All draws are uniform. Pixels from outside the image are 0 unless stated otherwise.
    """

    perspective: Annotated[float, Limits(at_least=0, at_most=1)] = 0.0
    """Distortion: each corner moves inwards by up to this share of half the side, in whole pixels."""
    perspective_probability: Annotated[float, Limits(at_least=0, at_most=1)] = 0.5
    """Share of the images that the perspective changes."""
    rotation: Annotated[float, Limits(at_least=0, at_most=360)] = 0.0
    """Largest angle in degrees, to either side."""
    rotation_fill: Annotated[int, Limits(at_least=0, at_most=255)] = 0
    """Grey value (0-255) of pixels that a rotation brings in from outside."""
    translation: Annotated[float, Limits(at_least=0, at_most=1)] = 0.0
    """Largest shift along each axis as a share of the side; rounded to whole pixels."""
    scale: Annotated[float, Limits(at_least=0, at_most=0.9)] = 0.0
    """Largest change of size: the factor is drawn from [1 - scale, 1 + scale]."""
    shear: Annotated[float, Limits(at_least=0, at_most=80)] = 0.0
    """Largest angle in degrees by which upright lines lean, to either side."""
    elastic: Annotated[float, Limits(at_least=0, at_most=1000)] = 0.0
    """Strength alpha of the elastic change: each pixel moves by alpha / 2 times its blurred noise."""
    # The blur reaches four standard deviations; the border is mirrored once, 27 pixels.
    elastic_sigma: Annotated[float, Limits(at_least=0.1, at_most=6.7)] = 3.0
    """Standard deviation in pixels of the Gaussian that blurs the noise of the elastic change."""
    interpolation: Literal["nearest", "bilinear"] = "nearest"
    """Reading of pixels by rotation, translation, scale and shear: the nearest one, as the sources do with Pillow, or
    between four. The perspective always takes the nearest one, the elastic change always reads between four."""
    fade: Annotated[float, Limits(at_least=0, at_most=1)] = 0.0
    """Share of the steps, at the end of training, over which all limits shrink linearly."""
    fade_to: Annotated[float, Limits(at_least=0, at_most=1)] = 0.0
    """Share of the limits that is left at the end of the fade."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.interpolation == "bilinear" and self.rotation_fill:
            raise UsageError(
                f"the augmentation has rotation_fill={self.rotation_fill!r}, which must be 0 with "
                "interpolation='bilinear', where pixels from outside are black."
            )

    @property
    def in_effect(self) -> dict[str, Any]:
        """Changes that are switched on, with their details; empty if images stay as they are."""
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
class Plateau(_Part):
    """Learning-rate cuts with the semantics of `torch.optim.lr_scheduler.ReduceLROnPlateau`."""

    monitor: Literal["loss", "accuracy"] = "loss"
    """Watched metric of the selecting split: loss (lower is better) or accuracy in percent (higher is better)."""
    factor: Annotated[float, Limits(above=0)] = 0.1
    """Factor of the learning rate at a cut."""
    patience: Annotated[int, Limits(at_least=0)] = 10
    """Epochs without improvement that are tolerated; the next one cuts."""
    threshold: Annotated[float, Limits(at_least=0)] = 1e-4
    """Smallest relative change that counts as an improvement."""
    min_lr: Annotated[float, Limits(at_least=0)] = 0.0
    """Lower bound of the learning rate."""


@dataclasses.dataclass(frozen=True)
class Schedule(_Part):
    """A learning rate that depends on the step and the number of all steps only.

    It rises to the recipe's learning rate and then falls until the last step; or, as `step`, it falls every few epochs.
    """

    kind: Literal["one_cycle", "linear", "step"] = "one_cycle"
    """Shape of rise and fall: half a cosine (L. N. Smith's one-cycle, without its change of momentum), or a straight
    line; or steps down, as PyTorch's `StepLR`, for which only `every` and `factor` matter. The turns of the first two
    are Optax's: the rise takes `warm_up` of the steps, and the fall ends one step after the last.

    In PyTorch's `OneCycleLR` of equal arguments both the peak and the end come one step earlier. The rates here equal
    its rates for one step more in the whole and in the rise, without the last of them. They stay so, as the figures of
    `flagship` were measured with them.
    """
    warm_up: Annotated[float, Limits(at_least=0, below=1)] = 0.2
    """Share of the steps in which it rises; 0 starts at the full learning rate."""
    # Larger divisors are zero in effect.
    start_divisor: Annotated[float, Limits(at_least=1, at_most=10**9)] = 25.0
    """Divisor of the recipe's learning rate at the first step, if there is a rise."""
    end_divisor: Annotated[float | None, Limits(at_least=1, at_most=10**9)] = None
    """Divisor of the recipe's learning rate at the end of the fall, one step after the last; None lets it fall to 0."""
    every: Annotated[int, Limits(at_least=1)] = 3
    """Epochs from one step down to the next."""
    factor: Annotated[float, Limits(above=0, at_most=1)] = 0.1
    """Factor of a step down."""

    @property
    def in_effect(self) -> dict[str, Any]:
        """Fields that matter to its kind."""
        names = ("every", "factor") if self.kind == "step" else ("warm_up", "start_divisor", "end_divisor")
        return {name: getattr(self, name) for name in ("kind", *names)}


@dataclasses.dataclass(frozen=True)
class Averaging(_Part):
    """Moving average of weights and running statistics, which is evaluated, kept and exported in their place.

    After n averaged steps it keeps min(decay, (1 + n) / (10 + n)) of itself, so early steps, and with them the initial
    weights, are soon forgotten.
    """

    decay: Annotated[float, Limits(at_least=0, below=1)] = 0.999
    """Share of itself that the average keeps at a step."""
    start_epoch: Annotated[int, Limits(at_least=0)] = 0
    """Epochs before averaging starts, in which the average equals the last step's weights."""


@dataclasses.dataclass(frozen=True)
class Distillation(_Part):
    """Learning from a trained network's scores as well as from labels (Hinton, Vinyals and Dean 2015).

    The teacher sees the augmented images. Reported losses leave it out.
    """

    teacher: str = ""
    """Run folder of the teacher, whose best epoch is used."""
    weight: Annotated[float, Limits(above=0, at_most=1)] = 0.5
    """Share of the teacher in the objective; the labels have the rest."""
    temperature: Annotated[float, Limits(at_least=0.1, at_most=1000)] = 4.0
    """Divisor of both networks' scores before they become probabilities."""


@dataclasses.dataclass(frozen=True)
class RateRange(_Part):
    """Range test of `find_lr` and `--lr auto` for a recipe; None for the default of those commands."""

    # The largest float32 is 3.4e38.
    start: Annotated[float | None, Limits(above=0, at_most=1e38)] = None
    """Learning rate of the first step."""
    end: Annotated[float | None, Limits(above=0, at_most=1e38)] = None
    """Learning rate of the last step."""
    steps: Annotated[int | None, Limits(at_least=2)] = None
    """Number of steps."""
