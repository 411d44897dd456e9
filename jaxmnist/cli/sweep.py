"""The `sweep` command."""

import dataclasses
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from jaxmnist.cli.options import OptionalFolder, OptionalInt
from jaxmnist.cli.study import Rate
from jaxmnist.cli.train_options import TrainingCommand
from jaxmnist.errors import UsageError

if TYPE_CHECKING:
    from jaxmnist.config.run import RunConfig
    from jaxmnist.data import Dataset
    from jaxmnist.experiments.study.jobs import Job
    from jaxmnist.experiments.sweep.folder import Plan
    from jaxmnist.experiments.sweep.folder import Sweep as SweepFolder
    from jaxmnist.experiments.sweep.loop import Shard
    from jaxmnist.experiments.sweep.members import Member

Axes = Annotated[
    tyro.conf.UseAppendAction[tuple[str, ...]],
    tyro.conf.arg(metavar="FIELD=VALUES", help_behavior_hint="(repeatable)"),
]
OptionalShard = Annotated[str | None, tyro.conf.arg(metavar="I/N", help_behavior_hint="")]


@dataclasses.dataclass(frozen=True)
class Sweep(TrainingCommand):
    """Try a training with many values of its recipe's fields, and rank them.

    Members are ranked by the accuracy of the last epoch: on val, which leaves the test images out of the choice,
    or with --select-on last or test on the test images. Each member is a study, named by what differs. The same
    command again goes on where it stopped; with more --seeds or a larger --random it adds them.
    """

    learning_rate: Rate = None
    """Instead of the recipe's."""
    over: Axes = ()
    """A field of the recipe, with a dot before that of a part (augmentation.rotation), or arch, dropout or norm; and
    what to try: a list A,B,C, or with --random and --optuna also a range LOW:HIGH, or log:LOW:HIGH for one that
    is uniform in the logarithm."""
    random: OptionalInt = None
    """Draw so many members; without this option, every combination of the values listed is one."""
    optuna: OptionalInt = None
    """Have Optuna's TPE choose so many members one by one, by the accuracy of those before."""
    sweep_seed: int = 0
    """What members at random follow from."""
    seeds: int = 1
    """Seeds that each member is trained with."""
    first_seed: int = 1
    """The first of them."""
    halving: OptionalInt = None
    """Successive halving by this number, 3 say: all members train for few epochs, the best third for three times as
    many, and so on up to all epochs. Each rung trains anew, with a complete schedule of its own."""
    processes: int = 1
    """Train so many at a time, in processes of their own that share out the CPU's cores."""
    shard: OptionalShard = None
    """Train those members only whose number is I modulo N: one of N hosts, I from 0 on, on one folder or on several
    that are put together later."""
    keep_checkpoints: bool = False
    """Keep the checkpoints of finished trainings, which are deleted otherwise."""
    out: OptionalFolder = None
    """Folder of the sweep; by default sweeps/ARCH-RECIPE-DATASET-SELECT_ON-METHOD-FIELDS."""
    collect: OptionalFolder = None
    """Train nothing; write table and picture of what is finished in this folder of a sweep."""

    def run(self) -> None:
        from jaxmnist.runtime.signals import StopSignals

        # Around what has nothing to save; the training has its own.
        with StopSignals():
            if self.collect is not None:
                from jaxmnist.experiments.sweep.folder import read_sweep

                self._tabulate(self.console(), read_sweep(self.collect))
                return
            self._check()
            self._train()

    def _check(self) -> None:
        if not self.over:
            raise UsageError(
                "a sweep needs what to try; add --over FIELD=A,B,C, such as learning_rate=0.01,0.02."
            )
        least = {"random": 1, "optuna": 1, "seeds": 1, "processes": 1, "halving": 2, "sweep_seed": 0}
        for option, low in least.items():
            value = getattr(self, option)
            if value is not None and value < low:
                name = option.replace("_", "-")
                raise UsageError(f"--{name} {value} is out of range; choose a number from {low} on.")
        if self.random is not None and self.optuna is not None:
            raise UsageError("--random and --optuna are two ways to choose members; give one of them.")
        if self.optuna is not None and (self.halving or self.shard):
            raise UsageError(
                "--optuna chooses by members trained in full by one host; leave out --halving and --shard."
            )
        if self.halving and self.shard:
            raise UsageError("--halving compares all members of a rung; leave out --shard, or halve by hand.")
        if not 0 <= self.first_seed <= 2**32 - self.seeds:
            most = 2**32 - self.seeds
            raise UsageError(
                f"--first-seed {self.first_seed} is out of range; {self.seeds} seeds can begin at 0 to {most}."
            )

    def _train(self) -> None:
        from jaxmnist.experiments import sweep
        from jaxmnist.report.terminal.sweep import SweepDisplay, print_sweep_setup
        from jaxmnist.runs import folder as runs
        from jaxmnist.runtime.files import locked

        console, shard = self.console(), self._shard()
        plan, members = self._plan()
        bases, dataset = self._bases(console, plan)
        for member in members or sweep.corner_members(plan.axes):
            sweep.member_config(member, bases)
        rungs = []
        if self.halving:
            if any(axis.field == "epochs" for axis in plan.axes):
                raise UsageError("--halving decides the epochs; take epochs out of --over.")
            rungs = sweep.plan_rungs(len(members), next(iter(bases.values())).recipe.epochs, self.halving)
            for member in members:
                sweep.member_config(member, bases, rungs[0].epochs)
        device = self.start()
        if self.processes > 1 and device.platform != "cpu":
            raise UsageError(
                f"--processes shares out a CPU, not a {device.platform}; leave it out, or add --device cpu."
            )
        folder = self.out or Path("sweeps", _default_name(plan, bases))
        opened = sweep.open_sweep(folder, plan, bases, members, rungs, runs.environment(device))
        with locked(self._lock_folder(folder)):
            shown = f"those whose number is {shard.index} modulo {shard.count}" if self.shard else None
            print_sweep_setup(console, opened, dataset, device, shown, plan.count)
            trainer = _Trainer(self, dataset, device, opened.environment)
            with SweepDisplay(console) as display:
                recorder = sweep.Recorder(display, opened)
                reporting = recorder.on_rung, recorder.callback
                if plan.method == "optuna":
                    from jaxmnist.experiments.sweep.optuna_trials import TpeTrials

                    trials = TpeTrials(folder, plan.axes, plan.count, plan.sweep_seed)
                    opened.members[:] = trials.members()
                    sweep.train_trials(opened, trials, trainer, *reporting)
                else:
                    sweep.train_sweep(opened, trainer, *reporting, shard)
            self._tabulate(console, opened)

    def _plan(self) -> tuple["Plan", list["Member"]]:
        """What is asked for, and its members as far as they are known beforehand."""
        from jaxmnist.experiments import sweep

        axes = sweep.parse_axes(self.over)
        if self.optuna is not None:
            from jaxmnist.experiments.sweep.optuna_trials import require_optuna

            require_optuna()
            method, members, count = "optuna", [], self.optuna
        elif self.random is not None:
            members = sweep.random_members(axes, self.random, self.sweep_seed)
            method, count = "random", self.random
        else:
            members = sweep.grid_members(axes)
            method, count = "grid", len(members)
        numbers = {
            "seeds": self.seeds,
            "first_seed": self.first_seed,
            "sweep_seed": 0 if method == "grid" else self.sweep_seed,
            "halving": self.halving or 0,
        }
        return sweep.Plan(self.over, method, count, **numbers), members

    def _bases(self, console: Any, plan: "Plan") -> tuple[dict[str, "RunConfig"], "Dataset"]:
        """What members start from, for each arch; without a recipe of the user's each has its own."""
        archs = next((axis.choices for axis in plan.axes if axis.field == "arch"), None)
        config, dataset = self.configure(console, None, self.learning_rate)
        if archs is None:
            return {config.arch: config}, dataset
        bases = {}
        for arch in archs:
            command = dataclasses.replace(self, arch=arch, dataset=dataset.name)
            bases[arch] = command.configure(console, None, self.learning_rate)[0]
        return bases, dataset

    def _shard(self) -> "Shard":
        from jaxmnist.experiments.sweep.loop import Shard

        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", self.shard or "0/1")
        if match is None or int(match[1]) >= int(match[2]):
            raise UsageError(f"--shard {self.shard} is no I/N, such as 0/4 to 3/4; I is from 0 to N - 1.")
        return Shard(int(match[1]), int(match[2]))

    def _lock_folder(self, folder: Path) -> Path:
        """What a process holds: the sweep, or where several hosts share it its own part."""
        if self.shard is None:
            return folder
        part = folder / "shards" / self.shard.replace("/", "-of-")
        try:
            part.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"the sweep folder {folder} cannot be written ({error.strerror}); name another --out."
            ) from error
        return part

    def _tabulate(self, console: Any, opened: "SweepFolder") -> None:
        from jaxmnist.experiments import sweep
        from jaxmnist.report.plots.sweep import save_sweep_picture  # matplotlib takes half a second to import
        from jaxmnist.report.terminal.sweep import print_sweep

        folder = opened.folder
        try:
            figures = sweep.write_table(opened, sweep.read_results(opened))
            rows = sweep.read_table(folder)
            files = save_sweep_picture(folder, figures, rows)
        except OSError as error:
            message = (
                f"{folder} cannot be written to ({error.strerror}); make room and give the command again."
            )
            raise UsageError(message) from error
        if self.json:
            print(json.dumps(figures | {"sweep": str(folder)}))
        else:
            names = [folder / name for name in ("results.jsonl", "summary.json")]
            print_sweep(console, figures, rows, folder, [*names, *files])


class _Trainer:
    """Trains jobs as the options say: one after the other, or in processes."""

    def __init__(self, command: Sweep, dataset: "Dataset", device: Any, environment: Any) -> None:
        self._command, self._arguments = command, (dataset, device, environment)

    def __call__(self, jobs: Iterable["Job"], count: int) -> None:
        from jaxmnist.experiments.study.jobs import Settings, train_jobs
        from jaxmnist.experiments.study.processes import train_in_processes

        command = self._command
        settings = Settings(
            command.data_dir, not command.no_compile_cache, command.keep_checkpoints, note_divergence=True
        )
        if min(command.processes, count) == 1:
            train_jobs(jobs, *self._arguments, settings)
        else:
            train_in_processes(jobs, min(command.processes, count), settings)


def _default_name(plan: "Plan", bases: dict[str, "RunConfig"]) -> str:
    config: Any = next(iter(bases.values()))
    archs: Sequence[str] = list(bases)
    arch = archs[0] if len(archs) == 1 else "archs"
    fields = "-".join(axis.field for axis in plan.axes)
    method = f"{plan.method}-halving" if plan.halving else plan.method
    return f"{arch}-{config.recipe.name}-{config.dataset}-{config.select_on}-{method}-{fields}"[:200]
