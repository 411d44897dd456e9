"""The `find_lr` command."""

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from jaxmnist.cli.options import (
    Arch,
    Command,
    OptionalDataset,
    OptionalFolder,
    OptionalInt,
    OptionalRecipe,
    Settings,
    load_or_fall_back,
)
from jaxmnist.errors import UsageError
from jaxmnist.models import arch_word

if TYPE_CHECKING:
    from jaxmnist.config.run import RunConfig
    from jaxmnist.experiments.lr_range import RangeResult


@dataclasses.dataclass(frozen=True)
class FindLr(Command):
    """Find a learning rate: train briefly under rising rates and see where the loss falls most steeply."""

    arch: Arch = "third"
    """Network."""
    recipe: OptionalRecipe = None
    """Batch size, augmentation and normalisation; by default those of the network's own recipe."""
    dataset: OptionalDataset = None
    """What to train on. Without this option mnist, or the embedded digits where mnist cannot be had."""
    data_dir: OptionalFolder = None
    """Folder with the four IDX files (plain or .gz), or with a subfolder named after the dataset."""
    seed: OptionalInt = None
    """Seed of weights, order, augmentation and dropout; by default the recipe's."""
    batch_size: OptionalInt = None
    """Replaces the recipe's."""
    recipe_settings: Settings = ()
    """Sets any other field of the recipe; see train."""
    # Named otherwise than on the command line, where `start` of `Command` is not in the way.
    start_rate: Annotated[float, tyro.conf.arg(name="start")] = 0.1
    """Learning rate of the first step."""
    end_rate: Annotated[float, tyro.conf.arg(name="end")] = 2.0
    """Learning rate of the last step."""
    steps: int = 1500
    """Steps; fewer are taken when the loss diverges."""
    select_on: Literal["val", "test"] = "val"
    """As for train, whose training images are used: val leaves out those held out, test leaves out none."""
    out: OptionalFolder = None
    """Folder for lr_range.json and lr_range.png; by default lr_range/ARCH-RECIPE-DATASET-sSEED."""

    def run(self) -> None:
        from jaxmnist.config.run import merge_options, run_config
        from jaxmnist.config.settings import parse_settings
        from jaxmnist.experiments.lr_range import RangeTest, find_learning_rate
        from jaxmnist.report.terminal.lr_range import RangeDisplay, print_range, print_range_setup, save_range
        from jaxmnist.runs.curves import run_title
        from jaxmnist.runs.folder import environment, write_json

        console = self.console()
        settings = RangeTest(start=self.start_rate, end=self.end_rate, steps=self.steps)
        options = {"arch": self.arch, "seed": self.seed, "select_on": self.select_on}
        changes = parse_settings(self.recipe_settings)
        batch = {"batch_size": self.batch_size}
        config = run_config(merge_options({}, options, self.recipe, batch, changes))
        dataset = load_or_fall_back(console, self.dataset, self.data_dir)
        config = dataclasses.replace(config, dataset=dataset.name, data_fingerprint=dataset.fingerprint)
        device = self.start()
        out = self.out or Path(
            "lr_range", f"{arch_word(config.arch)}-{config.recipe.name}-{dataset.name}-s{config.seed}"
        )
        try:
            out.mkdir(parents=True, exist_ok=True)
            print_range_setup(console, config, dataset, device, settings)
            began = time.perf_counter()
            with RangeDisplay(console, settings.steps) as display:
                result = find_learning_rate(config, dataset, device, settings, display)
            seconds = round(time.perf_counter() - began, 3)
            picture = save_range(result, run_title(config), out / "lr_range.png")
            files = [out / "lr_range.json", picture]
            summary = _summary(config, result, seconds)
            curves = {name: getattr(result, name).tolist() for name in ("rates", "losses", "smoothed")}
            write_json(files[0], summary | {"environment": environment(device)} | curves)
        except OSError as error:
            message = f"{out} cannot be written to ({error.strerror}); name another folder with --out."
            raise UsageError(message) from error
        if result.reason is not None:
            advice = _advice(result)
            print(f"warning: no learning rate is suggested: {result.reason}; {advice}.", file=sys.stderr)
        if self.json:
            print(json.dumps(summary | {"files": list(map(str, files))}))
        else:
            print_range(console, summary, files)


def _summary(config: "RunConfig", result: "RangeResult", seconds: float) -> dict[str, Any]:
    """What `--json` prints; `lr_range.json` has the curves as well."""
    return {
        "arch": config.arch,
        "recipe": config.recipe.name,
        "batch_size": config.recipe.batch_size,
        "dataset": config.dataset,
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


def _advice(result: "RangeResult") -> str:
    if result.diverged:
        return f"try a lower --start than {result.settings.start:g}"
    return f"try more --steps than {result.settings.steps}, or another --start and --end"
