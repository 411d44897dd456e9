"""Tests of the preview: its picture, its description of a recipe, and refused options."""

import dataclasses
import json
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from jaxmnist.augment import augment
from jaxmnist.augment.moments import deskew
from jaxmnist.cli import main as cli
from jaxmnist.config import Augmentation, get_recipe
from jaxmnist.data import load_dataset
from jaxmnist.report.plots import preview
from jaxmnist.report.plots.preview import changes_in_words, save_preview


@pytest.fixture
def call(monkeypatch, capsys):
    """Runs the command in this process; returns exit code, standard output, standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["augment_preview.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main("preview")
        return end.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def figures(monkeypatch):
    """Collects the figures that are saved."""
    saved, save_figure = [], preview.save_figure

    def save_and_keep(figure, path):
        saved.append(figure)
        return save_figure(figure, path)

    monkeypatch.setattr(preview, "save_figure", save_and_keep)
    return saved


def test_every_change_is_described_and_no_other():
    assert changes_in_words(get_recipe("third")) == [
        "rotation ±8° (filled with grey 1)",
        "translation ±10 % of the side",
    ]
    assert changes_in_words(get_recipe("dilated")) == [
        "perspective 0.2 in 50 % of images",
        "rotation ±15°",
    ]
    assert changes_in_words(get_recipe("evolution"))[2:] == [
        "scale ±15 %",
        "shear ±10°",
        "elastic with alpha 10 and sigma 3",
    ]
    assert changes_in_words(get_recipe("flagship"))[3:] == ["bilinear interpolation", "deskewed"]
    assert changes_in_words(get_recipe("step1")) == []


@pytest.mark.parametrize("name", ["third", "evolution", "flagship"])
def test_originals_stand_above_their_augmented_versions(tmp_path, figures, name):
    images, recipe = load_dataset("digits").train_images[:5], get_recipe(name)
    file = save_preview(tmp_path / "a.png", images, "digits", recipe, seed=3, versions=2)
    (axes,) = figures[0].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["original", "version 1", "version 2"]
    drawn = np.asarray(axes.images[0].get_array())
    assert drawn.shape == (88, 148)  # images of 28 pixels, gaps of 2
    np.testing.assert_array_equal(drawn[:28, 30:58], images[1])
    key = jax.random.split(jax.random.key(3), 2)[1]
    second = jax.jit(augment, static_argnums=2)(key, images, recipe.augmentation)
    second = deskew(second) if recipe.deskew else second
    np.testing.assert_allclose(drawn[60:, 120:], second[4], atol=1e-3)
    assert f"Recipe {name} on training images of digits, seed 3" in figures[0].get_suptitle()
    with Image.open(file) as picture:
        assert picture.format == "PNG"


def test_the_title_fits_into_the_narrowest_picture(tmp_path, figures):
    everything = Augmentation(0.2, 0.5, 15.0, 128, 0.125, 0.15, 12.5, 10.0)
    recipe = dataclasses.replace(get_recipe("evolution"), augmentation=everything)
    save_preview(tmp_path / "a.png", np.zeros((1, 28, 28), np.uint8), "fashion_mnist", recipe, 1, 1)
    (figure,) = figures
    figure.draw_without_rendering()
    title, axes = figure._suptitle.get_window_extent(), figure.axes[0].get_window_extent()
    assert title.x0 >= 0
    assert title.x1 <= figure.bbox.x1
    assert title.y0 >= axes.y1


def test_the_command_prints_the_place_of_the_picture(call, tmp_path):
    out = tmp_path / "preview.png"
    options = ("--dataset", "digits", "--images", "2", "--rows", "1", "--out", out)
    code, text, error = call(*options, "--json")
    assert code == 0, error
    assert json.loads(text) == {"file": str(out)}
    assert out.stat().st_size > 1_000
    out.unlink()
    assert call(*options)[1].strip() == f"Written: {out}"
    assert out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--recipe", "step1"),
            "recipe 'step1' does not augment; choose one of first, second, third, dilated",
        ),
        (("--recipe", "thrid"), "did you mean 'third'"),
        (("--images", "0"), "--images 0 is out of range; choose a number from 1 to 100"),
        (("--rows", "101"), "--rows 101 is out of range"),
        (("--out", "a.jpg"), "--out a.jpg is not a PNG file"),
        (("--dataset", "digits", "--out", "no/such/folder/a.png"), "cannot be written (No such file"),
    ],
)
def test_options_that_cannot_be_drawn_are_wrong_usage(call, arguments, message):
    code, _, error = call(*arguments)
    assert code == 2
    assert message in error
