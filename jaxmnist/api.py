"""Training from a configuration to a complete run folder, for Python and the commands."""

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from jaxmnist.config import Recipe
from jaxmnist.config.run import RunConfig, changed_recipe, merge_options, run_config, with_data, with_schedule
from jaxmnist.data import Dataset, Fit, load_dataset
from jaxmnist.data.splits import SelectOn
from jaxmnist.errors import JaxmnistWarning
from jaxmnist.inference.classifier import Classifier, load
from jaxmnist.inference.evaluate import evaluate_split
from jaxmnist.models import is_custom
from jaxmnist.optim import make_optimizer
from jaxmnist.report.terminal.console import SafeConsole
from jaxmnist.report.terminal.training import TrainingDisplay, print_setup
from jaxmnist.runs.calibration import calibrate_run
from jaxmnist.runs.environment import environment
from jaxmnist.runs.folder import config_of, create_run
from jaxmnist.runs.loop import fit
from jaxmnist.runs.restore import restore_run
from jaxmnist.runs.selection import Results
from jaxmnist.runs.teacher import open_teacher
from jaxmnist.runtime.devices import Device, DeviceChoice, select_device, use_compile_cache
from jaxmnist.runtime.mesh import Where, first_device, where_text
from jaxmnist.runtime.team import ALONE, Team

if TYPE_CHECKING:
    from jaxmnist.runs.tensorboard import EventWriter

RUN_OPTIONS = ("arch", "dataset", "seed", "norm", "select_on", "folds")
"""Options that set fields of a run's configuration."""
RECIPE_OPTIONS = ("epochs", "batch_size", "learning_rate", "weight_decay", "dropout")
"""Options that set fields of its recipe; `schedule` is separate, as it replaces the plateau as well."""


def train_run(
    arch: str | type = "third",
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
    runs: str | Path = "runs",
    device: DeviceChoice = "auto",
    progress: bool = True,
) -> Classifier:
    """Trains a network and keeps metrics, checkpoints and plots in a run folder.

    The results are those of the command `train` with the same values, byte for byte.

    Args:
        arch: name of the network; or a `flax.linen.Module` class of your own, as `file.py:Class`,
            `package.module:Class` or the class itself.
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
        runs: folder in which the run folder is created.
        device: device to compute on; auto prefers an accelerator.
        progress: True to show progress on standard error.

    Returns:
        The network of the kept epoch, with the run folder as its `path` and the run's `results` and `metrics`.

    Raises:
        UsageError: a name is unknown, a value is out of range, or the run folder cannot be written.
        DataError: the dataset is missing or damaged.
        DivergedError, InterruptedRunError, StorageError: as for `jaxmnist.runs.loop.fit`.
    """
    if not isinstance(arch, str):
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
    data = load_dataset(dataset, data_dir, fit=fit)
    where = select_device(device)
    use_compile_cache()
    # Not a terminal if nothing is shown: an invisible display would still capture the output of others.
    console = SafeConsole(stderr=True) if progress else SafeConsole(quiet=True, force_terminal=False)
    run, config = start_run(
        with_data(config, data), data, where, Path(runs), console, learning_rate == "auto"
    )
    print_setup(console, config, data, where_text(where), run)
    train_in(run, config, data, where, console)
    return load(run, device=device)


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
) -> tuple[Path, RunConfig]:
    """Creates the run folder, on request after a learning-rate range test.

    Args:
        config: configuration of the run.
        dataset: the data.
        where: a device, or a mesh of several; a range test uses one.
        root: folder in which the run folder is created.
        console: console for messages.
        find_rate: True to take the learning rate that a range test suggests and to keep its plot in the run folder.

    Returns:
        The run folder, and the configuration with the final learning rate.
    """
    open_teacher(config)  # a teacher that cannot be used must not leave a run folder
    if not find_rate:
        return create_run(root, config, environment(where)), config
    from jaxmnist.experiments.lr_range import RangeTest, find_learning_rate
    from jaxmnist.report.plots.lr_range import save_range
    from jaxmnist.report.terminal.lr_range import range_progress
    from jaxmnist.runs.curves import PLOTS, run_title

    settings, rate = RangeTest(), config.recipe.learning_rate
    with range_progress(console, settings.steps) as show:
        result = find_learning_rate(config, dataset, first_device(where), settings, show)
    if result.suggestion is None:
        message = f"the range test suggests no learning rate: {result.reason}; {rate:g} is kept."
        warnings.warn(message, JaxmnistWarning, stacklevel=2)
    else:
        console.print(f"The range test suggests the learning rate {result.suggestion:.6g}.", highlight=False)
        recipe = changed_recipe(config.recipe, {"learning_rate": float(f"{result.suggestion:.6g}")})
        config = dataclasses.replace(config, recipe=recipe)
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

    Returns:
        The contents of `results.json`.

    Raises:
        JaxmnistError: as for `jaxmnist.runs.loop.fit`.
    """
    events = None
    if tensorboard and team.is_leader:
        from jaxmnist.runs.tensorboard import EventWriter

        events = EventWriter(run)
    with TrainingDisplay(console, config.recipe.epochs) as display:
        callbacks = [display] if events is None else [display, events]
        results = fit(config, dataset, run, where, callbacks, team)
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
