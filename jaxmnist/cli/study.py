"""The `study` command."""

import dataclasses
import functools
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from jaxmnist.cli.device_options import MultiDeviceCommand
from jaxmnist.cli.options import OptionalFolder
from jaxmnist.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxmnist.data import Dataset
    from jaxmnist.experiments.study.folder import Study as StudyFolder
    from jaxmnist.runs.progress import Callback, Progress
    from jaxmnist.runtime.team import Team

Rate = Annotated[float | None, tyro.conf.arg(aliases=["--lr"], metavar="FLOAT", help_behavior_hint="")]
Studies = Annotated[tuple[Path, ...], tyro.conf.arg(metavar="STUDY STUDY ...", help_behavior_hint="")]


@dataclasses.dataclass(frozen=True)
class Study(MultiDeviceCommand):
    """Repeat a training over many seeds, for figures with an interval.

    The accuracy of the last epoch counts: on val, which leaves the test images out of sight, or with --select-on
    last or test on the test images. The same command again goes on where it stopped; with more --seeds it adds
    them.
    """

    learning_rate: Rate = None
    """Instead of the recipe's."""
    seeds: int = 5
    """How many, counted from --first-seed; the statistics are over all that are finished in the folder."""
    first_seed: int = 1
    """The first of them."""
    processes: int = 0
    """Train so many seeds at a time, in processes of their own that share out the CPU's cores; by default as many as
    there are cores, which trains more seeds an hour than each on all cores."""
    together: int = 0
    """Train so many seeds in one program; by default one on a CPU, whose cores one keeps busy, elsewhere all."""
    threshold: float = 99.4
    """Count the seeds whose last five epochs all reach this accuracy, in percent."""
    keep_checkpoints: bool = False
    """Keep the checkpoints of finished seeds, which are deleted otherwise; weights, metrics, predictions stay."""
    out: OptionalFolder = None
    """Folder of the study; by default studies/ARCH-RECIPE-DATASET-SELECT_ON."""
    compare: Studies = ()
    """Train nothing; test the difference of two studies on the same images.
    Of more than two each is held against the first, and --out keeps the table and a picture."""

    def run(self) -> None:
        if self.compare:
            self._compare()
            return
        for option, least in (("seeds", 1), ("processes", 0), ("together", 0)):
            if getattr(self, option) < least:
                raise UsageError(
                    f"--{option} {getattr(self, option)} is out of range; choose a number from {least} on."
                )
        if self.processes > 1 and self.together > 1:
            raise UsageError(
                "--processes and --together are two ways to train seeds at once; give one of them."
            )
        if not 0 <= self.first_seed <= 2**32 - self.seeds:
            most = 2**32 - self.seeds
            raise UsageError(
                f"--first-seed {self.first_seed} is out of range; {self.seeds} seeds can begin at 0 to {most}."
            )
        from jaxmnist.runtime.signals import StopSignals

        # Around what has nothing to save; the training has its own.
        with StopSignals():
            team = self.join()
            with team.together():
                self._train(team)

    def _train(self, team: "Team") -> None:
        from jaxmnist.experiments import study
        from jaxmnist.report.terminal import study as report
        from jaxmnist.runs.folder import environment
        from jaxmnist.runs.teacher import open_teacher
        from jaxmnist.runtime.files import locked
        from jaxmnist.runtime.mesh import first_device, where_text

        console = self.console() if team.is_leader else self.no_console()
        config, dataset = self.configure(console, None, self.learning_rate)
        where = self.start_on(team, console)
        device = first_device(where)
        if self.processes > 1 and (device.platform != "cpu" or where != device):
            what = f"a {device.platform}" if where == device else "several devices"
            raise UsageError(f"--processes shares out a CPU, not {what}; leave it out, or add --device cpu.")
        if config.folds is not None and (self.together > 1 or where != device):
            raise UsageError(
                "--folds trains each seed on other images, so seeds cannot share one program; leave out --together, "
                "--devices and --mesh, or --folds."
            )
        team.remedy = "what was saved is kept: give the same command again to all processes"
        name = f"{config.arch}-{config.recipe.name}-{config.dataset}-{config.select_on}"
        name += f"-folds{config.folds}" if config.folds else ""
        folder = self.out or Path("studies", name)
        place = environment(where)
        wanted = range(self.first_seed, self.first_seed + self.seeds)
        if not team.is_leader:
            # Everything else is done by the leader, which alone needs the folder.
            self._train_seeds(study.Study(folder, config), [], dataset, where, [], place, team)
            return
        open_teacher(config)  # before there is a folder
        opened = study.open_study(folder, config, place)
        with locked(folder):
            finished = [result.seed for result in study.read_seeds(opened)]
            what = where_text(where, team.size)
            report.print_study_setup(console, opened.config, dataset, what, folder, opened.split, finished)
            for seed in finished:  # where it was killed before the last of that
                study.close_seed(opened, seed, self.keep_checkpoints)
            todo = [seed for seed in wanted if seed not in finished]
            with report.StudyDisplay(console, config.recipe.epochs) as display:
                recorder = _Recorder(display, opened, self.threshold)
                self._train_seeds(opened, todo, dataset, where, [recorder], place, team)
            results = study.read_seeds(opened)
            try:
                figures = study.write_results(opened, results, self.threshold)
                files = self._draw(opened, figures, [result.accuracies for result in results])
            except OSError as error:
                message = (
                    f"{folder} cannot be written to ({error.strerror}); make room and give the command again."
                )
                raise UsageError(message) from error
        if self.json:
            print(json.dumps(figures | {"study": str(folder)}))
        else:
            report.print_study(console, figures, [folder / study.SUMMARY, *files])

    def _train_seeds(
        self,
        opened: "StudyFolder",
        seeds: list[int],
        dataset: "Dataset",
        where: Any,
        callbacks: "Sequence[Callback]",
        place: Any,
        team: "Team",
    ) -> None:
        from jaxmnist.experiments.study.jobs import Job, Settings
        from jaxmnist.experiments.study.loop import train_seeds
        from jaxmnist.experiments.study.processes import train_in_processes
        from jaxmnist.experiments.study.together import train_together
        from jaxmnist.runtime.mesh import first_device, mesh_shape

        arguments = opened, seeds, dataset, where, callbacks, place
        if where != first_device(where):
            # On a CPU no more than one for each part of the mesh: a saved epoch is one of the whole group.
            most = mesh_shape(where).seed if first_device(where).platform == "cpu" else len(seeds)
            together = team.agree(self.together or max(1, most))
            train_together(*arguments, together, self.keep_checkpoints, team)
            return
        alone = where.platform == "cpu" or opened.config.folds is not None
        together = self.together or (1 if alone else len(seeds))
        if together > 1 and len(seeds) > 1:
            train_together(*arguments, together, self.keep_checkpoints)
            return
        processes = min(self.processes or self._cores(where), len(seeds))
        if processes < 2:
            train_seeds(*arguments, self.keep_checkpoints)
            return
        settings = Settings(self.data_dir, not self.no_compile_cache, self.keep_checkpoints)
        jobs = [Job(opened, seed, callbacks) for seed in seeds]
        train_in_processes(jobs, processes, settings)

    def _cores(self, device: Any) -> int:
        """How many seeds train at a time unless it is said: on a CPU one on each core that this process has."""
        if device.platform != "cpu" or self.together == 1:
            return 1
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def _draw(self, opened: "StudyFolder", figures: dict[str, Any], curves: list[Any]) -> list[Path]:
        from jaxmnist.report.plots.study import save_study_pictures

        return save_study_pictures(opened.folder, figures, curves)

    def _compare(self) -> None:
        from jaxmnist.experiments.study.compare import compare_studies, compare_with_first
        from jaxmnist.experiments.study.folder import read_study
        from jaxmnist.report.terminal.study import print_against_first, print_difference

        if len(self.compare) < 2:
            raise UsageError("--compare names one study; name what to compare it with, too.")
        studies = [read_study(folder) for folder in self.compare]
        if len(studies) == 2:
            if self.out is not None:
                raise UsageError("--out keeps the comparison of more than two studies; leave it out for two.")
            compared, show = compare_studies(*studies), print_difference
        else:
            compared = compare_with_first(studies)
            show = functools.partial(print_against_first, files=self._keep(compared))
        if self.json:
            print(json.dumps(compared))
        else:
            show(self.console(), compared)

    def _keep(self, compared: dict[str, Any]) -> list[Path]:
        """The files of a comparison in --out; none without it."""
        from jaxmnist.report.plots.study import save_comparison
        from jaxmnist.runs.folder import write_json

        if self.out is None:
            return []
        try:
            picture = save_comparison(self.out, compared)
            write_json(self.out / "comparison.json", compared)
        except OSError as error:
            message = f"--out {self.out} cannot be written to ({error.strerror}); name another folder."
            raise UsageError(message) from error
        return [self.out / "comparison.json", picture]


class _Recorder:
    """Callback that prints a line for each finished seed and keeps the study's results up to date."""

    def __init__(self, display: Any, study: "StudyFolder", threshold: float) -> None:
        self.display, self.study, self.threshold = display, study, threshold

    def __call__(self, progress: "Progress") -> None:
        """Shows a moment of a seed; records it once it is finished."""
        self.display(progress)
        if progress.kind == "finished":
            self._record(progress.seed)

    def _record(self, seed: int) -> None:
        from jaxmnist.experiments.study.folder import read_seeds, summary, write_results
        from jaxmnist.report.terminal.study import print_seed

        results = read_seeds(self.study)
        (result,) = (result for result in results if result.seed == seed)
        try:
            figures = write_results(self.study, results, self.threshold)
        except OSError as error:
            print(
                f"warning: the results of {self.study.folder} could not be written ({error.strerror}).",
                file=sys.stderr,
            )
            figures = summary(self.study, results, self.threshold)
        print_seed(self.display.console, result, self.study.split, figures)
