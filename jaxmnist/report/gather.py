"""What there is to report of runs, gathered from their folders and the data; `jaxmnist.report` turns it into a page."""

import functools
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxmnist.config.parsing import read_json
from jaxmnist.config.run import RunConfig
from jaxmnist.data import Dataset, load_dataset
from jaxmnist.errors import CheckpointError, DataError
from jaxmnist.inference.evaluate import evaluate_split, wilson_interval
from jaxmnist.models import ARCHS, create_model
from jaxmnist.models.structure import layers, totals
from jaxmnist.report.facts import Pair, RunFacts, Samples
from jaxmnist.report.plots.preview import augmented_versions, changes_in_words
from jaxmnist.runs.checkpoints import Checkpoints
from jaxmnist.runs.compare import ComparedRun, read_run
from jaxmnist.runs.folder import CONFIG, METRICS, RESULTS, read_config, read_metrics, require_data_of_run
from jaxmnist.runs.restore import restore_run
from jaxmnist.runtime.devices import Device
from jaxmnist.train.network import Network

_SAMPLES, _VERSIONS, _SEED = 10, 3, 1


def gather(folders: Sequence[Path], data_dir: Path | None, device: Device) -> list[RunFacts]:
    """What there is to say of runs, in the order given; one that is named twice counts once.

    Nothing is written, downloaded or trained. What is missing is said in the facts' notes.

    Args:
        folders: of the runs.
        data_dir: as for `load_dataset`; what is wrong with a folder that was named is an error.
        device: where the best checkpoints are evaluated.

    Raises:
        CheckpointError: a folder is not a run, or its files are damaged.
        DataError: `data_dir` has not the data of a run.
    """

    @functools.cache
    def load(name: str) -> Dataset | DataError:
        try:
            return load_dataset(name, data_dir, download=False)
        except DataError as error:
            if data_dir is not None:
                raise
            return error

    unique = {folder.resolve(): folder for folder in folders}
    return [_facts(folder, load, data_dir is not None, device) for folder in unique.values()]


def pairs(found: Sequence[RunFacts]) -> list[Pair]:
    """The errors of every two runs whose test images are the same and were classified."""
    from jaxmnist.experiments.statistics import mcnemar  # SciPy's statistics take a second to import

    compared = []
    for (first, one), (second, other) in itertools.combinations(enumerate(found), 2):
        if one.evaluation is None or other.evaluation is None or one.wrong is None or other.wrong is None:
            continue
        assert one.config is not None
        assert other.config is not None
        if one.config.data_fingerprint != other.config.data_fingerprint:
            continue
        only_first, only_second = len(one.wrong - other.wrong), len(other.wrong - one.wrong)
        both_wrong = len(one.wrong & other.wrong)
        both_right = one.evaluation.examples - both_wrong - only_first - only_second
        p_value = mcnemar(only_first, only_second)
        compared.append(Pair(first, second, both_right, both_wrong, only_first, only_second, p_value))
    return compared


def _facts(run: Path, load: Callable[[str], Dataset | DataError], strict: bool, device: Device) -> RunFacts:
    try:
        figures = read_run(run)
        rows, results = _rows(run), _object(run / RESULTS)
        config = read_config(run) if (run / CONFIG).is_file() else None
        environment = (_object(run / CONFIG) or {}).get("environment")
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
        samples = _samples(config, dataset)
    structure = layers(_model(figures, config)) if figures.arch in ARCHS else []
    verdict, interval = _verdict(figures, rows, results)
    return RunFacts(
        figures=figures,
        verdict=verdict,
        interval=interval,
        config=config,
        environment=environment if isinstance(environment, dict) else {},
        rows=rows,
        results=results,
        layers=structure,
        totals=totals(structure) if structure else None,
        evaluation=evaluation,
        pictures=pictures,
        samples=samples,
        notes=tuple(notes),
    )


def _rows(run: Path) -> list[dict[str, Any]]:
    rows = read_metrics(run)
    for row in rows:
        for name, value in row.items():
            if not isinstance(value, int | float):
                raise CheckpointError(
                    f"{run / METRICS} is damaged ({name} is {value!r}); restore it or leave the run out."
                )
    return rows


def _object(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where the file is not there. Those who read it first have found it sound."""
    if not path.is_file():
        return None
    values = read_json(path) if path.name == CONFIG else json.loads(path.read_text())
    return values if isinstance(values, dict) else None


def _model(figures: ComparedRun, config: RunConfig | None) -> Any:
    return create_model(figures.arch) if config is None else config.create_model()


def _network(run: Path, config: RunConfig | None, device: Device, notes: list[str]) -> Network | None:
    if config is None:
        notes.append(
            f"The run's {CONFIG} was not kept, only its figures: settings, environment, confusion matrix "
            "and pictures are left out."
        )
        return None
    if Checkpoints(run, config.arch).latest_step() is None:
        notes.append("The run has no checkpoint: confusion matrix and mistakes are left out.")
        return None
    return restore_run(run, "best", device).network


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
        notes.append(
            f"The run's data are not at hand, so confusion matrix and pictures are left out: {error}"
        )
        return None
    return dataset


def _samples(config: RunConfig, dataset: Dataset) -> Samples | None:
    if not changes_in_words(config.recipe):
        return None
    originals = dataset.train_images[:_SAMPLES]
    return Samples(originals, augmented_versions(originals, config.recipe, _SEED, _VERSIONS))


def _verdict(
    figures: ComparedRun, rows: list[dict[str, Any]], results: dict[str, Any] | None
) -> tuple[str, tuple[float, float] | None]:
    epoch = figures.best_epoch if figures.finished else figures.epochs
    counts = [
        (int(row["test_correct"]), int(row["test_examples"]))
        for row in rows
        if row.get("epoch") == epoch and row.get("test_examples") and "test_correct" in row
    ]
    interval = wilson_interval(*counts[0]) if counts else None
    accuracy = (
        figures.test_accuracy_of_best if figures.finished else next(iter(figures.test_accuracies[-1:]), None)
    )
    if accuracy is None:
        return f"Unfinished: none of {figures.recipe_epochs} epochs is complete.", None
    if interval is None:
        share = f"{accuracy:.2f} % of the test images of {figures.dataset} are classified correctly"
    else:
        (correct, examples), (low, high) = counts[0], interval
        share = (
            f"{correct:,} of the {examples:,} test images of {figures.dataset} are classified correctly: "
            f"{accuracy:.2f} % (95 % interval {low:.2f} to {high:.2f} %)"
        )
    if not figures.finished:
        sentence = f"Unfinished: after {figures.epochs} of {figures.recipe_epochs} epochs, {share}."
    elif figures.select_on == "test":
        sentence = (
            f"{share}, after epoch {epoch}, which was picked on these same images: that flatters it a little."
        )
    elif figures.select_on == "last":
        sentence = f"{share}, after epoch {epoch}, which was kept as it is the last one: nothing was picked."
    else:
        sentence = f"{share}, after epoch {epoch}, which was picked on held-out training images."
    if results is not None and results.get("rule_met") is False:
        sentence += " No epoch met the recipe's checkpoint rule, so the best of all was kept."
    if figures.dataset == "digits":
        sentence += " These are scikit-learn's digits, not MNIST."
    return sentence, interval
