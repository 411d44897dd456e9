"""Several digits in one picture, and the digit in a photograph: found, in order, and told from everything else."""

import io
import json
from collections import Counter
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxmnist.cli.predict import Predict
from jaxmnist.data import load_dataset
from jaxmnist.data.digit import is_laid_out, to_digit
from jaxmnist.data.images import read_image
from jaxmnist.data.strokes import find_strokes
from jaxmnist.errors import DataError, UsageError
from jaxmnist.inference.classifier import load
from jaxmnist.inference.reading import read_digits
from jaxmnist.runs.restore import restore_run
from tests.photographs.__main__ import table
from tests.photographs.ink import enlarged
from tests.photographs.layouts import LAYOUTS
from tests.photographs.scenes import PHOTOGRAPHS
from tests.photographs.sequences import SEQUENCES, TOUCHING, line, page


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits").test_images


@pytest.fixture(scope="module")
def network(tiny_run):
    return restore_run(tiny_run, "best", jax.devices("cpu")[0])


def grey_of(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("L"))


def likeness(one, other):
    return np.corrcoef(one.ravel(), other.ravel())[0, 1]


def test_an_image_laid_out_as_the_training_data_stays_as_it_is_to_the_pixel(mnist_dir):
    for name in ("digits", "mnist"):
        for image in load_dataset(name, mnist_dir).test_images[:300]:
            np.testing.assert_array_equal(to_digit(image), image)
            np.testing.assert_array_equal(to_digit(255 - image), image)


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "as MNIST has it"])
def test_a_digit_laid_out_otherwise_in_28x28_becomes_what_it_was(name, digits):
    random = np.random.default_rng(0)
    for digit in digits[:10]:
        image = LAYOUTS[name](digit, random, 28)
        assert not is_laid_out(image)
        assert likeness(to_digit(image), digit) > (0.8 if "12" in name or "filling" in name else 0.9)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_the_digit_of_a_photograph_is_found_apart_from_what_is_around_it(name, digits):
    random, found = np.random.default_rng(3), []
    for digit in digits[20:24]:
        found.append(likeness(to_digit(grey_of(PHOTOGRAPHS[name](digit, random))), digit))
    assert np.median(found) > 0.8


def test_ink_is_dark_or_light_as_it_is_whatever_the_border(digits):
    for digit in digits[:5]:
        ink = np.pad(enlarged(digit, 90, np.random.default_rng(0)), 40)
        on_paper = (
            np.pad(220 - 180 * ink, 30, constant_values=25).round().astype(np.uint8)
        )  # a dark desk around
        for grey, is_dark in ((on_paper, True), (255 - on_paper, False)):
            found = find_strokes(grey)
            assert found is not None
            assert found.is_dark is is_dark


def scene(digits, rows):
    """Rows of digits, dark on light, far enough apart to be lines."""
    random = np.random.default_rng(1)
    lines = [page(line(digits[row], random, 60, (0.3, 0.5)), random, 0.2) for row in rows]
    width = max(part.shape[1] for part in lines)
    ink = np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in lines])
    return (240 - 210 * ink).round().astype(np.uint8)


def test_digits_are_read_line_by_line_from_the_left_with_their_boxes(network, digits):
    rows = [range(4), range(4, 6), range(6, 9)]
    grey = scene(digits, rows)
    reading = read_digits(network, grey)
    assert [len(text.replace(" ", "")) for text in reading.lines] == [4, 2, 3]
    assert [digit.line for digit in reading.digits] == [0, 0, 0, 0, 1, 1, 2, 2, 2]
    for digit, original in zip(reading.digits, digits, strict=False):
        left, top, right, bottom = digit.box
        assert likeness(to_digit(grey[top - 3 : bottom + 3, left - 3 : right + 3]), original) > 0.8
        assert sum(digit.probabilities) == pytest.approx(1, abs=1e-5)
    assert json.loads(json.dumps(reading.as_json()))["lines"] == reading.lines


