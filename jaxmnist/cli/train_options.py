"""Options that make up a configuration, shared by the commands that train."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jaxmnist.cli.options import (
    Command,
    OptionalArch,
    OptionalDataset,
    OptionalFile,
    OptionalFit,
    OptionalFloat,
    OptionalFolder,
    OptionalInt,
    OptionalRecipe,
    Settings,
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
    Literal["constant", "one_cycle", "linear", "step"] | None,
    tyro.conf.arg(metavar="{constant,one_cycle,linear,step}", help_behavior_hint=""),
]


@dataclasses.dataclass(frozen=True)
class TrainingCommand(Command):
    """Base class of the commands that train."""

    arch: OptionalArch = None
    """Network, or a flax.linen.Module class of your own: FILE.py:CLASS or PACKAGE.MODULE:CLASS; by default third."""
    recipe: OptionalRecipe = None
    """Recipe; by default the network's own. Replaces the whole recipe of a --config file."""
    dataset: OptionalDataset = None
    """Dataset; by default mnist, or the embedded digits if mnist cannot be found. Or the PATH of your own images: a
    folder (train/CLASS/*.png and test/CLASS/*.png, or CLASS/*.png), an .npz or .csv file, or a folder of IDX files."""
    data_dir: OptionalFolder = None
    """Folder with the four IDX files (plain or .gz), or with a subfolder named after the dataset."""
    fit: OptionalFit = None
    """The way pictures of your own become 28x28: pad (the default) and stretch average areas, mnist centres the ink as
    in MNIST."""
    test: OptionalFile = None
    """CSV file with the test images of a CSV file."""
    epochs: OptionalInt = None
    """Replaces the recipe's number of epochs."""
    batch_size: OptionalInt = None
    """Replaces the recipe's batch size."""
    schedule: Schedule = None
    """Replaces the recipe's schedule or plateau. The learning rate stays constant, or rises in the first fifth of the
    steps and then falls to zero, each in half a cosine (one_cycle) or a straight line (linear), or falls to a tenth
    every three epochs (step). For details use --set schedule.FIELD=VALUE."""
    weight_decay: OptionalFloat = None
    """Replaces the recipe's weight decay."""
    dropout: OptionalFloat = None
    """Replaces the rates of the recipe and the network; 0 turns dropout off."""
    settings: Settings = ()
    """Sets any other field of the recipe; a dot leads to the field of a part: --set deskew=true --set
    augmentation.rotation=5 --set plateau=null."""
    norm: Norm = None
    """Normalisation of evolution_v2 and evolution_v3."""
    select_on: SelectOn = None
    """Images that drive the plateau and pick the best epoch: held-out training images (val), or the test images, as
    published (test). With last there are none, and the last epoch is kept. With test and last, training uses all
    training images."""
    folds: OptionalInt = None
    """Cross-validation: divides the training images into this many equal parts and holds one out: the last for seed 1,
    the one before it for seed 2, and so on. By default the last twelfth is held out."""
    config: OptionalFile = None
    """JSON file with any of these settings, such as the config.json of a run; options overrule it."""

    def configure(
        self,
        console: "Console",
        seed: int | None,
        learning_rate: float | Literal["auto"] | None,
        init_from: Path | None = None,
    ) -> tuple["RunConfig", "Dataset"]:
        """Makes the configuration from the file and the options, and loads the data.

        Args:
            console: console for a warning if the data are not MNIST.
            seed: replaces the seed of the file or the recipe.
            learning_rate: replaces the learning rate of the file or the recipe.
            init_from: a run or weights file, whose network is trained unless an option or the file names one.

        Raises:
            UsageError: a value of an option or of the file is wrong.
            DataError: the data cannot be found, or are not those named in the file.
        """
        from jaxmnist.config.run import read_file, with_data
        from jaxmnist.config.settings import parse_settings
        from jaxmnist.data import is_path
        from jaxmnist.runs.folder import require_data_of_run
        from jaxmnist.training import RECIPE_OPTIONS, RUN_OPTIONS, checked_config

        names = {*RUN_OPTIONS, *RECIPE_OPTIONS, "recipe", "schedule"} - {"seed", "learning_rate"}
        options = {name: getattr(self, name) for name in names}
        options |= {"seed": seed, "learning_rate": learning_rate}
        if init_from is not None and self.arch is None and self.config is None:
            from jaxmnist.runs.initial import arch_of

            options["arch"] = arch_of(init_from)
        settings = parse_settings(self.settings)
        values = {} if self.config is None else read_file(self.config)
        try:
            config = checked_config(values, options, settings)
        except UsageError as error:
            if self.config is None:
                raise
            raise UsageError(f"with --config {self.config}: {error}") from error
        in_file = values if self.dataset is None and is_path(config.dataset) else {}
        fit, test = self.fit or in_file.get("fit"), self.test or in_file.get("test_path")
        dataset = load_or_fall_back(console, config.dataset or None, self.data_dir, fit, test)
        if self.config is not None and config.data_fingerprint:
            require_data_of_run(config, dataset, self.config)
        return with_data(config, dataset), dataset
