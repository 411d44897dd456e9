"""A recipe as a frozen dataclass, and the combinations that it refuses."""

import dataclasses
import re
from typing import Annotated, Literal

from jaxmnist.config.limits import Limits, check_fields
from jaxmnist.config.parsing import shown
from jaxmnist.config.recipe_parts import Augmentation, Averaging, Distillation, Plateau, RateRange, Schedule
from jaxmnist.errors import UsageError

_NAME = re.compile(r"[\w.+-]{1,100}")  # becomes part of the run folder's name

MOST_TILT = 30
"""Largest `Recipe.tilt`."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run except the arch, the dataset and the seed."""

    name: str
    """Its name, as given to `--recipe`."""
    # The upper limits keep the number of steps within 32 bits and a batch within memory.
    epochs: Annotated[int, Limits(above=0, at_most=1_000_000)] = 15
    """Passes over the training images."""
    batch_size: Annotated[int, Limits(above=0, at_most=65_536)] = 64
    """Images per step; the last batch of an epoch may be smaller."""
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    """SGD with momentum, Adam or AdamW (betas 0.9 and 0.999, epsilon 1e-8)."""
    learning_rate: Annotated[float, Limits(above=0)] = 0.01
    """Learning rate at the start; with a schedule, its highest."""
    momentum: Annotated[float, Limits(at_least=0, below=1)] = 0.9
    """Momentum of SGD: v = momentum v + g; w = w - learning_rate v. Adam and AdamW ignore it."""
    weight_decay: Annotated[float, Limits(at_least=0)] = 0.0
    """Pull of parameters towards 0: part of the gradient (L2) in SGD and Adam, decoupled in AdamW."""
    label_smoothing: Annotated[float, Limits(at_least=0, below=1)] = 0.0
    """Share of the target that is spread evenly over all classes. Reported losses leave it out."""
    plateau: Plateau | None = None
    """Learning-rate cuts on a plateau. Without a plateau or a schedule the learning rate is constant."""
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    """Random changes to the training images."""
    repeat_epochs: bool = False
    """True to repeat the first epoch's order and random draws (augmentation, dropout) in every epoch."""
    deskew: bool = False
    """True to make images upright by their moments, in training after the augmentation and in every other use of the
    network; see `jaxmnist.augment.moments.deskew`."""
    rescale: bool = False
    """True to centre images and bring their ink's height and width to a common spread, after `deskew`; see
    `jaxmnist.augment.moments.rescale`."""
    tilt: Annotated[float, Limits(at_least=0, at_most=MOST_TILT)] = 0.0
    """Test-time augmentation: after training an image is seen as it is and tilted to either side by this many degrees,
    and its scores are the mean of the three; 0 for the image alone. See `jaxmnist.augment.views.tilted`."""
    mean: Annotated[float, Limits()] = 0.1307
    """Subtracted from pixels scaled to [0, 1]."""
    std: Annotated[float, Limits(above=0)] = 0.3081
    """Divisor of the difference."""
    best_model: Annotated[float, Limits(at_least=0, at_most=100)] = 0.0
    """Accuracy in percent that an epoch must reach to count as best; see `ignored_epochs`."""
    ignored_epochs: Annotated[int, Limits(at_least=0)] = 0
    """First epochs that never count as best. If no epoch counts, the highest score is kept and the results say so."""
    default_seed: int = 1
    """Seed of runs that name none; the source's own."""
    schedule: Schedule | None = None
    """Course of the learning rate over the steps; excludes a plateau."""
    nesterov: bool = False
    """Nesterov momentum as in PyTorch: v = momentum v + g; w = w - learning_rate (g + momentum v)."""
    decay_on: Literal["everything", "kernels"] = "everything"
    """Parameters that weight decay pulls: all, or kernels only (no biases, no scales of normalisations)."""
    averaging: Averaging | None = None
    """Average of weights and running statistics that replaces them wherever the network is used."""
    dropout: Annotated[float | None, Limits(at_least=0, below=1)] = None
    """Replaces the network's own rates; 0 turns dropout off."""
    initialiser: Literal["uniform", "he", "orthogonal"] = "uniform"
    """Initial kernels: uniform within 1 / sqrt(fan-in) with biases alike, as in the sources; or He normal or orthogonal
    with biases 0."""
    distillation: Distillation | None = None
    """Teacher to learn from in addition to the labels."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Factors of the products in a training step of the networks of this package; bfloat16 is faster on accelerators
    with units for it. Sums, normalisation, weights and every evaluation stay in float32."""
    rate_range: RateRange | None = None
    """Range of learning rates that a range test tries; the training does not depend on it."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                f"recipe.name is {shown(self.name)}, which must be up to 100 letters, digits and characters of ._+-."
            )
        title = f"recipe {self.name!r}"
        check_fields(self, title)
        if self.nesterov and (self.optimizer != "sgd" or not self.momentum):
            raise UsageError(f"{title} has nesterov=True, which must be false without the momentum of sgd.")
        if self.schedule is not None and self.plateau is not None:
            raise UsageError(
                f"{title} has a schedule and a plateau, which both set the learning rate; set one of them to null."
            )
        if self.averaging is not None and self.averaging.start_epoch >= self.epochs:
            raise UsageError(
                f"{title} starts averaging after {self.averaging.start_epoch} epochs, which must be fewer than its "
                f"{self.epochs}; lower averaging.start_epoch."
            )
        if self.distillation is not None and not self.distillation.teacher:
            raise UsageError(
                f"{title} has a distillation without a teacher; set distillation.teacher to a run folder."
            )

    @property
    def views(self) -> int:
        """Number of times that the network sees an image to classify it."""
        return 3 if self.tilt else 1

    def total_steps(self, images: int) -> int:
        """Returns the steps of a whole training on that many images."""
        return self.epochs * -(-images // self.batch_size)
