"""The `train` command."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jaxmnist.commands.options import (
    Arch,
    Command,
    OptionalDataset,
    OptionalFloat,
    OptionalFolder,
    OptionalInt,
    OptionalRecipe,
    select_recipe,
)
from jaxmnist.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from jaxmnist.data import Dataset


@dataclasses.dataclass(frozen=True)
class Train(Command):
    """Train a network and keep metrics, checkpoints and plots in a run folder."""

    arch: Arch = "third"
    """Network."""
    recipe: OptionalRecipe = None
    """How to train; by default the network's own published recipe."""
    dataset: OptionalDataset = None
    """What to train on. Without this option mnist, or the embedded digits where mnist cannot be had."""
    data_dir: OptionalFolder = None
    """Folder with the four IDX files (plain or .gz), or with a subfolder named after the dataset."""
    seed: int = 1
    """Seed of weights, order, augmentation and dropout."""
    epochs: OptionalInt = None
    """Instead of the recipe's."""
    batch_size: OptionalInt = None
    """Instead of the recipe's."""
    learning_rate: OptionalFloat = None
    """Instead of the recipe's."""
    select_on: Literal["val", "test"] = "val"
    """What drives the schedule and picks the best checkpoint: held-out training images, or the test images
    with all training images trained on (the published protocol)."""
    runs: Path = Path("runs")
    """Folder that the run folder is made in."""
    resume: OptionalFolder = None
    """Run folder to go on with, under its own configuration."""

    def run(self) -> None:
        from jaxmnist import runs
        from jaxmnist.data import load_dataset
        from jaxmnist.fit import fit
        from jaxmnist.models import create_model
        from jaxmnist.models.structure import layers, totals
        from jaxmnist.report import terminal
        from jaxmnist.report.plots import save_curves
        from jaxmnist.report.summary import print_network

        console = self.console()
        if self.resume is not None:
            self._refuse_configuration()
            run, config = self.resume, runs.read_config(self.resume)
            dataset = load_dataset(config.dataset, self.data_dir)
            device = self.start()
        else:
            recipe = select_recipe(
                self.arch,
                self.recipe,
                epochs=self.epochs,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
            )
            dataset = self._load_or_fall_back(console)
            config = runs.RunConfig(
                arch=self.arch,
                recipe=recipe,
                dataset=dataset.name,
                seed=self.seed,
                select_on=self.select_on,
                data_fingerprint=dataset.fingerprint,
            )
            device = self.start()
            run = runs.create_run(self.runs, config, runs.environment(device))
        network = layers(create_model(config.arch))
        print_network(console, config.arch, network, totals(network))
        terminal.print_setup(console, config, dataset, device, run)
        with terminal.TrainingDisplay(console, config.recipe.epochs) as display:
            results = fit(config, dataset, run, device, display)
        save_curves(run)
        if self.json:
            print(json.dumps(results | {"run": str(run)}))
        else:
            terminal.print_results(console, results, run)

    def _refuse_configuration(self) -> None:
        # What the run does not decide itself, and may differ from session to session.
        free = ("resume", "data_dir", *(field.name for field in dataclasses.fields(Command)))
        given = [
            field.name
            for field in dataclasses.fields(self)
            if field.name not in free and getattr(self, field.name) != field.default
        ]
        if given:
            option = given[0].replace("_", "-")
            raise UsageError(
                f"--resume goes on under the configuration of {self.resume}; leave out --{option}, "
                "or start a new run with it."
            )

    def _load_or_fall_back(self, console: "Console") -> "Dataset":
        from jaxmnist.data import DataUnavailableError, load_dataset
        from jaxmnist.report.terminal import print_warning_box

        try:
            return load_dataset(self.dataset or "mnist", self.data_dir)
        except DataUnavailableError as error:
            if self.dataset is not None:
                raise
            print_warning_box(
                console,
                "This is not MNIST. The run goes on with the digits embedded in scikit-learn: 1,797 handwritten "
                f"digits of 8x8 pixels, scaled to 28x28.\n\nThe reason: {error}",
            )
            return load_dataset("digits")
