"""Model card of an exported network; its text is in `model_card.md`."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from jaxmnist.augment.moments import SPREADS
from jaxmnist.inference.description import Description
from jaxmnist.inference.markdown import to_markdown
from jaxmnist.models import is_custom
from jaxmnist.train.network import Network

IN_NUMPY = {
    "deskew": """
def deskew(image):  # [28, 28]
    ink, at = image.astype(float), np.arange(28.0)
    mass = max(ink.sum(), 1e-6)
    y, x = at - ink.sum(1) @ at / mass, at - ink.sum(0) @ at / mass
    slope = y @ ink @ x / max(ink.sum(1) @ y**2, 1e-6)
    places = at + np.clip(slope * y, -10, 10)[:, None]
    return np.stack([np.interp(*row, left=0, right=0) for row in zip(places, [at] * 28, ink)])
""",
    "rescale": f"""
def rescale(image):  # [28, 28]
    at = np.arange(28.0) - 13.5
    for spread, limits in {SPREADS}:
        profile, mass = image.sum(1), max(image.sum(), 1e-6)
        centre = profile @ at / mass
        factor = np.clip(np.sqrt(profile @ (at - centre) ** 2 / mass) / spread, *limits)
        places = at + np.clip(centre + (factor - 1) * at, -10, 10)
        # Turned about, so that the second time the columns become rows again.
        image = np.stack([np.interp(places, at, line, left=0, right=0) for line in image.T])
    return image
""",
    "tilt": """
def tilt(image, degrees):  # [28, 28]
    at = np.arange(28.0)
    places = at - np.tan(np.radians(degrees)) * (at - 13.5)[:, None]
    return np.stack([np.interp(*row, left=0, right=0) for row in zip(places, [at] * 28, image.T)], 1)
""",
}
"""The changes of a recipe to images, for one image, for those who use the weights alone."""


class Exported(NamedTuple):
    """A file that was written, and verified unless this machine lacks the program for it."""

    format: str
    file: Path
    difference: float | None
    """Largest difference of a probability from JAX's; None if not verified."""


def model_card(about: Description, files: Sequence[Exported], checked: int) -> str:
    """Writes the card, in Markdown.

    Args:
        about: the network.
        files: the files it was exported to.
        checked: number of test images that every file was verified on.
    """
    loader = jinja2.PackageLoader("jaxmnist.inference", "")
    environment = jinja2.Environment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        # Names in the card come from files; only what is marked as safe is Markdown.
        finalize=lambda value: to_markdown(value) if type(value) is str else value,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    recipe = about.network.recipe
    chosen = {"made upright": recipe.deskew, "rescaled": recipe.rescale}
    return environment.get_template("model_card.md").render(
        about=about,
        data=about.network.data_info,
        classes=list(zip(about.classes, about.evaluation.class_accuracies, strict=True)),
        recipe=recipe,
        mixes=getattr(about.network.model, "mixes", False),
        settings={name: _shown(value) for name, value in _settings(about.network).items()},
        has_torch_names=not is_custom(about.network.arch),
        files=files,
        formats=[made.format for made in files],
        checked=checked,
        by_moments=[words for words, used in chosen.items() if used],
        in_numpy="import numpy as np\n"
        + "".join(IN_NUMPY[name] for name in IN_NUMPY if getattr(recipe, name)),
    )


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        parts = [f"{name.replace('_', ' ')} {_shown(part)}" for name, part in value.items()]
        return ", ".join(parts) or "none"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return str(value)


def _settings(network: Network) -> dict[str, Any]:
    recipe = network.recipe
    hidden = {"name", "mean", "std", "default_seed", "ignored_epochs", "best_model", "repeat_epochs"}
    if recipe.optimizer != "sgd":
        hidden |= {"momentum", "nesterov"}
    if not recipe.weight_decay:
        hidden |= {"decay_on"}
    augmentation = {name: value for name, value in recipe.augmentation.in_effect.items() if value}
    values = dataclasses.asdict(recipe) | {"augmentation": augmentation}
    if recipe.schedule is not None:
        values["schedule"] = recipe.schedule.in_effect
    if recipe.dropout is None:
        values["dropout"] = getattr(network.model, "dropout", "the network's own")
    return {name: value for name, value in values.items() if name not in hidden}
