"""Configuration of a run, read from JSON and options.

A configuration file changes the fields it names and leaves the rest. Objects within objects are merged (RFC 7396), so
`{"recipe": {"name": "third", "plateau": {"patience": 1}}}` is the recipe `third` with another patience. The
`config.json` of a run names every field, and so repeats the run.
"""

import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Int32

from jaxmnist.config.changes import changed_recipe, merged
from jaxmnist.config.limits import Limits, check_fields
from jaxmnist.config.parsing import updated
from jaxmnist.config.recipe import Recipe
from jaxmnist.config.recipes import RECIPES, get_recipe, recipe_of
from jaxmnist.config.seal import SEAL, is_intact
from jaxmnist.config.settings import nested
from jaxmnist.data.checksums import MNIST_FINGERPRINT
from jaxmnist.data.dataset import DIGITS, Dataset, DatasetInfo, Fit
from jaxmnist.data.splits import LAST_TWELFTH, SelectOn, Split, require_enough, split_indices
from jaxmnist.errors import JaxmnistWarning, UsageError, unknown_name
from jaxmnist.models import ARCHS, Model, absolute_arch, create_model, is_custom
from jaxmnist.runtime.reading import UnsuitableFileError, read_json


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Everything that decides the outcome of a run besides the images."""

    arch: str
    """Name of the network, or the place of a class of the user's own."""
    recipe: Recipe
    dataset: str
    """Name of the dataset, or absolute path of one of the user's own."""
    # A key has 32 bits: larger seeds would be cut, and two of them could have one outcome.
    seed: Annotated[int, Limits(at_least=0, at_most=2**32 - 1)]
    select_on: SelectOn
    """Split that drives the plateau and picks the best epoch; with `last` no split does, and the last epoch is kept."""
    data_fingerprint: str
    """SHA-256 of the images and labels."""
    norm: Literal["batch", "layer", "group"] | None = None
    """Normalisation in place of the network's own, for networks with a choice."""
    folds: Annotated[int | None, Limits(at_least=2, at_most=100)] = None
    """Number of equal parts of the training images, one of which is `val`: the last for seed 1, the one before it for
    seed 2, and so on. Without folds `val` is the last twelfth for every seed."""
    arch_fingerprint: str = ""
    """SHA-256 of the file that defines the network, for a class of the user's own."""
    classes: tuple[str, ...] = DIGITS
    """Names of the classes, in the order of the labels."""
    fit: Fit = "mnist"
    """The way pictures become 28x28."""
    inverted: bool = False
    """True if the grey values of the pictures were inverted, as they have dark ink."""
    test_path: str | None = None
    """Absolute path of the file with the test split, if one was named."""
    val_count: int | None = None
    """Number of images of the val split that came with the data; None if it came without, or if `folds` are given."""
    init_from: str | None = None
    """Absolute path of the run or weights file whose weights the run began with."""
    init_fingerprint: str | None = None
    """SHA-256 of those weights."""
    extended_from: int | None = None
    """Number of epochs with which the run began, if it has been given more."""

    def __post_init__(self) -> None:
        check_fields(self, "the configuration")
        if self.folds is not None and self.select_on != "val":
            raise UsageError(
                f"folds hold out training images, and --select-on {self.select_on} holds out none; leave out one."
            )
        if self.select_on == "last" and self.recipe.plateau is not None:
            raise UsageError(
                f"recipe {self.recipe.name!r} has a plateau schedule, which watches the selecting split, and "
                "--select-on last has none; add --schedule one_cycle, linear or constant, or select on val or test."
            )

    @property
    def held_out(self) -> tuple[int, int]:
        """Number of the part of the training images that is held out as `val`, and the number of parts."""
        return LAST_TWELFTH if self.folds is None else (-self.seed % self.folds, self.folds)

    def splits(self, train_count: int, test_count: int) -> dict[Split, Int32[np.ndarray, " n"]]:
        """Returns the indices of each split's images; see `jaxmnist.data.splits.split_indices`."""
        return split_indices(train_count, test_count, self.select_on, self.held_out, self.val_count)

    @property
    def data_info(self) -> DatasetInfo:
        """The properties of the dataset that its networks need."""
        return DatasetInfo(self.dataset, self.classes, self.fit, self.inverted)

    def create_model(self) -> Model:
        """Creates the network; see `jaxmnist.models.create_model`.

        Raises:
            UsageError: there is no such arch, or it has no choice of dropout or normalisation.
        """
        overrides = _given({"dropout": self.recipe.dropout, "norm": self.norm})
        return create_model(self.arch, num_classes=len(self.classes), **overrides)


