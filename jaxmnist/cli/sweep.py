"""The `sweep` command."""

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from jaxmnist.cli.options import OptionalFolder, OptionalInt
from jaxmnist.cli.study import Rate, require_at_least, require_seeds
from jaxmnist.cli.train_options import TrainingCommand
from jaxmnist.data.dataset import dataset_word
from jaxmnist.errors import UsageError, writing
from jaxmnist.models import arch_word
from jaxmnist.runtime.json_text import json_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from jaxmnist.config.run import RunConfig
    from jaxmnist.data import Dataset
    from jaxmnist.experiments.study.jobs import Job
    from jaxmnist.experiments.sweep.folder import Plan
    from jaxmnist.experiments.sweep.folder import Sweep as SweepFolder
    from jaxmnist.experiments.sweep.members import Member

Axes = Annotated[
    tyro.conf.UseAppendAction[tuple[str, ...]],
    tyro.conf.arg(metavar="FIELD=VALUES", help_behavior_hint="(repeatable)"),
]
OptionalShard = Annotated[str | None, tyro.conf.arg(metavar="I/N", help_behavior_hint="")]


@dataclasses.dataclass(frozen=True)
class Sweep(TrainingCommand):
    """Try a training with many values of its recipe's fields, and rank them.

    Members are ranked by the accuracy of the last epoch: on val, which leaves the test images out of the choice, or
    with --select-on last or test on the test images. Each member is a study, named by its values. The same command
    again resumes; with more --seeds or a larger --random it adds them.
    """

    learning_rate: Rate = None
    """Replaces the recipe's."""
    over: Axes = ()
    """A field of the recipe (with a dot before that of a part, as augmentation.rotation), arch or norm, and the values
    to try: a list A,B,C, or with --random and --optuna also a range LOW:HIGH, or log:LOW:HIGH for one that is uniform
    in the logarithm."""
    random: OptionalInt = None
    """Draw this many members at random; by default every combination of the listed values is a member."""
    optuna: OptionalInt = None
    """Let Optuna's TPE choose this many members one by one, from the accuracies of those before."""
    sweep_seed: int = 0
    """Seed of the choice of members."""
    seeds: int = 1
    """Number of seeds of each member, from --first-seed on."""
    first_seed: int = 1
    """First seed."""
    halving: OptionalInt = None
    """Successive halving by this factor, say 3: all members train for few epochs, the best third for three times as
    many, and so on up to all epochs. Each rung trains anew, with a complete schedule of its own."""
    processes: int = 1
    """Number of processes that train a seed each and share the CPU's cores."""
    shard: OptionalShard = None
    """Train only the members whose number is I modulo N, for one of N hosts, I from 0 on. The hosts share a folder, or
    use one each, to be put together later."""
    out: OptionalFolder = None
    """Folder of the sweep; by default sweeps/ARCH-RECIPE-DATASET-SELECT_ON-METHOD-FIELDS."""
    collect: OptionalFolder = None
    """Train nothing; write table and picture of the finished members in this folder of a sweep."""

    def run(self) -> None:
        """Trains the members, or collects the results of those that are finished."""
        from jaxmnist.runtime.signals import StopSignals

        # Outside of training, which has its own, there is nothing to save.
        with StopSignals():
            if self.collect is not None:
                from jaxmnist.experiments.sweep.folder import read_sweep, warn_of_strays_in

                sweep = read_sweep(self.collect)
                warn_of_strays_in(sweep)
                self._tabulate(self.console(), sweep)
                return
            self._check()
            self._train()

    def _check(self) -> None:
        if not self.over:
            raise UsageError(
                "a sweep needs values to try; add --over FIELD=A,B,C, say learning_rate=0.01,0.02."
            )
        require_at_least("random", self.random, 1)
        require_at_least("optuna", self.optuna, 1)
        require_at_least("processes", self.processes, 1)
        require_at_least("halving", self.halving, 2)
        require_at_least("sweep-seed", self.sweep_seed, 0)
        require_seeds(self.first_seed, self.seeds)
        if self.random is not None and self.optuna is not None:
            raise UsageError("--random and --optuna are two ways to choose members; give one of them.")
        if self.optuna is not None and (self.halving or self.shard):
            raise UsageError(
                "--optuna needs members trained in full by one host; leave out --halving and --shard."
            )
        if self.halving and self.shard:
            raise UsageError("--halving compares all members of a rung; leave out --shard, or halve by hand.")

    def _train(self) -> None:
        from jaxmnist.experiments.study.jobs import train_jobs
        from jaxmnist.experiments.study.processes import Settings, train_in_processes
        from jaxmnist.experiments.sweep.folder import open_sweep, warn_of_strays_in
        from jaxmnist.experiments.sweep.halving import plan_rungs
        from jaxmnist.experiments.sweep.loop import train_sweep, train_trials
        from jaxmnist.experiments.sweep.members import corner_members, member_config
        from jaxmnist.report.terminal.study import progress_bars
        from jaxmnist.report.terminal.sweep import SweepDisplay, print_sweep_setup
        from jaxmnist.runs.environment import environment
        from jaxmnist.runtime.files import locked

        console, shard = self.console(), self._shard()
        plan, members = self._plan()
        bases, dataset = self._bases(console, plan)
        rungs = []
        if self.halving:
            if any(axis.field == "epochs" for axis in plan.axes):
                raise UsageError("--halving sets the epochs; take epochs out of --over.")
            rungs = plan_rungs(len(members), next(iter(bases.values())).recipe.epochs, self.halving)
        # An impossible member is an error before anything is trained.
        for member in members or corner_members(plan.axes):
            member_config(member, bases, rungs[0].epochs if rungs else None)
        device = self.start()
        if self.processes > 1 and device.platform != "cpu":
            raise UsageError(
                f"--processes shares a CPU, not a {device.platform}; leave it out, or add --device cpu."
            )
        folder = self.out or Path("sweeps", _default_name(plan, bases))
        sweep = open_sweep(folder, plan, bases, members, rungs, environment(device))
        warn_of_strays_in(sweep)

        def train(jobs: "Iterable[Job]", count: int) -> None:
            processes = min(self.processes, count)
            if processes == 1:
                train_jobs(jobs, dataset, device, sweep.environment, note_divergence=True)
            else:
                settings = Settings(self.data_dir, not self.no_compile_cache, note_divergence=True)
                train_in_processes(jobs, processes, settings)

        with locked(self._lock_folder(folder)):
            print_sweep_setup(console, sweep, dataset, device, self.shard, plan.count)
            with progress_bars(console) as bars:
                display = SweepDisplay(console, bars, sweep)
                if plan.method == "optuna":
                    from jaxmnist.experiments.sweep.optuna_trials import TpeTrials

                    trials = TpeTrials(folder, plan.axes, plan.count, plan.sweep_seed)
                    sweep.members[:] = trials.members()
                    train_trials(sweep, trials, train, display.begin, display.callback)
                else:
                    train_sweep(sweep, train, display.begin, display.callback, shard)
            self._tabulate(console, sweep)

    def _plan(self) -> tuple["Plan", list["Member"]]:
        """Returns the plan, and its members as far as they are known in advance."""
        from jaxmnist.experiments.sweep.axes import parse_axes
        from jaxmnist.experiments.sweep.folder import Plan
        from jaxmnist.experiments.sweep.members import grid_members, random_members

        axes = parse_axes(self.over)
        if self.optuna is not None:
            from jaxmnist.experiments.sweep.optuna_trials import require_optuna

            require_optuna()
            method, members, count = "optuna", [], self.optuna
        elif self.random is not None:
            members = random_members(axes, self.random, self.sweep_seed)
            method, count = "random", self.random
        else:
            members = grid_members(axes)
            method, count = "grid", len(members)
        sweep_seed = 0 if method == "grid" else self.sweep_seed
        plan = Plan(self.over, method, count, self.seeds, self.first_seed, sweep_seed, self.halving or 0)
        return plan, members

    def _bases(self, console: "Console", plan: "Plan") -> tuple[dict[str, "RunConfig"], "Dataset"]:
        """Returns the configuration that members start from, for each arch; by default with the arch's own recipe."""
        archs = next((axis.choices for axis in plan.axes if axis.field == "arch"), None)
        config, dataset = self.configure(console, None, self.learning_rate)
        if archs is None:
            return {config.arch: config}, dataset
        bases = {}
        for arch in archs:
            command = dataclasses.replace(self, arch=arch, dataset=config.dataset)
            bases[arch] = command.configure(console, None, self.learning_rate)[0]
        return bases, dataset

    def _shard(self) -> tuple[int, int]:
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", self.shard or "0/1")
        if match is None or int(match[1]) >= int(match[2]):
            raise UsageError(f"--shard {self.shard} is no I/N, such as 0/4 to 3/4; I is from 0 to N - 1.")
        return int(match[1]), int(match[2])

    def _lock_folder(self, folder: Path) -> Path:
        """Returns the folder to lock: the sweep's, or that of a shard, so that several hosts can share a sweep."""
        if self.shard is None:
            return folder
        part = folder / "shards" / self.shard.replace("/", "-of-")
        with writing(f"the sweep folder {folder}", "name another --out"):
            part.mkdir(parents=True, exist_ok=True)
        return part

    def _tabulate(self, console: "Console", sweep: "SweepFolder") -> None:
        from jaxmnist.experiments.sweep.table import read_results, write_table
        from jaxmnist.report.plots.sweep import save_sweep_picture  # matplotlib takes half a second to import
        from jaxmnist.report.terminal.sweep import print_sweep

        folder = sweep.folder
        with writing(folder, "give the same command again", mend=True):
            figures, rows = write_table(sweep, read_results(sweep))
            files = save_sweep_picture(folder, figures, rows)
        if self.json:
            print(json_text(figures | {"sweep": str(folder)}))
        else:
            names = [folder / name for name in ("results.jsonl", "summary.json")]
            print_sweep(console, figures, rows, folder, [*names, *files])


def _default_name(plan: "Plan", bases: dict[str, "RunConfig"]) -> str:
    config = next(iter(bases.values()))
    arch = arch_word(config.arch) if len(bases) == 1 else "archs"
    fields = "-".join(axis.field for axis in plan.axes)
    method = f"{plan.method}-halving" if plan.halving else plan.method
    return f"{arch}-{config.recipe.name}-{dataset_word(config.dataset)}-{config.select_on}-{method}-{fields}"[
        :200
    ]
