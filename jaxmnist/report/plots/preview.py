"""Picture of an augmentation: images, and below them random versions of each."""

import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, PRNGKeyArray, UInt8
from matplotlib.figure import Figure

from jaxmnist.augment import augment
from jaxmnist.augment.moments import by_moments
from jaxmnist.config import Recipe
from jaxmnist.runs.curves import save_figure

_GAP = 2
"""Distance of two images in pixels."""
_INCHES = 0.8
"""Side of an image with its gap."""
_NARROWEST = 5.0
"""Least width in inches, for the title."""


def save_preview(
    path: Path, images: UInt8[np.ndarray, "n 28 28"], dataset: str, recipe: Recipe, seed: int, versions: int
) -> Path:
    """Draws the images in a row, and below it rows of versions that training may see, into a PNG file.

    `dataset` is named in the title, and `seed` is that of the random changes. Returns the path.
    """
    changed = augmented_versions(images, recipe, seed, versions)
    rows = np.concatenate([images[None].astype(np.float32), changed])
    side = images.shape[1] + _GAP
    # White gaps between the images, and none after the last ones.
    tiles = np.pad(rows, ((0, 0), (0, 0), (0, _GAP), (0, _GAP)), constant_values=255)
    mosaic = tiles.transpose(0, 2, 1, 3).reshape(len(rows) * side, -1)[:-_GAP, :-_GAP]
    width = max(_NARROWEST, _INCHES * len(images) + 1.1)
    title = f"Recipe {recipe.name} on training images of {dataset}, seed {seed}"
    lines = [title, *textwrap.wrap(", ".join(changes_in_words(recipe)), int(13 * width))]
    figure = Figure(figsize=(width, _INCHES * len(rows) + 0.3 + 0.2 * len(lines)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(mosaic, cmap="gray", vmin=0, vmax=255)
    axes.set_xticks([])
    names = ["original", *(f"version {version}" for version in range(1, versions + 1))]
    axes.set_yticks([side * row + (side - _GAP - 1) / 2 for row in range(len(rows))], names, fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.suptitle("\n".join(lines), fontsize=9)
    return save_figure(figure, path)


def augmented_versions(
    images: UInt8[np.ndarray, "n 28 28"], recipe: Recipe, seed: int, versions: int
) -> Float32[np.ndarray, "versions n 28 28"]:
    """Makes versions of each image that the network may see in training, with grey values from 0 to 255."""
    originals = jnp.asarray(images)

    def version(key: PRNGKeyArray) -> Float32[Array, "n 28 28"]:
        changed = augment(key, originals, recipe.augmentation).astype(jnp.float32)
        return by_moments(changed, recipe)

    keys = jax.random.split(jax.random.key(seed), versions)
    return np.asarray(jax.jit(jax.vmap(version))(keys))


def changes_in_words(recipe: Recipe) -> list[str]:
    """Returns a phrase for each kind of change to training images, in order of application."""
    a = recipe.augmentation
    fill = f" (filled with grey {a.rotation_fill})" if a.rotation_fill else ""
    phrases = {
        "perspective": f"perspective {a.perspective:g} in {100 * a.perspective_probability:g} % of images",
        "rotation": f"rotation ±{a.rotation:g}°{fill}",
        "translation": f"translation ±{100 * a.translation:g} % of the side",
        "scale": f"scale ±{100 * a.scale:g} %",
        "shear": f"shear ±{a.shear:g}°",
        "elastic": f"elastic with alpha {a.elastic:g} and sigma {a.elastic_sigma:g}",
    }
    chosen = [phrase for field, phrase in phrases.items() if getattr(a, field)]
    if chosen and a.interpolation == "bilinear":
        chosen.append("bilinear interpolation")
    if chosen and a.fade:
        chosen.append(f"fading to {100 * a.fade_to:g} % in the last {100 * a.fade:g} % of the training")
    return chosen + ["deskewed"] * recipe.deskew + ["rescaled"] * recipe.rescale
