"""The `study` command."""

import dataclasses
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from jaxmnist.cli.device_options import MultiDeviceCommand
from jaxmnist.cli.options import OptionalFolder, OptionalSource
from jaxmnist.data.dataset import dataset_word
from jaxmnist.errors import JaxmnistWarning, UsageError, writing
from jaxmnist.models import arch_word
from jaxmnist.runtime.json_text import json_text

if TYPE_CHECKING:
    from rich.console import Console

    from jaxmnist.config.run import RunConfig
    from jaxmnist.experiments.study.folder import Study as StudyFolder
    from jaxmnist.experiments.study.training import Resources
    from jaxmnist.runs.progress import Callback, Progress
    from jaxmnist.runtime.team import Team

Rate = Annotated[float | None, tyro.conf.arg(aliases=["--lr"], metavar="FLOAT", help_behavior_hint="")]
Studies = Annotated[tuple[Path, ...], tyro.conf.arg(metavar="STUDY STUDY ...", help_behavior_hint="")]


@dataclasses.dataclass(frozen=True)
class Study(MultiDeviceCommand):
    """Repeat a training over many seeds, for figures with an interval.

    The accuracy of the last epoch counts: on val, which leaves the test images out of sight, or with --select-on last
    or test on the test images. The same command again resumes; with more --seeds it adds them.
    """

    learning_rate: Rate = None
    """Replaces the recipe's."""
    init_from: OptionalSource = None
    """Begin every seed with the weights of a run or a weights file; see train."""
    seeds: int = 5
    """Number of seeds, from --first-seed on; the statistics cover all finished seeds of the folder."""
    first_seed: int = 1
    """First seed."""
    processes: int = 0
    """Number of processes that train a seed each and share the CPU's cores. By default that which trains the seeds
    soonest: a long study measures it first, a short one has a process on each core."""
    together: int = 0
    """Number of seeds to train in one program; by default 1 on a CPU, whose cores one seed keeps busy, else all."""
    threshold: float = 99.4
    """Count the seeds whose last five epochs all reach this accuracy, in percent."""
    out: OptionalFolder = None
    """Folder of the study; by default studies/ARCH-RECIPE-DATASET-SELECT_ON."""
    compare: Studies = ()
    """Train nothing; compare studies on the same images with the first one. --out keeps the table and a picture."""

    def run(self) -> None:
        """Trains the seeds, or compares studies."""
        if self.compare:
            self._compare()
            return
        require_at_least("processes", self.processes, 0)
        require_at_least("together", self.together, 0)
        require_seeds(self.first_seed, self.seeds)
        if self.processes > 1 and self.together > 1:
            raise UsageError(
                "--processes and --together are two ways to train seeds at once; give one of them."
            )
        from jaxmnist.runtime.signals import StopSignals

        # Outside of training, which has its own, there is nothing to save.
        with StopSignals():
            team = self.join()
            with team.together():
                self._train(team)

    def _train(self, team: "Team") -> None:
        from jaxmnist.config.seal import as_texts
        from jaxmnist.experiments.strays import warn_of_strays
        from jaxmnist.experiments.study import folder as studies
        from jaxmnist.experiments.study.jobs import delete_checkpoints
        from jaxmnist.experiments.study.processes import Settings
        from jaxmnist.experiments.study.training import Resources, require_possible, train_seeds
        from jaxmnist.report.plots.study import save_study_pictures
        from jaxmnist.report.terminal import study as report
        from jaxmnist.runs.environment import environment
        from jaxmnist.runs.initial import with_initial_weights
        from jaxmnist.runs.teacher import open_teacher
        from jaxmnist.runtime.files import locked
        from jaxmnist.runtime.mesh import where_text

        self.require_same_options(team)
        console = self.console() if team.is_leader else self.no_console()
        config, dataset = self.configure(console, None, self.learning_rate, self.init_from)
        where = self.start_on(team, console)
        if self.init_from is not None:
            config = with_initial_weights(config, dataset, self.init_from)
        team.require_same(as_texts(config))
        settings = Settings(self.data_dir, not self.no_compile_cache)
        resources = Resources(dataset, where, environment(where), settings, team)
        require_possible(config, resources, self.processes, self.together)
        team.remedy = "what was saved is kept: give the same command again to all processes"
        folder = self.out or Path("studies", _default_name(config))
        if not team.is_leader:  # the leader alone needs the folder
            train_seeds(studies.Study(folder, config), [], resources, together=self.together)
            return
        open_teacher(config)  # before there is a folder
        study = studies.open_study(folder, config, resources.environment)
        warn_of_strays(folder, studies.own_folders(study))
        with locked(folder):
            finished = [result.seed for result in studies.read_seeds(study)]
            report.print_study_setup(console, study, dataset, where_text(where, team.size), finished)
            for seed in finished:  # left there if the study was killed just before
                delete_checkpoints(study, seed)
            wanted = range(self.first_seed, self.first_seed + self.seeds)
            todo = [seed for seed in wanted if seed not in finished]
            processes = self._count_processes(console, config, resources, len(todo))
            with report.progress_bars(console) as bars:
                callbacks = [report.seed_bars(bars, config.recipe.epochs), self._recorder(study, console)]
                train_seeds(study, todo, resources, callbacks, processes, self.together)
            results = studies.read_seeds(study)
            figures = studies.summary(study, results, self.threshold)
            with writing(folder, "give the same command again", mend=True):
                studies.write_results(study, results, figures)
                files = save_study_pictures(folder, figures, [result.accuracies for result in results])
        if self.json:
            print(json_text(figures | {"study": str(folder)}))
        else:
            report.print_study(console, figures, [folder / studies.SUMMARY, *files])

    def _recorder(self, study: "StudyFolder", console: "Console") -> "Callback":
        """Makes a callback that keeps the results up to date and prints a line for each finished seed."""
        from jaxmnist.experiments.study.folder import read_seeds, summary, write_results
        from jaxmnist.report.terminal.study import print_seed

        def record(progress: "Progress") -> None:
            if progress.kind != "finished":
                return
            results = read_seeds(study)
            figures = summary(study, results, self.threshold)
            try:
                write_results(study, results, figures)
            except OSError as error:
                reason = f"the results of {study.folder} cannot be written ({error.strerror})"
                warnings.warn(f"{reason}; training goes on.", JaxmnistWarning, stacklevel=2)
            result = next(result for result in results if result.seed == progress.seed)
            print_seed(console, result, figures)

        return record

    def _count_processes(
        self, console: "Console", config: "RunConfig", resources: "Resources", seeds: int
    ) -> int:
        """Returns the number of processes to train the seeds in, which it measures if that pays; 0 for none."""
        from jaxmnist.experiments.study import pace
        from jaxmnist.report.terminal.study import print_paces
        from jaxmnist.runtime.devices import count_cores

        cores = count_cores()
        if self.processes or self.together or not resources.shares_cpu:
            return self.processes
        if not pace.is_worth_measuring(config, resources.dataset, seeds, cores):
            return cores
        with console.status("measuring how many seeds to train at once"):
            paces = pace.measure_paces(config, seeds, cores, resources.settings, resources.environment)
        fastest = pace.fastest(paces, seeds)
        print_paces(console, paces, fastest)
        return fastest.processes

    def _compare(self) -> None:
        from jaxmnist.experiments.study.compare import compare_studies
        from jaxmnist.experiments.study.folder import read_study
        from jaxmnist.report.plots.study import save_comparison
        from jaxmnist.report.terminal.study import print_comparison
        from jaxmnist.runs.folder import write_json

        if len(self.compare) < 2:
            raise UsageError("--compare names one study; name another one to compare it with.")
        compared, files = compare_studies([read_study(folder) for folder in self.compare]), []
        if self.out is not None:
            with writing(f"--out {self.out}", "name another folder"):
                files = [self.out / "comparison.json", save_comparison(self.out, compared)]
                write_json(files[0], compared)
        if self.json:
            print(json_text(compared))
        else:
            print_comparison(self.console(), compared, files)


def require_at_least(option: str, value: int | None, least: int) -> None:
    """Checks the value of an option, if it is given."""
    if value is not None and value < least:
        raise UsageError(f"--{option} {value} is out of range; choose a number from {least} on.")


def require_seeds(first_seed: int, seeds: int) -> None:
    """Checks --first-seed and --seeds."""
    require_at_least("seeds", seeds, 1)
    most = 2**32 - seeds
    if not 0 <= first_seed <= most:
        raise UsageError(
            f"--first-seed {first_seed} is out of range; {seeds} seeds can begin at 0 to {most}."
        )


def _default_name(config: "RunConfig") -> str:
    name = f"{arch_word(config.arch)}-{config.recipe.name}-{dataset_word(config.dataset)}-{config.select_on}"
    return f"{name}-folds{config.folds}" if config.folds else name
