"""The `train` command."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from jaxmnist.commands.options import Command, OptionalFloat, OptionalFolder, OptionalInt
from jaxmnist.commands.training import TrainingCommand
from jaxmnist.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from jaxmnist.config import RunConfig
    from jaxmnist.data import Dataset
    from jaxmnist.lr_range import RangeResult

LearningRate = Annotated[
    float | Literal["auto"] | None,
    tyro.conf.arg(aliases=["--lr"], metavar="FLOAT|auto", help_behavior_hint=""),
]


@dataclasses.dataclass(frozen=True)
class Train(TrainingCommand):
    """Train a network and keep metrics, checkpoints and plots in a run folder."""

    seed: OptionalInt = None
    """Seed of weights, order, augmentation and dropout; by default the recipe's own."""
    learning_rate: LearningRate = None
    """Instead of the recipe's; auto takes what a range test suggests, see find_lr."""
    target_acc: OptionalFloat = None
    """Test accuracy in percent that the selected epoch must reach; below it the exit code is 6."""
    runs: Path = Path("runs")
    """Folder that the run folder is made in."""
    resume: OptionalFolder = None
    """Run folder to go on with, under its own configuration."""

    def run(self) -> None:
        from jaxmnist.signals import StopSignals

        # Around what has nothing to save; `fit` has its own.
        with StopSignals():
            self._train()

    def _train(self) -> None:
        from jaxmnist import runs
        from jaxmnist.data import load_dataset
        from jaxmnist.errors import TargetMissedError
        from jaxmnist.fit import fit
        from jaxmnist.models.structure import layers, totals
        from jaxmnist.report import terminal
        from jaxmnist.report.summary import print_network

        console = self.console()
        if self.resume is not None:
            self._refuse_configuration()
            run, config = self.resume, runs.read_config(self.resume)
            dataset = load_dataset(config.dataset, self.data_dir)
            device = self.start()
        else:
            config, dataset = self._configure(console)
            device = self.start()
            config, range_result = self._test_rates(config, dataset, device, console)
            run = runs.create_run(self.runs, config, runs.environment(device))
            if range_result is not None:
                from jaxmnist.report.lr_range import save_range
                from jaxmnist.report.plots import PLOTS, run_title

                (run / PLOTS).mkdir()
                save_range(range_result, run_title(config), run / PLOTS / "lr_range.png")
        network = layers(config.create_model())
        print_network(console, config.arch, network, totals(network))
        terminal.print_setup(console, config, dataset, device, run)
        with terminal.TrainingDisplay(console, config.recipe.epochs) as display:
            results = fit(config, dataset, run, device, display)
        self._draw(run)
        if self.json:
            print(json.dumps(results | {"run": str(run)}))
        else:
            terminal.print_results(console, results, run)
        reached = results["test_accuracy_of_best"]
        if self.target_acc is not None and reached < self.target_acc:
            which = "last" if config.select_on == "last" else "selected"
            raise TargetMissedError(
                f"the {which} epoch {results['best_epoch']} has a test accuracy of {reached:.2f} %, which misses "
                f"--target-acc {self.target_acc:g}; the run is complete in {run}."
            )

    def _draw(self, run: Path) -> None:
        from jaxmnist.report.plots import save_curves  # matplotlib takes half a second to import

        try:
            save_curves(run)
        except OSError as error:
            print(f"warning: the curves could not be drawn in {run} ({error.strerror}).", file=sys.stderr)

    def _configure(self, console: "Console") -> tuple["RunConfig", "Dataset"]:
        rate = None if self.learning_rate == "auto" else self.learning_rate
        return self.configure(console, self.seed, rate)

    def _test_rates(
        self, config: "RunConfig", dataset: "Dataset", device: Any, console: "Console"
    ) -> tuple["RunConfig", "RangeResult | None"]:
        """With `--lr auto`, the configuration with the rate that a range test suggests, and the test."""
        if self.learning_rate != "auto":
            return config, None
        from jaxmnist.config import changed_recipe
        from jaxmnist.lr_range import RangeTest, find_learning_rate
        from jaxmnist.report.lr_range import RangeDisplay

        settings = RangeTest()
        with RangeDisplay(console, settings.steps) as display:
            result = find_learning_rate(config, dataset, device, settings, display)
        rate = config.recipe.learning_rate
        if result.suggestion is None:
            print(
                f"warning: the range test suggests no rate: {result.reason}; {rate:g} stays.", file=sys.stderr
            )
            return config, result
        console.print(f"The range test suggests the learning rate {result.suggestion:.6g}.", highlight=False)
        recipe = changed_recipe(config.recipe, {"learning_rate": float(f"{result.suggestion:.6g}")})
        return dataclasses.replace(config, recipe=recipe), result

    def _refuse_configuration(self) -> None:
        # What the run does not decide itself, and may differ from session to session.
        free = ("resume", "data_dir", "target_acc", *(field.name for field in dataclasses.fields(Command)))
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
