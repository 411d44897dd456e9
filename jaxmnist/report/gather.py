"""Gathers the facts of runs from their folders and the data; nothing is written, downloaded or trained."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxmnist.config.run import RunConfig
from jaxmnist.data import Dataset, load_dataset
from jaxmnist.errors import CheckpointError, DataError, UsageError
from jaxmnist.inference.evaluate import evaluate_split, wilson_interval
from jaxmnist.models import ARCHS, arch_word, create_model
from jaxmnist.models.structure import Layer, layers, totals
from jaxmnist.report.facts import RunFacts, Samples
from jaxmnist.report.plots.preview import augmented_versions, changes_in_words
from jaxmnist.runs.checkpoints import Checkpoints
from jaxmnist.runs.compare import ComparedRun, read_run
from jaxmnist.runs.folder import CONFIG, read_config, require_data_of_run
from jaxmnist.runs.record import read_record
from jaxmnist.runs.restore import restore_run
from jaxmnist.runtime.devices import Device
from jaxmnist.runtime.reading import read_json
from jaxmnist.train.network import Network

_SAMPLES, _VERSIONS, _SEED = 10, 3, 1


def gather(folders: Sequence[Path], data_dir: Path | None, device: Device) -> list[RunFacts]:
    """Gathers the facts of runs, in the order given; notes among the facts say what is missing.

    Args:
        folders: run folders; one that is named twice counts once.
        data_dir: as for `load_dataset`; if it is given, missing or different data are an error instead of a note.
        device: device that evaluates the best checkpoints.

    Raises:
        CheckpointError: a folder is not a run folder, or its files are damaged.
        DataError: `data_dir` does not have the data of a run.
    """

    @functools.cache
    def load(name: str) -> Dataset | DataError:
        try:
            return load_dataset(name, data_dir, download=False)
        except DataError as error:
            return error

    unique = {folder.resolve(): folder for folder in folders}
    return [_facts(folder, load, data_dir is not None, device) for folder in unique.values()]


def _facts(run: Path, load: Callable[[str], Dataset | DataError], strict: bool, device: Device) -> RunFacts:
    config, environment = None, {}
    try:
        figures, rows = read_run(run), read_record(run).rows
        if (run / CONFIG).is_file():
            config, environment = read_config(run), read_json(run / CONFIG).get("environment")
    except OSError as error:
        raise CheckpointError(f"{run} cannot be read ({error.strerror}); check its permissions.") from error
    notes: list[str] = []
    network = _network(run, config, device, notes)
    dataset = _dataset(run, config, load, strict, notes)
    evaluation, samples, pictures = None, None, {}
    if dataset is not None and config is not None:
        if network is not None:
            evaluation = evaluate_split(network, dataset, "test")
            indices = [mistake.index for mistake in evaluation.mistakes]
            pictures = {index: dataset.test_images[index] for index in indices}
        if changes_in_words(config.recipe):
            originals = dataset.train_images[:_SAMPLES]
            samples = Samples(originals, augmented_versions(originals, config.recipe, _SEED, _VERSIONS))
    structure = _layers(figures, config)
    verdict, interval = _verdict(figures, rows)
    return RunFacts(
        figures=figures,
        verdict=verdict,
        interval=interval,
        config=config,
        environment=environment if isinstance(environment, dict) else {},
        rows=rows,
        layers=structure,
        totals=totals(structure) if structure else None,
        evaluation=evaluation,
        pictures=pictures,
        samples=samples,
        notes=tuple(notes),
    )


def _network(run: Path, config: RunConfig | None, device: Device, notes: list[str]) -> Network | None:
    if config is None:
        notes.append(
            f"The run folder has no {CONFIG}, so settings, environment, confusion matrix and pictures are left out."
        )
        return None
    try:
        config.create_model()
    except UsageError as error:
        notes.append(f"The network is gone, so layers, confusion matrix and mistakes are left out: {error}")
        return None
    if Checkpoints(run, arch_word(config.arch)).latest_step() is None:
        notes.append("The run has no checkpoint, so confusion matrix and mistakes are left out.")
        return None
    return restore_run(run, "best", device)


def _dataset(
    run: Path,
    config: RunConfig | None,
    load: Callable[[str], Dataset | DataError],
    strict: bool,
    notes: list[str],
) -> Dataset | None:
    if config is None:
        return None
    dataset = load(config.dataset)
    try:
        if isinstance(dataset, DataError):
            raise dataset
        require_data_of_run(config, dataset, run)
    except DataError as error:
        if strict:
            raise
        notes.append(f"The run's data were not found, so confusion matrix and pictures are left out: {error}")
        return None
    return dataset


def _layers(figures: ComparedRun, config: RunConfig | None) -> list[Layer]:
    if config is None:
        return layers(create_model(figures.arch)) if figures.arch in ARCHS else []
    try:
        return layers(config.create_model())
    except UsageError:
        return []  # a network of the user's own that is gone, or one of a later version


def _verdict(figures: ComparedRun, rows: list[dict[str, Any]]) -> tuple[str, tuple[float, float] | None]:
    """Returns the verdict on a run, and the 95 % interval of its accuracy."""
    epoch, accuracy = figures.best_epoch, figures.test_accuracy_of_best
    if not figures.finished:
        if not figures.epochs:
            return f"Unfinished: none of {figures.recipe_epochs} epochs is complete.", None
        epoch, accuracy = figures.epochs, figures.test_accuracies[-1]
    interval, count = None, ""
    for row in rows:
        if row.get("epoch") == epoch and row.get("test_examples") and "test_correct" in row:
            correct, examples = int(row["test_correct"]), int(row["test_examples"])
            interval = wilson_interval(correct, examples)
            count = ": {:,} of {:,} images (95 % interval {:.2f} to {:.2f} %)".format(
                correct, examples, *interval
            )
    said = f"{accuracy:.2f} % test accuracy on {figures.dataset}{count}."
    if figures.finished:
        sentence = f"{said} Epoch {epoch} {_SELECTED.get(figures.select_on, 'was kept')}."
    else:
        sentence = f"Unfinished: after {epoch} of {figures.recipe_epochs} epochs, {said}"
    if not figures.rule_met:
        sentence += " No epoch met the recipe's checkpoint rule, so the best of all was kept."
    if figures.dataset == "digits":
        sentence += " These are scikit-learn's digits, not MNIST."
    return sentence, interval


_SELECTED = {
    "test": "was selected on these same images, which flatters it a little",
    "val": "was selected on held-out training images",
    "last": "was kept because it is the last one; none was selected",
}
