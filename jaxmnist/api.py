"""Training from a configuration to a complete run folder, for Python and the commands."""

import contextlib
import dataclasses
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from jaxmnist.config import Recipe
from jaxmnist.config.run import RunConfig, merge_options, modified, run_config, with_data, with_schedule
from jaxmnist.data import Dataset, Fit, load_dataset
from jaxmnist.data.splits import SelectOn
from jaxmnist.errors import InterruptedRunError, JaxmnistWarning
from jaxmnist.inference.classifier import Classifier, load
from jaxmnist.inference.evaluate import evaluate_split
from jaxmnist.models import is_custom
from jaxmnist.optim import make_optimizer
from jaxmnist.report.notebook import NotebookConsole, NotebookDisplay, is_notebook
from jaxmnist.report.terminal.console import SafeConsole
from jaxmnist.report.terminal.training import TrainingDisplay, print_setup
from jaxmnist.runs.devices import devices_of_run, training_devices
from jaxmnist.runs.environment import environment
from jaxmnist.runs.extend import extended
from jaxmnist.runs.folder import config_of, create_run, load_data_of_run
from jaxmnist.runs.initial import arch_of as arch_of_source
from jaxmnist.runs.initial import with_initial_weights
from jaxmnist.runs.loop import fit
from jaxmnist.runs.pace import within_budget
from jaxmnist.runs.restore import restore_run
from jaxmnist.runs.selection import Results
from jaxmnist.runs.stopping import NO_LIMITS, StopRule, course_over_length
from jaxmnist.runs.teacher import open_teacher
from jaxmnist.runtime.devices import Device, DeviceChoice, select_device, use_compile_cache
from jaxmnist.runtime.jax_settings import own_settings
from jaxmnist.runtime.mesh import Where, first_device, where_text
from jaxmnist.runtime.team import ALONE, Team

if TYPE_CHECKING:
    from jaxmnist.runs.tensorboard import EventWriter

RUN_OPTIONS = ("arch", "dataset", "seed", "norm", "select_on", "folds")
"""Options that set fields of a run's configuration."""
RECIPE_OPTIONS = ("epochs", "batch_size", "learning_rate", "weight_decay", "dropout")
"""Options that set fields of its recipe; `schedule` is separate, as it replaces the plateau as well."""


@own_settings()
def train_run(
    arch: str | type | None = None,
    *,
    recipe: str | Recipe | Mapping[str, Any] | None = None,
    dataset: str | PathLike[str] = "mnist",
    data_dir: str | Path | None = None,
    fit: Fit | None = None,
    seed: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | Literal["auto"] | None = None,
    schedule: Literal["constant", "one_cycle", "linear"] | None = None,
    weight_decay: float | None = None,
    dropout: float | None = None,
    norm: Literal["batch", "layer", "group"] | None = None,
    select_on: SelectOn = "val",
    folds: int | None = None,
    init_from: str | PathLike[str] | Classifier | None = None,
    patience: int | None = None,
    max_seconds: float | None = None,
    runs: str | Path = "runs",
    device: DeviceChoice = "auto",
    progress: bool = True,
) -> Classifier:
    """Trains a network and keeps metrics, checkpoints and plots in a run folder.

    The results are those of the command `train` with the same values, byte for byte.

    Args:
        arch: name of the network; or a `flax.linen.Module` class of your own, as `file.py:Class`,
            `package.module:Class` or the class itself; by default that of `init_from`, or third.
        recipe: a name, a `Recipe`, or a mapping that changes fields of a recipe, as `--set` does:
            `{"epochs": 5, "augmentation.rotation": 5, "plateau": None}`, with the recipe's name under `name`.
            By default the network's own recipe.
        dataset: name of the dataset, or path of one of your own; see `jaxmnist.load_dataset`.
        data_dir: folder with the four IDX files, or with a subfolder named after the dataset.
        fit: the way pictures of your own become 28x28; see `jaxmnist.load_dataset`.
        seed: seed of weights, order, augmentation and dropout; by default the recipe's own.
        epochs: replaces the recipe's number of epochs.
        batch_size: replaces the recipe's batch size.
        learning_rate: replaces the recipe's learning rate; "auto" takes the suggestion of a range test.
        schedule: course of the learning rate, in place of the recipe's schedule or plateau; see `Schedule`.
        weight_decay: replaces the recipe's weight decay.
        dropout: replaces the rates of the recipe and the network; 0 turns dropout off.
        norm: normalisation of evolution_v2 and evolution_v3.
        select_on: split that drives the plateau and picks the best epoch. With "last" no split does: training uses all
            training images and keeps the last epoch.
        folds: number of parts of the training images, one of which, by the seed, is held out; see `RunConfig`.
        init_from: run folder, weights file or network in use whose weights the training begins with, to fine-tune
            them by another recipe or on other data. Other classes get a fresh head.
        patience: ends training after this many epochs without a better one on the selecting split.
        max_seconds: ends training after the last epoch that fits into this time; a schedule gets fewer epochs instead.
        runs: folder in which the run folder is created.
        device: device to compute on; auto prefers an accelerator.
        progress: True to show progress, on standard error or in a notebook's cell.

    Returns:
        The network of the kept epoch, with the run folder as its `path` and the run's `results` and `metrics`.

    Raises:
        UsageError: a name is unknown, a value is out of range, or the run folder cannot be written.
        DataError: the dataset is missing or damaged.
        CheckpointError: `init_from` is missing, damaged or of another network.
        KeyboardInterrupt: SIGINT arrived; the state was saved first, and `resume_run` goes on from there.
        DivergedError, InterruptedRunError, StorageError: as for `jaxmnist.runs.loop.fit`.
    """
    source = init_from.path if isinstance(init_from, Classifier) else init_from
    if arch is None and source is not None:
        arch = arch_of_source(Path(source))
    if arch is not None and not isinstance(arch, str):
        from jaxmnist.models.custom import arch_of

        arch = arch_of(arch)
    options = {
        "arch": arch,
        "seed": seed,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "schedule": schedule,
        "weight_decay": weight_decay,
        "dropout": dropout,
        "norm": norm,
        "select_on": select_on,
        "folds": folds,
    }
    chosen = dataclasses.asdict(recipe) if isinstance(recipe, Recipe) else recipe
    config = checked_config({"recipe": {} if chosen is None else chosen}, options)
    stop_rule = StopRule(patience, max_seconds)
    data = load_dataset(dataset, data_dir, fit=fit)
    where = training_devices(config, select_device(device))
    use_compile_cache()
    console = _console(progress)
    config = with_data(config, data)
    if source is not None:
        config = with_initial_weights(config, data, Path(source))
    run, config = start_run(config, data, where, Path(runs), console, learning_rate == "auto", stop_rule)
    print_setup(console, config, data, where_text(where), run)
    with _interruptible(run):
        train_in(run, config, data, where, console, stop_rule=stop_rule)
    return load(run, device=device)


