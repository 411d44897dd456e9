"""The `train` command."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jaxmnist.cli.device_options import DEVICE_OPTIONS, MultiDeviceCommand
from jaxmnist.cli.options import Command, OptionalFloat, OptionalFolder, OptionalInt, OptionalSource
from jaxmnist.errors import UsageError
from jaxmnist.runtime.json_text import json_text

if TYPE_CHECKING:
    from jaxmnist.runtime.team import Team

LearningRate = Annotated[
    float | Literal["auto"] | None,
    tyro.conf.arg(aliases=["--lr"], metavar="FLOAT|auto", help_behavior_hint=""),
]


@dataclasses.dataclass(frozen=True)
class Train(MultiDeviceCommand):
    """Train a network and keep metrics, checkpoints and plots in a run folder."""

    seed: OptionalInt = None
    """Seed of weights, order, augmentation and dropout; by default the recipe's own."""
    learning_rate: LearningRate = None
    """Replaces the recipe's learning rate; auto takes the suggestion of a range test, see find_lr."""
    target_acc: OptionalFloat = None
    """Test accuracy in percent that the selected epoch must reach; below it the exit code is 6."""
    runs: Path = Path("runs")
    """Folder in which the run folder is created."""
    init_from: OptionalSource = None
    """Begin with the weights of a run or a weights file, on any data and by any recipe; other classes get a fresh
    head. By default its network is trained."""
    resume: OptionalFolder = None
    """Run folder to resume, with its own configuration; a constant rate or a plateau also goes on for more --epochs."""
    patience: OptionalInt = None
    """End after this many epochs without a better one on the selecting split."""
    max_seconds: OptionalFloat = None
    """End after the last epoch that fits into this time; a schedule gets fewer epochs instead."""
    tensorboard: bool = False
    """Also write TensorBoard events, to tensorboard/ in the run folder (needs the extra tensorboard)."""

    def run(self) -> None:
        """Trains or resumes a run."""
        from jaxmnist.runtime.signals import StopSignals

        # For the time before training; `fit` has its own, which save the state.
        with StopSignals():
            team = self.join()
            with team.together():
                self._train(team)

    def _train(self, team: "Team") -> None:
        from jaxmnist.config.seal import as_texts
        from jaxmnist.errors import TargetMissedError
        from jaxmnist.models import arch_title
        from jaxmnist.models.structure import layers, totals
        from jaxmnist.report.terminal import training as terminal
        from jaxmnist.report.terminal.summary import print_network
        from jaxmnist.runs.extend import extended
        from jaxmnist.runs.folder import load_data_of_run
        from jaxmnist.runs.initial import with_initial_weights
        from jaxmnist.runs.restore import with_class
        from jaxmnist.runs.stopping import StopRule, course_over_length
        from jaxmnist.runtime.mesh import parse_mesh, where_text
        from jaxmnist.training import agree_on_run, start_run, train_in

        self.require_same_options(team)
        console = self.console() if team.is_leader else self.no_console()
        if self.mesh is not None and parse_mesh(self.mesh).seed > 1:
            raise UsageError(
                f"--mesh {self.mesh} divides seeds, and train has one; give data=N only, or use study."
            )
        if self.tensorboard:
            from jaxmnist.runs.tensorboard import require_tensorboard

            require_tensorboard()
        stop_rule = StopRule(self.patience, self.max_seconds)
        if self.resume is not None:
            self._refuse_configuration()
            resumed = self.resume
            run, config = agree_on_run(team, lambda: (resumed, extended(resumed, self.epochs, stop_rule)))
            config = with_class(config, self.arch, run)
            dataset = load_data_of_run(config, self.data_dir)
            where = self.start_on(team, console, config, run)
        else:
            config, dataset = self.configure(console, self.seed, self.learning_rate, self.init_from)
            if team.size > 1 and self.max_seconds is not None and course_over_length(config.recipe):
                raise UsageError(
                    f"--max-seconds {self.max_seconds:g} does not go with several processes and the "
                    f"{course_over_length(config.recipe)}, whose pace one process cannot measure; give --epochs."
                )
            where = self.start_on(team, console, config)
            if self.init_from is not None:
                config = with_initial_weights(config, dataset, self.init_from)
            team.require_same(as_texts(config))
            find_rate = self.learning_rate == "auto"
            run, config = agree_on_run(
                team, lambda: start_run(config, dataset, where, self.runs, console, find_rate, stop_rule)
            )
        team.remedy = f"its last checkpoint is kept; start all processes again with --resume {run}"
        network = layers(config.create_model())
        print_network(console, arch_title(config.arch), network, totals(network))
        terminal.print_setup(console, config, dataset, where_text(where, team.size), run)
        results = train_in(run, config, dataset, where, console, self.tensorboard, team, stop_rule)
        if not team.is_leader:
            return
        if self.json:
            print(json_text(dataclasses.asdict(results) | {"run": str(run)}))
        else:
            terminal.print_results(console, results, run)
        reached = results.test_accuracy_of_best
        if self.target_acc is not None and reached < self.target_acc:
            which = "last" if config.select_on == "last" else "selected"
            raise TargetMissedError(
                f"the {which} epoch {results.best_epoch} has a test accuracy of {reached:.2f} %, below --target-acc "
                f"{self.target_acc:g}; the run in {run} is complete."
            )

    def _refuse_configuration(self) -> None:
        # These options may differ from session to session; --arch gives the new place of a class that has moved.
        free = {"resume", "arch", "data_dir", "target_acc", "tensorboard", *DEVICE_OPTIONS}
        free |= {"epochs", "patience", "max_seconds"}
        free |= {field.name for field in dataclasses.fields(Command)}
        for field in dataclasses.fields(self):
            if field.name not in free and getattr(self, field.name) != field.default:
                raise UsageError(
                    f"--resume keeps the configuration of {self.resume}; leave out --{field.name.replace('_', '-')} or "
                    "start a new run."
                )
