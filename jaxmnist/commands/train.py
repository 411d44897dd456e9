"""The `train` command."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxmnist.commands.options import Command, OptionalFloat, OptionalFolder, OptionalInt
from jaxmnist.commands.training import TrainingCommand
from jaxmnist.errors import UsageError

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
    tensorboard: bool = False
    """Write TensorBoard events into the run folder as well, in tensorboard/ (needs the extra tensorboard)."""

    def run(self) -> None:
        from jaxmnist.signals import StopSignals

        # Around what has nothing to save; `fit` has its own.
        with StopSignals():
            self._train()

    def _train(self) -> None:
        from jaxmnist import runs
        from jaxmnist.data import load_dataset
        from jaxmnist.errors import TargetMissedError
        from jaxmnist.models.structure import layers, totals
        from jaxmnist.report import terminal
        from jaxmnist.report.summary import print_network
        from jaxmnist.training import start_run, train_in

        console = self.console()
        if self.tensorboard:
            from jaxmnist.tensorboard import require_tensorboard

            require_tensorboard()
        if self.resume is not None:
            self._refuse_configuration()
            run, config = self.resume, runs.read_config(self.resume)
            dataset = load_dataset(config.dataset, self.data_dir)
            device = self.start()
        else:
            config, dataset = self.configure(console, self.seed, self.learning_rate)
            device = self.start()
            find_rate = self.learning_rate == "auto"
            run, config = start_run(config, dataset, device, self.runs, console, find_rate)
        network = layers(config.create_model())
        print_network(console, config.arch, network, totals(network))
        terminal.print_setup(console, config, dataset, device, run)
        results = train_in(run, config, dataset, device, console, self.tensorboard)
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

    def _refuse_configuration(self) -> None:
        # What the run does not decide itself, and may differ from session to session.
        free = (
            "resume",
            "data_dir",
            "target_acc",
            "tensorboard",
            *(field.name for field in dataclasses.fields(Command)),
        )
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