def read_file(path: Path) -> dict[str, Any]:
    """Reads the JSON object of a configuration file; `run_config` checks its content.

    Raises:
        UsageError: the file cannot be read or does not hold a JSON object.
    """
    try:
        values = read_json(path)
    except (ValueError, UnsuitableFileError) as error:
        raise UsageError(f"--config {path} is not a JSON object ({error}); correct the file.") from error
    except OSError as error:
        raise UsageError(f"--config {path} cannot be read ({error.strerror}); name a JSON file.") from error
    if SEAL in values and not is_intact(values):
        message = f"--config {path} was changed after a run had written it; its values are used as they are."
        warnings.warn(message, JaxmnistWarning, stacklevel=2)
    return values


def run_config(values: Mapping[str, Any]) -> RunConfig:
    """Makes a configuration from some of its values, with defaults for the rest.

    Args:
        values: fields of `RunConfig`. `recipe` may be a name, or an object that changes fields of the recipe it
            names, by default the arch's own. `environment` and `seal`, keys of a run's `config.json`, are ignored.

    Raises:
        UsageError: a key is unknown (the message names the nearest one), or a value is out of range.
    """
    values = {key: value for key, value in values.items() if key not in ("environment", SEAL)}
    recipe = values.pop("recipe", {})
    config = updated(RunConfig("third", Recipe("none"), "", 0, "val", ""), values)
    if not is_custom(config.arch) and config.arch not in ARCHS:
        raise unknown_name("arch", config.arch, (*ARCHS, "FILE.py:CLASS"))
    recipe = changed_recipe(recipe_of(config.arch), recipe)
    arch = absolute_arch(config.arch)
    return dataclasses.replace(config, arch=arch, recipe=recipe, seed=values.get("seed", recipe.default_seed))


def with_data(config: RunConfig, dataset: Dataset) -> RunConfig:
    """Returns the configuration of a run on a dataset.

    The mean and standard deviation of a recipe are those of MNIST. On other data the recipe takes those of the training
    images, rounded to four decimals, unless it was given others than its own.

    Raises:
        DataError: the dataset has fewer images than a batch, or too few to hold out any.
    """
    recipe = config.recipe
    require_enough(dataset, config.select_on, config.folds, recipe.batch_size)
    if dataset.fingerprint != MNIST_FINGERPRINT:
        recipe = _with_statistics(recipe, recipe_of(config.arch), _rounded(dataset))
    return dataclasses.replace(
        config,
        recipe=recipe,
        dataset=dataset.info.dataset,
        data_fingerprint=dataset.fingerprint,
        classes=dataset.classes,
        fit=dataset.fit,
        inverted=dataset.inverted,
        test_path=dataset.test_path,
        val_count=None if config.folds else dataset.val_count,
    )


def with_mean_and_std(config: RunConfig, dataset: Dataset, mean_and_std: tuple[float, float]) -> RunConfig:
    """Returns the configuration with other statistics than its recipe's own or the dataset's; given ones stay."""
    default = recipe_of(config.arch)
    recipe = _with_statistics(config.recipe, default, mean_and_std, _rounded(dataset))
    return dataclasses.replace(config, recipe=recipe)


def _rounded(dataset: Dataset) -> tuple[float, float]:
    mean, std = dataset.mean_and_std
    return round(mean, 4), max(round(std, 4), 1e-4)


def _with_statistics(
    recipe: Recipe, default: Recipe, mean_and_std: tuple[float, float], *replaced: tuple[float, float]
) -> Recipe:
    name = recipe.name.removesuffix("-modified")
    known = get_recipe(name) if name in RECIPES else default
    # A file such as another run's `config.json` may have the statistics already.
    if (recipe.mean, recipe.std) not in ((known.mean, known.std), mean_and_std, *replaced):
        return recipe
    mean, std = mean_and_std
    is_known = dataclasses.replace(recipe, name=name, mean=known.mean, std=known.std) == known
    return dataclasses.replace(recipe, name=name if is_known else recipe.name, mean=mean, std=std)


def merge_options(
    values: Mapping[str, Any],
    options: Mapping[str, Any],
    recipe: str | None,
    recipe_options: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Merges options into the values of a configuration file, which they overrule.

    Args:
        values: content of the file.
        options: fields of a run's configuration; None for an option that is not given.
        recipe: name of a recipe, in place of the file's.
        recipe_options: fields of the recipe; None for an option that is not given.
        settings: further fields of the recipe from `jaxmnist.config.settings.parse_settings`; None is a value.

    Returns:
        Values for `run_config`.

    Raises:
        UsageError: an option and a setting set the same field.
    """
    given, settings = _given(recipe_options), settings or {}
    if twice := given.keys() & settings.keys():
        field = min(twice)
        raise UsageError(
            f"--set {field} and --{field.replace('_', '-')} set the same field; leave out one of them."
        )
    chosen = values.get("recipe", {}) if recipe is None else recipe
    changes = {**given, **settings}
    if changes and isinstance(chosen, str):
        chosen = {"name": chosen}
    # Anything else that is not an object is left for `run_config` to refuse.
    recipe_values = merged(nested(chosen), changes) if isinstance(chosen, Mapping) else chosen
    return {**values, **_given(options), "recipe": recipe_values}


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
