"""The browser page: self-contained, and its JavaScript agrees with JAX and Pillow."""

import base64
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from jaxmnist.data import load_dataset
from jaxmnist.data.digit import to_digit
from jaxmnist.data.fitting import to_28x28
from jaxmnist.data.mnist_style import to_mnist_style
from jaxmnist.interop.browser import read_program
from jaxmnist.interop.program import run
from tests.exported_networks import data_of, made, write_page
from tests.photographs.layouts import LAYOUTS
from tests.photographs.scenes import PHOTOGRAPHS
from tests.sizes import FORMS
from tests.strokes import DIGITS

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="there is no node to run JavaScript with")


def node(*arguments: object) -> str:
    """Runs `run_page.js`."""
    assert NODE
    command = [NODE, str(Path(__file__).parents[1] / "run_page.js"), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


def predicted(page: Path, images: np.ndarray) -> np.ndarray:
    """Returns the probabilities of the page's own forward pass."""
    (page.parent / "images").write_bytes(images.tobytes())
    node("predict", page, page.parent / "images", page.parent / "probabilities")
    return np.fromfile(page.parent / "probabilities", np.float32).reshape(-1, 10)


def test_a_page_asks_for_nothing_but_itself(tmp_path):
    page = write_page("second", tmp_path).read_text()
    assert "http:" not in page
    assert "https:" not in page
    assert re.findall(r'(?:src|href|action)="([^"]*)"', page) == ["data:,"]
    assert not re.findall(r"\b(?:fetch|XMLHttpRequest|WebSocket|import|sendBeacon|EventSource)\b\s*\(", page)
    assert "default-src 'none'" in page
    assert "<!-- " not in page


def test_a_page_holds_the_weights(tmp_path):
    page = write_page("challenge_ll", tmp_path)
    program, images = made("challenge_ll").program, made("challenge_ll").images
    read = read_program(page.read_text())
    for number, array in program.constants.items():
        np.testing.assert_array_equal(read.constants[number], array)
    np.testing.assert_array_equal(run(read, images), made("challenge_ll").probabilities)


def test_what_is_said_of_a_network_cannot_become_part_of_the_page(tmp_path):
    hostile = "</script><script>alert(1)</script><!-- script -->"
    page = write_page("second", tmp_path, training_text=hostile)
    assert page.read_text().count("<script>") == 1
    assert "alert(1)</script>" not in page.read_text()


def test_every_layer_but_dropout_is_on_the_page_with_its_parameters(tmp_path):
    layers = data_of(write_page("third", tmp_path))["layers"]
    assert sum(layer["parameters"] for layer in layers) == 7902
    assert "Dropout" not in {layer["kind"] for layer in layers}
    assert [layer["name"] for layer in layers][:5] == ["conv1", "gelu1", "bn1", "conv2", "gelu2"]


@pytest.mark.parametrize("arch", ["second", "flagship"])
def test_the_page_knows_what_the_network_is_given(arch, tmp_path):
    data = data_of(write_page(arch, tmp_path))
    assert data["about"]["deskew"] == (arch == "flagship")
    steps = {step.output: step for step in made(arch).program.steps}
    convolution = next(step for step in steps.values() if step.op == "Conv")
    to_maps = steps[steps[convolution.inputs[0]].inputs[0]]
    assert (to_maps.op, to_maps.inputs) == ("Transpose", (data["seen"],))


@needs_node
@pytest.mark.parametrize("arch", FORMS)
def test_the_page_computes_the_probabilities_of_its_network(arch, tmp_path):
    _, _, images, expected = made(arch)
    np.testing.assert_allclose(predicted(write_page(arch, tmp_path), images), expected, rtol=0, atol=1e-6)


@pytest.mark.slow
@needs_node
@pytest.mark.parametrize("arch", ["second", "third", "dilated", "challenge_ll"])
def test_the_page_predicts_1000_images_of_mnist_as_jax_does(arch, tmp_path, mnist_dir):
    images = load_dataset("mnist", mnist_dir).test_images[:1000]
    predictions, log_probs = made(arch).network.predict(images)
    given = predicted(write_page(arch, tmp_path), images)
    np.testing.assert_array_equal(given.argmax(1), predictions)
    np.testing.assert_allclose(given, np.exp(log_probs), rtol=0, atol=1e-4)


@needs_node
@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_the_page_averages_a_drawing_as_predict_does(fit, tmp_path):
    drawing = np.random.default_rng(0).integers(0, 256, (140, 140), np.uint8)
    (tmp_path / "drawings").write_bytes(drawing.tobytes())
    node("averages", write_page("second", tmp_path), tmp_path / "drawings", tmp_path / "images")
    given = np.fromfile(tmp_path / "images", np.uint8).reshape(28, 28)
    difference = np.abs(given.astype(int) - to_28x28(drawing, fit).astype(int))
    assert difference.max() <= 1  # Pillow rounds between rows and columns


@needs_node
def test_the_page_scales_and_centres_a_drawing_as_predict_does(tmp_path):
    drawings = []
    for scale, shift in ((1.0, 0.0), (0.45, 0.5), (0.8, 0.05)):
        for digit in DIGITS:
            picture = Image.new("L", (140, 140))
            pen = ImageDraw.Draw(picture)
            for stroke in digit:
                points = [tuple(140 * (scale * side + shift) for side in point) for point in stroke]
                pen.line(points, fill=230, width=9, joint="curve")
            drawings.append(np.asarray(picture))
    drawings.append(np.zeros((140, 140), np.uint8))
    dot = np.zeros((140, 140), np.uint8)
    dot[3:5, 130:139] = 60
    drawings.append(dot)
    (tmp_path / "drawings").write_bytes(np.stack(drawings).tobytes())
    node("style", write_page("second", tmp_path), tmp_path / "drawings", tmp_path / "images")
    given = np.fromfile(tmp_path / "images", np.uint8).reshape(-1, 28, 28)
    for drawing, image in zip(drawings, given, strict=True):
        difference = np.abs(image.astype(int) - to_mnist_style(drawing, "light").astype(int))
        # Pillow scales rows or columns first, depending on its version, and rounds in between.
        assert difference.max() <= 12
        assert difference.mean() < 0.5


@needs_node
def test_the_page_finds_the_digit_in_a_photograph_as_predict_does(tmp_path):
    digits, random = load_dataset("digits").test_images, np.random.default_rng(1)
    kinds = ("desk edge", "shadow", "squared paper", "chalk", "strong JPEG", "ink at the border")
    files = [PHOTOGRAPHS[name](digits[number], random) for number, name in enumerate(kinds)]
    greys = [np.asarray(Image.open(io.BytesIO(file)).convert("L")) for file in files]
    greys += [LAYOUTS[name](digits[9], random, 28) for name in ("as MNIST has it", "20 px, in a corner")]
    greys.append(np.full((90, 60), 200, np.uint8))
    pictures = [
        {"pixels": base64.b64encode(grey.tobytes()).decode(), "width": grey.shape[1], "height": grey.shape[0]}
        for grey in greys
    ]
    (tmp_path / "pictures").write_text(json.dumps(pictures))
    node("photographs", write_page("second", tmp_path), tmp_path / "pictures", tmp_path / "images")
    given = np.fromfile(tmp_path / "images", np.uint8).reshape(-1, 28, 28)
    for grey, image in zip(greys, given, strict=True):
        difference = np.abs(image.astype(int) - to_digit(grey).astype(int))
        assert difference.max() <= 40
        assert difference.mean() < 1


@needs_node
def test_the_error_function_is_exact_to_float32():
    from scipy.special import erf

    points = np.linspace(-6, 6, 2001)
    given = np.array(json.loads(node("erf", Path("unused"), json.dumps(points.tolist()))))
    np.testing.assert_allclose(given, erf(points), rtol=0, atol=3e-8)
