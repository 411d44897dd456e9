"""What the commands that train have in common: the options that make a configuration."""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jaxmnist.cli.options import (
    Command,
    OptionalArch,
    OptionalDataset,
    OptionalFile,
    OptionalFloat,
    OptionalFolder,
    OptionalInt,
    OptionalRecipe,
    load_or_fall_back,
)
from jaxmnist.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from jaxmnist.config.run import RunConfig
    from jaxmnist.data import Dataset

Norm = Annotated[
    Literal["batch", "layer", "group"] | None,
    tyro.conf.arg(metavar="{batch,layer,group}", help_behavior_hint="(default: batch)"),
]
SelectOn = Annotated[
    Literal["val", "test", "last"] | None,
    tyro.conf.arg(metavar="{val,test,last}", help_behavior_hint="(default: val)"),
]
Schedule = Annotated[
    Literal["constant", "one_cycle", "linear"] | None,
    tyro.conf.arg(metavar="{constant,one_cycle,linear}", help_behavior_hint=""),
]
DecayOn = Annotated[
    Literal["everything", "kernels"] | None,
    tyro.conf.arg(metavar="{everything,kernels}", help_behavior_hint=""),
]


@dataclasses.dataclass(frozen=True)
class TrainingCommand(Command):
    """Options of the commands that train."""

    arch: OptionalArch = None
    """Network; by default third."""
    recipe: OptionalRecipe = None
    """How to train; by default the network's own. Takes the place of the whole recipe in a file for --config."""
    dataset: OptionalDataset = None
    """What to train on. Without this option mnist, or the embedded digits where mnist cannot be had."""
    data_dir: OptionalFolder = None
    """Folder with the four IDX files (plain or .gz), or with a subfolder named after the dataset."""
    epochs: OptionalInt = None
    """Instead of the recipe's."""
    batch_size: OptionalInt = None
    """Instead of the recipe's."""
    schedule: Schedule = None
    """Instead of the recipe's schedule or plateau: the rate rises and falls in half a cosine each (one_cycle) or in
    straight lines (linear), down to zero, with the rise in the first fifth; or stays. --config sets the details."""
    nesterov: bool = False
    """Nesterov's form of momentum."""
    weight_decay: OptionalFloat = None
    """Instead of the recipe's."""
    decay_on: DecayOn = None
    """What weight decay pulls: everything, or kernels only."""
    averaging: OptionalFloat = None
    """Use the average of weights and running statistics over the steps, of which a step keeps this share; 0.999."""
    deskew: bool = False
    """Make images upright by their moments before the network sees them."""
    dropout: OptionalFloat = None
    """Instead of the recipe's and the network's own rates; 0 turns dropout off."""
    norm: Norm = None
    """Normalisation of evolution_v2 and evolution_v3."""
    select_on: SelectOn = None
    """What drives the schedule and picks the best checkpoint: held-out training images; or the test images
    with all training images trained on (the published protocol); or nothing: with last, all training images
    are trained on and the last epoch is kept, whatever its accuracy."""
    folds: OptionalInt = None
    """Divide the training images into so many equal parts and hold one out: the last with seed 1, the one before it
    with seed 2, and so on (cross-validation). By default the last twelfth is held out."""
    config: OptionalFile = None
    """JSON file with any of these settings, such as a run's config.json; options on this line come before it."""

    def configure(
        self, console: "Console", seed: int | None, learning_rate: float | Literal["auto"] | None
    ) -> tuple["RunConfig", "Dataset"]:
        """What to train, from the configuration file and the options; and the data.

        Args:
            console: gets a warning where the data are not MNIST.
            seed, learning_rate: instead of the file's or the recipe's.

        Raises:
            UsageError: an option or the file asks for what does not exist.
            DataError: the data cannot be had, or are not those that the file is about.
        """
        from jaxmnist.api import RECIPE_OPTIONS, RUN_OPTIONS, checked_config, with_data
        from jaxmnist.config.run import read_file
        from jaxmnist.runs.folder import require_data_of_run

        names = (*RUN_OPTIONS, *RECIPE_OPTIONS, "recipe", "schedule")
        options = {name: getattr(self, name) for name in names if name not in ("seed", "learning_rate")}
        options |= {"seed": seed, "learning_rate": learning_rate}
        options |= {"nesterov": self.nesterov or None, "deskew": self.deskew or None}
        values = {} if self.config is None else read_file(self.config)
        try:
            config = checked_config(values, options)
        except UsageError as error:
            if self.config is None:
                raise
            raise UsageError(f"with --config {self.config}: {error}") from error
        dataset = load_or_fall_back(console, config.dataset or None, self.data_dir)
        if self.config is not None and config.data_fingerprint:
            require_data_of_run(config, dataset, self.config)
        return with_data(config, dataset), dataset
