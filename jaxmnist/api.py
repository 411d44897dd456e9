"""Training for Python: `train_run` and `resume_run`."""

import contextlib
import dataclasses
import signal
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from jaxmnist.config import Recipe
from jaxmnist.config.run import with_data
from jaxmnist.data import Fit, load_dataset
from jaxmnist.data.splits import SelectOn
from jaxmnist.errors import InterruptedRunError
from jaxmnist.inference.classifier import Classifier, load
from jaxmnist.report.notebook import NotebookConsole, is_notebook
from jaxmnist.report.terminal.console import SafeConsole
from jaxmnist.report.terminal.training import print_setup
from jaxmnist.runs.devices import devices_of_run, training_devices
from jaxmnist.runs.extend import extended
from jaxmnist.runs.folder import load_data_of_run
from jaxmnist.runs.initial import arch_of as arch_of_source
from jaxmnist.runs.initial import with_initial_weights
from jaxmnist.runs.stopping import StopRule
from jaxmnist.runtime.devices import DeviceChoice, select_device, use_compile_cache
from jaxmnist.runtime.jax_settings import own_settings
from jaxmnist.runtime.mesh import where_text
from jaxmnist.training import checked_config, start_run, train_in


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
    schedule: Literal["constant", "one_cycle", "linear", "step"] | None = None,
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

    Example:
        >>> run = jaxmnist.train_run("second", dataset="digits", epochs=1, progress=False)
        >>> run.arch, run.results.parameters
        ('second', 5048)

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
