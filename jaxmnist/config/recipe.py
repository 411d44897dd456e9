"""A recipe as a frozen dataclass, and what makes one impossible."""

import dataclasses
import math
from typing import Literal

from jaxmnist.config.recipe_parts import Augmentation, Averaging, Distillation, Plateau, Schedule
from jaxmnist.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train, whatever the arch, the dataset and the seed."""

    name: str
    """Its own name, as given to `--recipe`."""
    epochs: int = 15
    """Passes over the training images."""
    batch_size: int = 64
    """Images per step; the last batch of an epoch may be smaller."""
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    """SGD with momentum, Adam or AdamW (betas 0.9 and 0.999, epsilon 1e-8)."""
    learning_rate: float = 0.01
    """Learning rate at the start."""
    momentum: float = 0.9
    """Momentum of SGD: v = momentum v + g; w = w - learning_rate v. Adam and AdamW do not use it."""
    weight_decay: float = 0.0
    """Pull of every parameter towards 0: part of the gradient (L2) in SGD and Adam, decoupled in AdamW."""
    label_smoothing: float = 0.0
    """Share of the target that is spread evenly over all classes. Losses are reported without it."""
    plateau: Plateau | None = None
    """Learning-rate cuts; none, and no schedule, keep the rate constant."""
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    """Random changes to the training images."""
    repeat_epochs: bool = False
    """Every epoch repeats the first one's order and random draws: augmentation and dropout as well."""
    deskew: bool = False
    """Make images upright by their moments, in training after the augmentation and wherever the network is used; see
    `jaxmnist.augment.deskew`."""
    mean: float = 0.1307
    """Subtracted from pixels scaled to [0, 1]."""
    std: float = 0.3081
    """Divides the difference."""
    best_model: float = 0.0
    """Accuracy in percent that an epoch must reach to count as one to keep; see `ignored_epochs`."""
    ignored_epochs: int = 0
    """First epochs that do not count. Where no epoch counts, the best of all is kept and results say so."""
    default_seed: int = 1
    """Seed of runs that name none: the source's own."""
    schedule: Schedule | None = None
    """Course of the learning rate by steps; excludes a plateau."""
    nesterov: bool = False
    """Nesterov's form of momentum, as PyTorch has it: v = momentum v + g; w = w - learning_rate (g + momentum v)."""
    decay_on: Literal["everything", "kernels"] = "everything"
    """What weight decay pulls: every parameter, or kernels only: neither biases nor scales of normalisation."""
    averaging: Averaging | None = None
    """Average of weights and running statistics that takes their place wherever a network is used."""
    dropout: float | None = None
    """Instead of the network's own rates; 0 turns dropout off."""
    initialiser: Literal["uniform", "he", "orthogonal"] = "uniform"
    """Initial kernels: uniform within 1 / sqrt(fan-in) as the sources', biases too; or He's normal ones or orthogonal
    ones, with biases 0."""
    distillation: Distillation | None = None
    """A teacher to learn from, too."""

    def __post_init__(self) -> None:
        def require(field: str, holds: bool, wanted: str) -> None:
            if not holds:
                raise UsageError(
                    f"recipe {self.name!r} has {field}={getattr(self, field)!r}, which must be {wanted}."
                )

        for field in ("epochs", "batch_size", "learning_rate", "std"):
            require(field, getattr(self, field) > 0, "above 0")
        for field in ("learning_rate", "weight_decay", "mean", "std"):
            require(field, math.isfinite(getattr(self, field)), "finite")
        # More would run out of the step's 32 bits, or of memory.
        for field, most in (("epochs", 1_000_000), ("batch_size", 65_536)):
            require(field, getattr(self, field) <= most, f"at most {most:,}")
        for field in ("weight_decay", "ignored_epochs"):
            require(field, getattr(self, field) >= 0, "at least 0")
        for field in ("momentum", "label_smoothing"):
            require(field, 0 <= getattr(self, field) < 1, "at least 0 and below 1")
        require("dropout", self.dropout is None or 0 <= self.dropout < 1, "at least 0 and below 1, or none")
        require("best_model", 0 <= self.best_model <= 100, "a percentage")
        require("decay_on", self.decay_on in ("everything", "kernels"), "'everything' or 'kernels'")
        initialisers = ("uniform", "he", "orthogonal")
        require("initialiser", self.initialiser in initialisers, "'uniform', 'he' or 'orthogonal'")
        has_momentum = self.optimizer == "sgd" and self.momentum > 0
        require("nesterov", has_momentum or not self.nesterov, "false without the momentum of sgd")
        if self.schedule is not None and self.plateau is not None:
            raise UsageError(
                f"recipe {self.name!r} has a schedule and a plateau, which both decide the learning rate; set one of "
                "them to null."
            )
        if self.averaging is not None and self.averaging.start_epoch >= self.epochs:
            raise UsageError(
                f"recipe {self.name!r} begins to average after {self.averaging.start_epoch} epochs, which must be "
                f"fewer than its {self.epochs}; lower averaging.start_epoch."
            )
        if self.distillation is not None and not self.distillation.teacher:
            raise UsageError(
                f"recipe {self.name!r} has a distillation without a teacher; set distillation.teacher to the folder of "
                "a run."
            )
        require("optimizer", self.optimizer in ("sgd", "adam", "adamw"), "'sgd', 'adam' or 'adamw'")

    def total_steps(self, images: int) -> int:
        """Steps of a whole training on so many images."""
        return self.epochs * -(-images // self.batch_size)
