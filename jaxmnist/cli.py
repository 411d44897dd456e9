"""The command line: one dataclass per command. `scripts/` and the `jaxmnist` entry point call `main`.

Only names are imported here; what a command needs loads when it runs, so that `--help` is quick.
"""

import dataclasses
import json
import logging
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from jaxmnist.data import DATASETS
from jaxmnist.errors import JaxmnistError, UsageError, unknown_name
from jaxmnist.models import ARCHS
from jaxmnist.recipes import RECIPES, Recipe, get_recipe

Arch = Annotated[str, tyro.conf.arg(metavar="{" + ",".join(ARCHS) + "}")]
RecipeName = Annotated[str, tyro.conf.arg(metavar="{" + ",".join(RECIPES) + "}")]
DatasetName = Annotated[str, tyro.conf.arg(metavar="{" + ",".join(DATASETS) + "}")]
Device = Literal["auto", "cpu", "gpu", "metal", "tpu"]


@dataclasses.dataclass(frozen=True)
class _Command:
    device: Device = "auto"
    """Where to compute; auto prefers any accelerator."""
    json: bool = False
    """Print the results as one JSON object; everything else goes to standard error."""
    compile_cache: bool = True
    """Keep compiled programs between runs."""
    debug: bool = False
    """Show the traceback of an error."""

    def start(self) -> Any:
        """The device, after telling JAX where it is and where compiled programs are kept."""
        from jaxmnist.parallel import select_device, use_compile_cache

        device = select_device(self.device)
        if self.compile_cache:
            use_compile_cache()
        return device

    def console(self) -> Any:
        """Where messages go: not into the JSON."""
        from rich.console import Console

        return Console(stderr=self.json)


@dataclasses.dataclass(frozen=True)
class Train(_Command):
    """Train a network and keep metrics, checkpoints and plots in a run folder."""

    arch: Arch = "third"
    """Network."""
    recipe: RecipeName | None = None
    """How to train; by default the network's own published recipe."""
    dataset: DatasetName | None = None
    """What to train on. Without this option mnist, or the embedded digits where mnist cannot be had."""
    data_dir: Path | None = None
    """Folder with the four IDX files (plain or .gz), or with a subfolder named after the dataset."""
    seed: int = 1
    """Seed of weights, order, augmentation and dropout."""
    epochs: int | None = None
    """Instead of the recipe's."""
    batch_size: int | None = None
    """Instead of the recipe's."""
    learning_rate: float | None = None
    """Instead of the recipe's."""
    select_on: Literal["val", "test"] = "val"
    """What drives the schedule and picks the best checkpoint: held-out training images, or the test images
    with all training images trained on (the published protocol)."""
    runs: Path = Path("runs")
    """Folder that the run folder is made in."""
    resume: Path | None = None
    """Run folder to go on with, under its own configuration."""

    def run(self) -> None:
        from jaxmnist import runs
        from jaxmnist.data import load_dataset
        from jaxmnist.fit import fit
        from jaxmnist.models import create_model
        from jaxmnist.models.structure import layers
        from jaxmnist.report import terminal
        from jaxmnist.report.plots import save_curves

        console = self.console()
        if self.resume is not None:
            self._refuse_configuration()
            run, config = self.resume, runs.read_config(self.resume)
            dataset = load_dataset(config.dataset, self.data_dir)
            device = self.start()
        else:
            recipe, arch = self._recipe(), self.arch
            dataset = self._load_or_fall_back(console)
            config = runs.RunConfig(arch, recipe, dataset.name, self.seed, self.select_on, dataset.fingerprint)
            device = self.start()
            run = runs.create_run(self.runs, config, runs.environment(device))
        terminal.print_model(console, config.arch, layers(create_model(config.arch)))
        terminal.print_setup(console, config, dataset, device, run)
        with terminal.TrainingDisplay(console, config.recipe.epochs) as display:
            results = fit(config, dataset, run, device, display)
        save_curves(run)
        if self.json:
            print(json.dumps(results | {"run": str(run)}))
        else:
            terminal.print_results(console, results, run)

    def _recipe(self) -> Recipe:
        if self.arch not in ARCHS:
            raise unknown_name("arch", self.arch, ARCHS)
        recipe = get_recipe(self.recipe or self.arch)
        given = {"epochs": self.epochs, "batch_size": self.batch_size, "learning_rate": self.learning_rate}
        changes = {name: value for name, value in given.items() if value is not None}
        return dataclasses.replace(recipe, name=f"{recipe.name}-modified", **changes) if changes else recipe

    def _refuse_configuration(self) -> None:
        own = ("arch", "recipe", "dataset", "seed", "epochs", "batch_size", "learning_rate", "select_on", "runs")
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        given = [name for name in own if getattr(self, name) != defaults[name]]
        if given:
            option = given[0].replace("_", "-")
            raise UsageError(
                f"--resume goes on under the configuration of {self.resume}; leave out --{option}, "
                "or start a new run with it."
            )

    def _load_or_fall_back(self, console: Any) -> Any:
        from jaxmnist.data import DataUnavailableError, load_dataset
        from jaxmnist.report.terminal import print_warning_box

        try:
            return load_dataset(self.dataset or "mnist", self.data_dir)
        except DataUnavailableError as error:
            if self.dataset is not None:
                raise
            print_warning_box(console, f"This is not MNIST. {error}\n\nGoing on with the embedded digits.")
            return load_dataset("digits")


COMMANDS = {"train": Train}


def main(command: str | None = None) -> None:
    """Runs a command with the process's arguments and ends the process with the command's exit code.

    Args:
        command: one of `COMMANDS`; without it the first argument names the command.
    """
    if command is None:
        kinds = tuple(
            Annotated[kind, tyro.conf.subcommand(name, prefix_name=False)] for name, kind in COMMANDS.items()
        )
        chosen = tyro.cli(_union(kinds), prog="jaxmnist", config=_STYLE)
    else:
        chosen = tyro.cli(COMMANDS[command], prog=f"{command}.py", config=_STYLE)
    # Absl's warnings of libraries would break into the progress bar.
    logging.getLogger("absl").setLevel(logging.ERROR)
    sys.exit(_exit_code(chosen))


_STYLE = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes)


def _exit_code(command: Any) -> int:
    try:
        command.run()
    except JaxmnistError as error:
        code, message = error.exit_code, str(error)
    except KeyboardInterrupt:
        code, message = 130, "interrupted."
    except Exception as error:
        code, message = 1, f"{type(error).__name__}: {error} (--debug shows where)"
    else:
        return 0
    if command.debug:
        traceback.print_exc()
    print(f"error: {message}", file=sys.stderr)
    return code


def _union(kinds: tuple[Any, ...]) -> Any:
    from typing import Union

    return Union[kinds]  # noqa: UP007 - the members are computed