@own_settings()
def resume_run(
    run: str | PathLike[str] | Classifier,
    *,
    epochs: int | None = None,
    patience: int | None = None,
    max_seconds: float | None = None,
    data_dir: str | Path | None = None,
    device: DeviceChoice = "auto",
    progress: bool = True,
) -> Classifier:
    """Resumes the training of a run, exactly as if it had not been interrupted, as `train --resume` does.

    Args:
        run: the run folder, or its network in use.
        epochs: a higher number of epochs than the run began with.
        patience: as for `train_run`, for this session.
        max_seconds: as for `train_run`, for this session.
        data_dir: folder of the data, if it has moved; see `jaxmnist.load_dataset`.
        device: device to compute on; auto prefers an accelerator.
        progress: True to show progress on standard error.

    Returns:
        The network of the kept epoch.

    Raises:
        UsageError: the recipe's schedule does not allow other epochs or an earlier end, or the run is in use.
        CheckpointError: the folder is not a run, or no checkpoint is intact.
        DataError: the data are missing, damaged or not those of the run.
        KeyboardInterrupt, DivergedError, InterruptedRunError, StorageError: as for `train_run`.
    """
    folder, stop_rule = (
        Path(run.path if isinstance(run, Classifier) else run),
        StopRule(patience, max_seconds),
    )
    config = extended(folder, epochs, stop_rule)
    data = load_data_of_run(config, data_dir)
    where = devices_of_run(folder, config, select_device(device))
    use_compile_cache()
    console = _console(progress)
    print_setup(console, config, data, where_text(where), folder)
    with _interruptible(folder):
        train_in(folder, config, data, where, console, stop_rule=stop_rule)
    return load(folder, device=device)


@contextlib.contextmanager
def _interruptible(run: Path) -> Iterator[None]:
    """Turns the end of a run by Ctrl-C or a kernel's interrupt into the exception that Python has for it."""
    try:
        yield
    except InterruptedRunError as error:
        if error.signum != signal.SIGINT:
            raise
        # Without the traceback of the other error, which is this module's matter.
        raise KeyboardInterrupt(
            f"interrupted, the state is saved; go on with jaxmnist.resume_run({str(run)!r})"
        ) from None


def _console(progress: bool) -> Console:
    if progress and is_notebook():
        return NotebookConsole()
    # Not a terminal if nothing is shown: an invisible display would still capture the output of others.
    return SafeConsole(stderr=True) if progress else SafeConsole(quiet=True, force_terminal=False)


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
        epochs = f"{config.recipe.epochs} {'epoch' if config.recipe.epochs == 1 else 'epochs'}"
        console.print(
            f"{epochs} for {stop_rule.max_seconds:g} seconds: the schedule ends there.", highlight=False
        )
        return config

    if not find_rate:
        config = in_time(config)
        return create_run(root, config, environment(where)), config
    from jaxmnist.experiments.lr_range import find_learning_rate, range_test_of
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
    with shown(console, config.recipe.epochs) as display:
        callbacks = [display] if events is None else [display, events]
        results = fit(config, dataset, run, where, callbacks, team, stop_rule)
    if not team.is_leader:
        return results
    from jaxmnist.runs.curves import save_curves  # matplotlib takes half a second to import

    try:
        save_curves(run)
    except OSError as error:
        message = f"the curves cannot be written to {run} ({error.strerror})."
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
