"""What the commands that train have in common: the options that make a configuration."""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from jaxmnist.commands.options import (
    Command,
    OptionalArch,
    OptionalDataset,
    OptionalFile,
    OptionalFloat,
    OptionalFolder,
    OptionalInt,
    OptionalRecipe,
    load_or_fall_back,
    merge_options,
    with_schedule,
)
from jaxmnist.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from jaxmnist.config import RunConfig
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
    """How to train; by default the network's own published recipe."""
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
    dropout: OptionalFloat = None
    """Instead of the network's own rates; 0 turns dropout off."""
    norm: Norm = None
    """Normalisation of evolution_v2 and evolution_v3."""
    select_on: SelectOn = None
    """What drives the schedule and picks the best checkpoint: held-out training images; or the test images
    with all training images trained on (the published protocol); or nothing: with last, all training images
    are trained on and the last epoch is kept, whatever its accuracy."""
    config: OptionalFile = None
    """JSON file with any of these settings, such as a run's config.json; options on this line come before it."""

    def configure(
        self, console: "Console", seed: int | None, learning_rate: float | None
    ) -> tuple["RunConfig", "Dataset"]:
        """What to train, from the configuration file and the options; and the data.

        Args:
            console: gets a warning where the data are not MNIST.
            seed, learning_rate: instead of the file's or the recipe's.

        Raises:
            UsageError: an option or the file asks for what does not exist.
            DataError: the data cannot be had, or are not those that the file is about.
        """
        from jaxmnist.config import read_file, run_config
        from jaxmnist.optim import make_optimizer
        from jaxmnist.runs import require_data_of_run

        values = {} if self.config is None else read_file(self.config)
        options = ("arch", "dataset", "dropout", "norm", "select_on")
        recipe_options = ("epochs", "batch_size", "weight_decay", "decay_on")
        changes: dict[str, Any] = {name: getattr(self, name) for name in recipe_options}
        changes |= {"learning_rate": learning_rate, "nesterov": self.nesterov or None}
        changes |= {"averaging": None if self.averaging is None else {"decay": self.averaging}}
        given = {name: getattr(self, name) for name in options} | {"seed": seed}
        values = merge_options(values, given, self.recipe, changes)
        if self.schedule is not None:
            values["recipe"] = with_schedule(values["recipe"], self.schedule)
        try:
            config = run_config(values)
            config.create_model()
            make_optimizer(config.recipe)
        except UsageError as error:
            if self.config is None:
                raise
            raise UsageError(f"with --config {self.config}: {error}") from error
        dataset = load_or_fall_back(console, values.get("dataset"), self.data_dir)
        if self.config is not None and config.data_fingerprint:
            require_data_of_run(config, dataset, self.config)
        return dataclasses.replace(
            config, dataset=dataset.name, data_fingerprint=dataset.fingerprint
        ), dataset
