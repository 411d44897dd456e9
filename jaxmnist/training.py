"""A training as the command and `train_run` do it: its configuration, its run folder, its progress."""

import contextlib
import dataclasses
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from jaxmnist.config.changes import modified, with_schedule
from jaxmnist.config.run import RunConfig, merge_options, run_config
from jaxmnist.data import Dataset
from jaxmnist.errors import JaxmnistWarning, counted
from jaxmnist.inference.evaluate import evaluate_split
from jaxmnist.models import is_custom
from jaxmnist.optim import make_optimizer
from jaxmnist.report.notebook import NotebookConsole, NotebookDisplay
from jaxmnist.report.terminal.training import TrainingDisplay
from jaxmnist.runs.calibration import calibrate_run
from jaxmnist.runs.environment import environment
from jaxmnist.runs.folder import config_of, create_run, read_metrics
from jaxmnist.runs.log import logged
from jaxmnist.runs.loop import fit
from jaxmnist.runs.pace import within_budget
from jaxmnist.runs.restore import restore_run
from jaxmnist.runs.selection import Results
from jaxmnist.runs.stopping import NO_LIMITS, StopRule, course_over_length
from jaxmnist.runs.teacher import open_teacher
from jaxmnist.runtime.devices import Device
from jaxmnist.runtime.mesh import Where, first_device, where_text
from jaxmnist.runtime.team import ALONE, Team

if TYPE_CHECKING:
    from jaxmnist.runs.tensorboard import EventWriter

RUN_OPTIONS = ("arch", "dataset", "seed", "norm", "select_on", "folds")
"""Options that set fields of a run's configuration."""
RECIPE_OPTIONS = ("epochs", "batch_size", "learning_rate", "weight_decay", "dropout")
"""Options that set fields of its recipe; `schedule` is separate, as it replaces the plateau as well."""


def checked_config(
    values: Mapping[str, Any], options: Mapping[str, Any], settings: Mapping[str, Any] | None = None
) -> RunConfig:
    """Makes a configuration and checks that its network and its optimizer can be created.

    Args:
        values: values for `jaxmnist.config.run.run_config`, such as the content of a configuration file.
        options: values that overrule them, under the names of the command's options; None for an option that is not
            given. The learning rate `"auto"`, which is found later, changes nothing here.
        settings: further fields of the recipe from `jaxmnist.config.settings.parse_settings`.

    Raises:
        UsageError: a value is wrong.
    """
    given = {name: options.get(name) for name in RUN_OPTIONS}
    changes = {name: options.get(name) for name in RECIPE_OPTIONS}
    if changes["learning_rate"] == "auto":
        del changes["learning_rate"]
    merged = merge_options(values, given, options.get("recipe"), changes, settings)
    if (kind := options.get("schedule")) is not None:
        merged["recipe"] = with_schedule(merged["recipe"], kind)
    config = run_config(merged)
    config.create_model()
    make_optimizer(config.recipe)
    if is_custom(config.arch):
        from jaxmnist.models.custom import fingerprint

        config = dataclasses.replace(config, arch_fingerprint=fingerprint(config.arch))
    if (distillation := config.recipe.distillation) is not None:
        # Absolute, as the run may be resumed from another folder.
        found = dataclasses.replace(distillation, teacher=str(Path(distillation.teacher).resolve()))
        config = dataclasses.replace(config, recipe=dataclasses.replace(config.recipe, distillation=found))
    return config


