"""The `find_lr` command."""

import dataclasses
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from jaxmnist.cli.options import (
    Command,
    OptionalArch,
    OptionalDataset,
    OptionalFile,
    OptionalFit,
    OptionalFolder,
    OptionalInt,
    OptionalRecipe,
    Settings,
    load_or_fall_back,
)
from jaxmnist.data.dataset import dataset_title, dataset_word
from jaxmnist.errors import JaxmnistWarning, writing
from jaxmnist.models import arch_word
from jaxmnist.runtime.json_text import json_text

if TYPE_CHECKING:
    from jaxmnist.config.run import RunConfig
    from jaxmnist.experiments.lr_range import RangeResult


def _of_recipe(name: str, metavar: str, default: str) -> object:
    return tyro.conf.arg(name=name, metavar=metavar, help_behavior_hint=f"(default: {default})")


@dataclasses.dataclass(frozen=True)
class FindLr(Command):
    """Find a learning rate: train briefly at rising rates and take the one where the loss falls most steeply."""

    arch: OptionalArch = None
    """Network; by default third."""
    recipe: OptionalRecipe = None
    """Recipe whose optimizer is tested, with its batch size and augmentation; by default the network's own. For dilated
    it is the published test: SGD with Nesterov momentum."""
    dataset: OptionalDataset = None
    """Dataset to train on; by default mnist, or the embedded digits if mnist cannot be found. Or a PATH; see train."""
    data_dir: OptionalFolder = None
    """Folder with the four IDX files (plain or .gz), or with a subfolder named after the dataset."""
    fit: OptionalFit = None
    """The way pictures of your own become 28x28; see train."""
    test: OptionalFile = None
    """CSV file with the test images of a CSV file."""
    seed: OptionalInt = None
    """Seed of weights, order, augmentation and dropout; by default the recipe's."""
    batch_size: OptionalInt = None
    """Replaces the recipe's."""
    recipe_settings: Settings = ()
    """Sets any other field of the recipe; see train."""
    config: OptionalFile = None
    """JSON file with any of these settings, such as the config.json of a run; options overrule it."""
    # Named differently than on the command line because of `Command.start`.
    start_rate: Annotated[float | None, _of_recipe("start", "FLOAT", "1e-6")] = None
    """Learning rate of the first step; for the recipe dilated 0.1, as published. Start, end and steps may also be the
    recipe's: rate_range.start and so on, which train --lr auto takes, too."""
    end_rate: Annotated[float | None, _of_recipe("end", "FLOAT", "10")] = None
    """Learning rate of the last step; for the recipe dilated 2."""
    steps: Annotated[int | None, _of_recipe("steps", "INT", "350")] = None
    """Number of steps, for the recipe dilated 1500; fewer are taken if the loss diverges."""
    out: OptionalFolder = None
    """Folder for lr_range.json and lr_range.png; by default lr_range/ARCH-RECIPE-DATASET-sSEED."""

    def run(self) -> None:
        """Runs the test, and writes and prints its result."""
        from jaxmnist.config.run import merge_options, read_file, run_config, with_data
        from jaxmnist.config.settings import parse_settings
        from jaxmnist.experiments.lr_range import doubt, find_learning_rate, range_test_of
        from jaxmnist.report.plots.lr_range import save_range
        from jaxmnist.report.terminal.lr_range import print_range, print_range_setup, range_progress
        from jaxmnist.runs.curves import run_title
        from jaxmnist.runs.environment import environment
        from jaxmnist.runs.folder import write_json

        console = self.console()
        options = {"arch": self.arch, "seed": self.seed}
        changes = parse_settings(self.recipe_settings)
        batch = {"batch_size": self.batch_size}
        values = {} if self.config is None else read_file(self.config)
        config = run_config(merge_options(values, options, self.recipe, batch, changes))
        settings = range_test_of(config.recipe, start=self.start_rate, end=self.end_rate, steps=self.steps)
        wanted = self.dataset or config.dataset or None
        dataset = load_or_fall_back(console, wanted, self.data_dir, self.fit, self.test)
        config = with_data(config, dataset)
        device = self.start()
        name = f"{arch_word(config.arch)}-{config.recipe.name}-{dataset_word(config.dataset)}-s{config.seed}"
        out = self.out or Path("lr_range", name)
        with writing(out, "name another folder with --out"):
            out.mkdir(parents=True, exist_ok=True)
            print_range_setup(console, config, dataset, device, settings)
            began = time.perf_counter()
            with range_progress(console, settings.steps) as show:
                result = find_learning_rate(config, dataset, device, settings, show)
            seconds = round(time.perf_counter() - began, 3)
            files = [out / "lr_range.json", save_range(result, run_title(config), out / "lr_range.png")]
            summary = _summary(config, result, seconds)
            curves = {name: getattr(result, name).tolist() for name in ("rates", "losses", "smoothed")}
            write_json(files[0], summary | {"environment": environment(device)} | curves)
        if result.reason is not None:
            advice = f"try more --steps than {settings.steps}, or another --start and --end"
            if result.diverged and not len(result.losses[result.kept]):
                advice = f"try a lower --start than {settings.start:g}"
            message = f"no learning rate is suggested: {result.reason}; {advice}."
            warnings.warn(message, JaxmnistWarning, stacklevel=2)
        elif (doubted := doubt(result, config.recipe.learning_rate)) is not None:
            message = f"{doubted}; compare it with the recipe's rate in short trainings."
            warnings.warn(message, JaxmnistWarning, stacklevel=2)
        if self.json:
            print(json_text(summary | {"files": list(map(str, files))}))
        else:
            print_range(console, summary, files)


def _summary(config: "RunConfig", result: "RangeResult", seconds: float) -> dict[str, Any]:
    """Returns the contents of `lr_range.json`, without the curves and the environment."""
    return {
        "arch": config.arch,
        "recipe": config.recipe.name,
        "batch_size": config.recipe.batch_size,
        "dataset": dataset_title(config.dataset),
        "seed": config.seed,
        "select_on": config.select_on,
        "settings": dataclasses.asdict(result.settings),
        "suggestion": result.suggestion,
        "step": result.step,
        "reason": result.reason,
        "steps_taken": len(result.losses),
        "diverged": result.diverged,
        "best_loss": float(result.smoothed.min()) if len(result.smoothed) else None,
        "seconds": seconds,
    }