def test_boxes_of_a_form_and_specks_are_no_digits(network, digits):
    grey = np.full((120, 330), 235, np.uint8)
    for number in range(3):
        left = 10 + 105 * number
        grey[10:110, left : left + 100] = 60
        grey[13:107, left + 3 : left + 97] = 235
        ink = enlarged(digits[number], 60, np.random.default_rng(0))
        top, start = 60 - ink.shape[0] // 2, left + 50 - ink.shape[1] // 2
        grey[top : top + ink.shape[0], start : start + ink.shape[1]] -= (190 * ink).astype(np.uint8)
    grey[3:6, 200:203] = 30
    boxes = [digit.box for digit in read_digits(network, grey).digits]
    assert len(boxes) == 3
    assert all(bottom - top < 80 for _, top, _, bottom in boxes)  # the frames have 100


def bars(*lefts):
    """Upright strokes, 60 pixels high and 10 wide."""
    grey = np.full((100, max(lefts) + 30), 235, np.uint8)
    for left in lefts:
        grey[20:80, left : left + 10] = 40
    return grey


def test_a_gap_nearly_as_wide_as_digits_are_high_is_a_space(network):
    digits = read_digits(network, bars(20, 65, 135, 215)).digits
    assert [digit.spaced for digit in digits] == [False, False, True, True]


def test_a_broken_stroke_is_one_digit(network):
    grey = bars(20, 70, 120)
    grey[44:49, 70:80] = 235
    boxes = [digit.box for digit in read_digits(network, grey).digits]
    assert len(boxes) == 3
    assert all(50 < bottom - top < 70 for _, top, _, bottom in boxes)


def test_digits_that_touch_are_cut_apart_and_doubtful_cuts_are_warned_of(mnist_dir):
    network, mnist = load("flagship").network, load_dataset("mnist", mnist_dir)
    random, counts = np.random.default_rng(0), Counter()
    for _ in range(16):
        index = random.choice(10_000, 4, replace=False)
        picture = grey_of(SEQUENCES[TOUCHING](mnist.test_images[index], random))
        reading = read_digits(network, picture, touching=True)
        is_right = "".join(reading.lines) == "".join(map(str, mnist.test_labels[index]))
        counts[is_right, any("it touches" in warning for warning in reading.warnings)] += 1
    assert counts[True, False] >= 9
    assert counts[False, False] == 0


def test_an_empty_page_has_no_digits(network):
    assert read_digits(network, np.full((100, 200), 230, np.uint8)).digits == []


def test_only_a_network_for_digits_reads_several(network, digits):
    other = network._replace(data_info=network.data_info.__class__("fashion_mnist"))
    with pytest.raises(UsageError, match="not on digits; read its images one by one"):
        read_digits(other, digits[0])


def test_the_command_reads_many_and_writes_the_annotated_picture(tiny_run, digits, tmp_path, capsys):
    file, out = tmp_path / "number.png", tmp_path / "read.png"
    Image.fromarray(scene(digits, [range(3)])).save(file)
    Predict(network=tiny_run, images=(file,), many=True, annotate=out, json=True).run()
    (row,) = json.loads(capsys.readouterr().out)["predictions"]
    reading = load(tiny_run).read(file)
    assert row["lines"] == reading.lines
    assert len(row["digits"]) == 3
    with Image.open(out) as picture, Image.open(file) as original:
        assert picture.size == original.size
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert (colours.max(1) > colours.min(1) + 50).any()  # boxes are coloured, the picture is grey
    Predict(network=tiny_run, images=(file,), many=True).run()
    assert "".join(row["lines"]) in capsys.readouterr().out
    with pytest.raises(UsageError, match="add --many"):
        Predict(network=tiny_run, images=(file,), annotate=out).run()
    with pytest.raises(UsageError, match=r"let it end in \.png"):
        Predict(network=tiny_run, images=(file,), many=True, annotate=tmp_path / "read.txt").run()


def test_the_figures_of_the_documentation_are_those_that_were_measured():
    docs = Path(__file__).parents[2] / "docs"
    figures = json.loads((docs / "results" / "photographs.json").read_text())
    assert table(figures) in (docs / "photographs.md").read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"%PDF-1.7\n", "is a PDF document; save its page as an image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC photograph; install pillow-heif|cannot be read"),
    ],
)
def test_documents_and_photographs_of_telephones_are_named(tmp_path, content, message):
    (tmp_path / "file.png").write_bytes(content + bytes(100))
    with pytest.raises(DataError, match=message):
        read_image(tmp_path / "file.png")