def start_run(
    config: RunConfig,
    dataset: Dataset,
    where: Where,
    root: Path,
    console: Console,
    find_rate: bool = False,
    stop_rule: StopRule = NO_LIMITS,
) -> tuple[Path, RunConfig]:
    """Creates the run folder, on request after a learning-rate range test and a measurement of the pace.

    Args:
        config: configuration of the run.
        dataset: the data.
        where: a device, or a mesh of several; a range test uses one.
        root: folder in which the run folder is created.
        console: console for messages.
        find_rate: True to take the learning rate that a range test suggests and to keep its plot in the run folder.
        stop_rule: limits of the training; a schedule is given the epochs that fit into `max_seconds`.

    Returns:
        The run folder, and the configuration with the final learning rate and number of epochs.
    """
    began = time.perf_counter()
    stop_rule.require_fitting(config)
    open_teacher(config)  # a teacher that cannot be used must not leave a run folder

    def in_time(config: RunConfig) -> RunConfig:
        if stop_rule.max_seconds is None or course_over_length(config.recipe) is None:
            return config
        left = stop_rule.max_seconds - (time.perf_counter() - began)
        config = within_budget(config, dataset, where, left)
        epochs = counted(config.recipe.epochs, "epoch")
        text = f"{epochs} for {stop_rule.max_seconds:g} seconds: the schedule ends there."
        console.print(text, highlight=False)
        return config

    if not find_rate:
        config = in_time(config)
        return create_run(root, config, environment(where)), config
    from jaxmnist.experiments.lr_range import doubt, find_learning_rate, range_test_of
    from jaxmnist.report.plots.lr_range import save_range
    from jaxmnist.report.terminal.lr_range import range_progress
    from jaxmnist.runs.curves import PLOTS, run_title

    settings, rate = range_test_of(config.recipe), config.recipe.learning_rate
    with range_progress(console, settings.steps) as show:
        result = find_learning_rate(config, dataset, first_device(where), settings, show)
    if result.suggestion is None:
        message = f"the range test suggests no learning rate: {result.reason}; {rate:g} is kept."
        warnings.warn(message, JaxmnistWarning, stacklevel=2)
    else:
        console.print(f"The range test suggests the learning rate {result.suggestion:.6g}.", highlight=False)
        if (reason := doubt(result, rate)) is not None:
            message = f"{reason}; compare it with the recipe's rate in short trainings."
            warnings.warn(message, JaxmnistWarning, stacklevel=2)
        recipe = modified(config.recipe, learning_rate=float(f"{result.suggestion:.6g}"))
        config = dataclasses.replace(config, recipe=recipe)
    config = in_time(config)
    run = create_run(root, config, environment(where))
    (run / PLOTS).mkdir()
    save_range(result, run_title(config), run / PLOTS / "lr_range.png")
    return run, config


def agree_on_run(team: Team, choose: Callable[[], tuple[Path, RunConfig]]) -> tuple[Path, RunConfig]:
    """Returns in every process of a team the run folder and configuration that the leader chooses."""
    if team.size == 1:
        return choose()
    chosen = choose() if team.is_leader else None
    values = None if chosen is None else (str(chosen[0]), dataclasses.asdict(chosen[1]))
    run, config = team.agree(values)
    return Path(run), config_of(config)


def train_in(
    run: Path,
    config: RunConfig,
    dataset: Dataset,
    where: Where,
    console: Console,
    tensorboard: bool = False,
    team: Team = ALONE,
    stop_rule: StopRule = NO_LIMITS,
) -> Results:
    """Trains in a run folder to the last epoch, shows progress, and draws the curves.

    Args:
        run: the run folder.
        config: configuration of the run.
        dataset: the data.
        where: a device, or a mesh of several.
        console: console for progress.
        tensorboard: True to write TensorBoard events; see `jaxmnist.runs.tensorboard`.
        team: the processes that train together; see `jaxmnist.runs.loop.fit`.
        stop_rule: limits of this session.

    Returns:
        The contents of `results.json`.

    Raises:
        JaxmnistError: as for `jaxmnist.runs.loop.fit`.
    """
    events = None
    if tensorboard and team.is_leader:
        from jaxmnist.runs.tensorboard import EventWriter

        events = EventWriter(run)
    shown = NotebookDisplay if isinstance(console, NotebookConsole) else TrainingDisplay
    log = logged(run, where_text(where, team.size)) if team.is_leader else contextlib.nullcontext()
    with log as write_log, shown(console, config, read_metrics(run)) as display:
        callbacks = [callback for callback in (display, write_log, events) if callback is not None]
        results = fit(config, dataset, run, where, callbacks, team, stop_rule)
    if not team.is_leader:
        return results
    from jaxmnist.runs.curves import save_curves  # matplotlib takes half a second to import

    try:
        if config.select_on == "val":
            calibrate_run(run, restore_run(run, "best", first_device(where)), dataset)
        save_curves(run)
    except OSError as error:
        message = f"the calibration and the curves cannot be written to {run} ({error.strerror})."
        warnings.warn(message, JaxmnistWarning, stacklevel=2)
    if events is not None:
        _add_confusion(events, run, dataset, first_device(where))
    return results


def _add_confusion(events: "EventWriter", run: Path, dataset: Dataset, device: Device) -> None:
    """Adds the confusion matrix of the best epoch on the test images to the events."""
    from jaxmnist.report.plots.mistakes import confusion_figure
    from jaxmnist.report.terminal.evaluation import describe_network
    from jaxmnist.runs.curves import as_png

    network = restore_run(run, "best", device)
    evaluation = evaluate_split(network, dataset, "test")
    figure = confusion_figure(evaluation, describe_network(network, run, "best"))
    events.add_picture("confusion", *as_png(figure), evaluation.epoch or 0)
