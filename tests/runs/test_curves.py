"""Pictures whose titles and classes have names that Matplotlib would fail on."""

import os

import numpy as np
import pytest
from matplotlib.figure import Figure

from jaxmnist.runs.curves import as_png, plain, save_figure

NAMES = [
    os.fsdecode(b"a\xff\x1b]0;title\x07"),
    "\u202egnp.exe\x00",
    r"$\frac{$",
    "$a$ and $b",
    "50 $",
    "日本語",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_drawn(tmp_path, name):
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    axes.set_title(name)
    axes.imshow(np.zeros((2, 2)))
    axes.set_yticks([0, 1], [plain(name), "b"])
    assert save_figure(figure, tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_scales_in_powers_of_ten_are_still_formulas():
    pictures = []
    for title in ("a", "a"):
        figure = Figure()
        figure.subplots().semilogy([1e-3, 1.0])
        figure.suptitle(title)
        pictures.append(as_png(figure)[0])
        label = figure.axes[0].get_yticklabels()[1]
        assert label.get_parse_math()
        assert "mathdefault" in label.get_text()
    assert pictures[0] == pictures[1]


def test_what_cannot_be_seen_is_escaped_before_a_name_is_cut():
    assert plain("a\u202eb") == r"a\u202eb"
    assert len(plain("\x1b" * 100)) == 24
