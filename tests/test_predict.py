"""Image files: whatever the format they give the pixels they were made from, or an error with their name."""

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from jaxmnist.checkpoints import restore_run
from jaxmnist.commands import Predict
from jaxmnist.data import load_dataset
from jaxmnist.errors import DataError, UsageError
from jaxmnist.evaluate import evaluate
from jaxmnist.images import fit, read_image
from jaxmnist.predict import predict_files
from jaxmnist.report.evaluation import print_predictions

SCRIPT = Path(__file__).parents[1] / "scripts" / "predict.py"
ORIENTATION = 0x0112  # of EXIF


@pytest.fixture(scope="session")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="session")
def digit(digits):
    return digits.test_images[3]


def with_transparency(colour, alpha):
    image = Image.new("RGB", alpha.shape[::-1], colour)
    image.putalpha(Image.fromarray(alpha))
    return image


def palette(digit):
    """Indices that say nothing of the brightness they stand for."""
    image = Image.fromarray(255 - digit, "P")
    image.putpalette([255 - i // 3 for i in range(768)])
    return image


def transparent_palette(digit):
    image = palette(digit)
    image.info["transparency"] = 255  # the index of black, which is the ground
    return image


FORMATS = {
    "grey.png": Image.fromarray,
    "grey.bmp": Image.fromarray,
    "grey.tiff": Image.fromarray,
    "lossless.webp": lambda digit: Image.fromarray(digit).convert("RGB"),
    "colour.png": lambda digit: Image.fromarray(digit).convert("RGB"),
    "grey_and_alpha.png": lambda digit: Image.fromarray(digit).convert("LA"),
    "opaque.png": lambda digit: Image.fromarray(digit).convert("RGBA"),
    "palette.png": palette,
    "transparent_palette.png": transparent_palette,
    "animated.gif": palette,
    "16_bits.png": lambda digit: Image.fromarray(digit.astype(np.uint16) * 257),
    "16_bits_shifted.tiff": lambda digit: Image.fromarray(digit.astype(np.uint16) << 8),
    "8_bits_in_16.png": lambda digit: Image.fromarray(digit.astype(np.uint16)),
    "8_bits_in_32.tiff": lambda digit: Image.fromarray(digit.astype(np.int32)),
    "16_bits_in_32.tiff": lambda digit: Image.fromarray(digit.astype(np.int32) * 257),
    "float_to_1.tiff": lambda digit: Image.fromarray(digit.astype(np.float32) / 255),
    "float_to_255.tiff": lambda digit: Image.fromarray(digit.astype(np.float32)),
    "dark_ink.png": lambda digit: Image.fromarray(255 - digit),
    "dark_ink_16_bits.png": lambda digit: Image.fromarray((255 - digit).astype(np.uint16) * 257),
    "black_on_nothing.png": lambda digit: with_transparency("black", digit),
    "white_on_nothing.png": lambda digit: with_transparency("white", digit),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_saved_digit_has_exactly_the_pixels_of_the_array(tmp_path, digit, name):
    options = {"lossless": True} if name.endswith("webp") else {}
    FORMATS[name](digit).save(tmp_path / name, **options)
    np.testing.assert_array_equal(read_image(tmp_path / name), digit)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_upright_as_its_exif_says(tmp_path, digit, orientation):
    # What a camera held that way stores: the inverse of what a viewer has to do.
    stored = {
        1: digit,
        2: digit[:, ::-1],
        3: digit[::-1, ::-1],
        4: digit[::-1],
        5: digit.T,
        6: digit.T[::-1],
        7: digit.T[::-1, ::-1],
        8: digit.T[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "photo.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "photo.png"), digit)


def test_a_page_with_transparent_corners_is_read_as_a_page(tmp_path, digit):
    alpha = np.full((28, 28), 255, np.uint8)
    alpha[:2, :2] = 0
    page = Image.fromarray(255 - digit).convert("RGB")
    page.putalpha(Image.fromarray(alpha))
    page.save(tmp_path / "page.png")
    np.testing.assert_array_equal(read_image(tmp_path / "page.png"), digit)


def test_light_and_dark_ink_are_told_apart_in_every_image_of_the_datasets(digits, mnist_dir):
    for name in ("digits", "mnist", "fashion_mnist"):
        dataset = load_dataset(name, mnist_dir)
        for image in dataset.test_images[:1000]:
            np.testing.assert_array_equal(fit(image), image)
            np.testing.assert_array_equal(fit(255 - image), image)


def test_the_ink_can_be_named_where_the_border_misleads(digit):
    framed = np.where(np.pad(np.zeros((26, 26), bool), 1, constant_values=True), 255, digit).astype(np.uint8)
    np.testing.assert_array_equal(fit(framed, "light"), framed)
    np.testing.assert_array_equal(fit(framed, "dark"), 255 - framed)
    np.testing.assert_array_equal(fit(framed), 255 - framed)


def photo(digit, margin, shift=0):
    """A digit in dark grey on a larger sheet of paper, unevenly lit and grainy."""
    ink = np.asarray(Image.fromarray(digit).resize((280, 280), Image.Resampling.BICUBIC), np.float32) / 255
    ink = np.pad(ink, ((margin + shift, margin - shift), (margin, margin)))
    light = np.linspace(-12, 12, ink.shape[1]) + np.random.default_rng(0).normal(0, 5, ink.shape)
    return np.clip(185 - 120 * ink + light, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("margin", "shift"), [(20, 0), (100, 0), (100, 70)])
def test_a_photo_of_a_digit_becomes_nearly_the_digit_wherever_it_is_on_the_paper(digits, margin, shift):
    originals = digits.test_images[:60]
    fitted = [fit(photo(digit, margin, shift)) for digit in originals]
    # Only inverted and scaled, the median is 0.88 with the narrow margin and 0.42 with the wide one.
    likeness = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(fitted, originals, strict=True)]
    assert np.median(likeness) > 0.95
    assert min(likeness) > 0.7
    assert all(image.max() == 255 and np.median(image) == 0 for image in fitted)


@pytest.mark.parametrize("side", [20, 28])
def test_proportions_are_kept_and_the_ink_is_centred(side):
    bar = np.full((300, 500), 255, np.uint8)
    bar[40:80, 250:450] = 0  # 40 high, 200 wide
    rows, columns = np.nonzero(fit(bar, side=side) > 127)
    assert np.ptp(columns) + 1 == side
    assert np.ptp(rows) + 1 == pytest.approx(side / 5, abs=1)
    assert (rows.min() + rows.max() + 1, columns.min() + columns.max() + 1) == pytest.approx((28, 28), abs=1)


@pytest.mark.parametrize("shape", [(28, 28), (1, 1), (1, 3000), (3000, 1), (50, 40)])
@pytest.mark.parametrize("grey", [0, 90, 255])
def test_an_image_without_ink_is_black(shape, grey):
    fitted = fit(np.full(shape, grey, np.uint8))
    assert fitted.shape == (28, 28)
    assert fitted.max() == (90 if shape == (28, 28) and grey == 90 else 0)


def png_header(width, height):
    """A PNG of a hundred bytes that claims to have that many pixels."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; name an image file"),
        (b"hello", "is not an image that can be read; save it as PNG or JPEG"),
        (png_header(8001, 8000), "has more than 64,000,000 pixels; scale it down first"),
        (png_header(10000, 10000), "has more than 64,000,000 pixels; scale it down first"),
        (png_header(10**6, 10**6), "has more than 64,000,000 pixels; scale it down first"),
        (png_header(5000, 4001), "has more than 20,000,000 pixels; scale it down first"),
        (png_header(65_536, 1), "has a side of more than 65,535 pixels; scale it down first"),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "is not an image that can be read; save it as PNG or JPEG",
        ),
        (png_header(100, 100), r"cannot be read \(.+\); check the file or save it again"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path, content, message):
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"bad\.png {message}\.$"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tiff", "bmp", "webp"])
def test_a_file_cut_anywhere_is_an_error_or_an_image_never_a_crash(tmp_path, digit, suffix):
    buffer = io.BytesIO()
    Image.fromarray(digit).resize((100, 100)).save(buffer, "jpeg" if suffix == "jpg" else suffix)
    content = buffer.getvalue()
    path = tmp_path / f"cut.{suffix}"
    for length in range(1, len(content), max(1, len(content) // 40)):
        path.write_bytes(content[:length])
        try:
            assert read_image(path).shape == (28, 28)
        except DataError as error:
            assert str(path) in str(error)  # noqa: PT017 - both outcomes are right


def test_a_large_photo_is_decoded_at_a_part_of_its_size(tmp_path, digits):
    digit = digits.test_images[0]
    whole = Image.fromarray(photo(digit, 100))
    whole.resize((8000, 6250)).save(tmp_path / "50_million_pixels.jpg", quality=60)
    expected = fit(np.asarray(whole.resize((800, 625))))
    assert np.corrcoef(read_image(tmp_path / "50_million_pixels.jpg").ravel(), expected.ravel())[0, 1] > 0.98


def test_what_is_no_file_is_named(tmp_path, digit):
    os.mkfifo(tmp_path / "pipe")
    Image.fromarray(np.full((40, 40), np.nan, np.float32)).save(tmp_path / "nan.tiff")
    for name, message in {
        "missing.png": "does not exist",
        "": "is a folder; name the image files in it",
        "pipe": "is not a regular file",
        "nan.tiff": r"cannot be read \(it has pixels that are no numbers\)",
        "x" * 1000: r"cannot be read \(File name too long\)",
    }.items():
        with pytest.raises(DataError, match=message):
            read_image(tmp_path / name)


def test_files_are_predicted_as_the_arrays_are(tiny_run, tmp_path, digits):
    network = restore_run(tiny_run, "best", jax.devices("cpu")[0]).network
    images = digits.test_images[:5]
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for i, (path, image) in enumerate(zip(paths, images, strict=True)):
        Image.fromarray(255 - image if i % 2 else image).save(path)
    rows, errors = predict_files(network, [*paths[:2], tmp_path / "missing.png", *paths[2:]])
    expected = evaluate(network, images, digits.test_labels[:5])
    assert [row["file"] for row in rows] == [str(path) for path in paths]
    assert [row["prediction"] for row in rows] == expected.predictions.tolist()
    assert [row["confidence"] for row in rows] == expected.confidences.tolist()
    assert [sum(row["probabilities"]) for row in rows] == pytest.approx([1.0] * 5, abs=1e-5)
    assert [str(error) for error in errors] == [
        f"{tmp_path / 'missing.png'} does not exist; name an image file."
    ]
    assert predict_files(network, [tmp_path / "missing.png"])[0] == []


def test_the_command_predicts_the_good_files_names_the_bad_ones_and_ends_with_3(tiny_run, tmp_path, digit):
    Image.fromarray(digit).save(tmp_path / "good.png")
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "bomb.png").write_bytes(png_header(50000, 50000))
    files = [tmp_path / name for name in ("text.png", "good.png", "bomb.png")]
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", SCRIPT, tiny_run, *files, "--json", "--device", "cpu"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 3, done.stderr
    printed = json.loads(done.stdout)
    assert [row["file"] for row in printed["predictions"]] == [str(files[1])]
    assert len(printed["predictions"][0]["probabilities"]) == 10
    assert (printed["arch"], printed["checkpoint"]) == ("second", "best")
    bad = [
        f"{files[0]} is not an image that can be read; save it as PNG or JPEG.",
        f"{files[2]} has more than 64,000,000 pixels; scale it down first.",
    ]
    assert printed["errors"] == bad
    assert done.stderr.splitlines() == [
        *(f"error: {line}" for line in bad),
        "error: 2 of 3 images could not be read, see above.",
    ]


def test_a_folder_that_is_no_run_ends_the_command_with_4(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path, tmp_path / "a.png"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {tmp_path} is not a run folder")
    assert len(done.stderr.splitlines()) == 1


def test_no_image_is_a_usage_error(tiny_run):
    with pytest.raises(UsageError, match="nothing to predict"):
        Predict(network=tiny_run, images=()).run()


def test_the_table_names_the_three_likeliest_and_long_files_in_full():
    name = "a_folder/" + "long_" * 20 + "[red].png"
    shares = [0.01, 0.02, 0.7, 0.01, 0.01, 0.2, 0.02, 0.01, 0.01, 0.01]
    output = io.StringIO()
    terminal = Console(width=80, file=output)
    print_predictions(terminal, [{"file": name, "prediction": 2, "confidence": 0.7, "probabilities": shares}])
    text = output.getvalue()
    lines = text.splitlines()
    assert " ".join(lines[3].split()[1:]) == "2 70.00 % 2 70.0 % 5 20.0 % 1 2.0 %"
    assert max(map(len, lines)) <= 80
    assert "".join(line.split("  ")[0].strip() for line in lines[3:]) == name
