"""Predictions for image files: every format gives the pixels it was made from, or an error with the file's name."""

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

from jaxmnist.cli.predict import Predict
from jaxmnist.data import load_dataset
from jaxmnist.data.image_paths import find_image_files
from jaxmnist.data.images import read_image, read_stream
from jaxmnist.data.mnist_style import to_mnist_style
from jaxmnist.errors import DataError, UsageError
from jaxmnist.inference.out_of_distribution import find_doubt
from jaxmnist.inference.predict import FilePrediction, UnreadableFile, predict_files
from jaxmnist.report.terminal.predictions import print_predictions
from jaxmnist.runs.restore import restore_run
from jaxmnist.runs.weights import read_weights
from jaxmnist.train.jit import EVAL_BATCH, build_programs
from tests import no_digits, redrawn

ROOT = Path(__file__).parents[2]

SCRIPT = ROOT / "scripts" / "predict.py"
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
    """A palette image whose indices are unrelated to brightness."""
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
    # The image that a camera held that way stores: the inverse of a viewer's correction.
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
            np.testing.assert_array_equal(to_mnist_style(image), image)
            np.testing.assert_array_equal(to_mnist_style(255 - image), image)


def test_the_ink_can_be_named_where_the_border_misleads(digit):
    framed = np.where(np.pad(np.zeros((26, 26), bool), 1, constant_values=True), 255, digit).astype(np.uint8)
    np.testing.assert_array_equal(to_mnist_style(framed, "light"), framed)
    np.testing.assert_array_equal(to_mnist_style(framed, "dark"), 255 - framed)
    np.testing.assert_array_equal(to_mnist_style(framed), 255 - framed)


def photo(digit, margin, shift=0):
    """A digit in dark grey on a larger sheet of paper, unevenly lit and grainy."""
    ink = np.asarray(Image.fromarray(digit).resize((280, 280), Image.Resampling.BICUBIC), np.float32) / 255
    ink = np.pad(ink, ((margin + shift, margin - shift), (margin, margin)))
    light = np.linspace(-12, 12, ink.shape[1]) + np.random.default_rng(0).normal(0, 5, ink.shape)
    return np.clip(185 - 120 * ink + light, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("margin", "shift"), [(20, 0), (100, 0), (100, 70)])
def test_a_photo_of_a_digit_becomes_nearly_the_digit_wherever_it_is_on_the_paper(digits, margin, shift):
    originals = digits.test_images[:60]
    fitted = [to_mnist_style(photo(digit, margin, shift)) for digit in originals]
    # The median is 0.88 with the narrow margin and 0.42 with the wide one if images are only inverted and scaled.
    likeness = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(fitted, originals, strict=True)]
    assert np.median(likeness) > 0.95
    assert min(likeness) > 0.7
    assert all(image.max() == 255 and np.median(image) == 0 for image in fitted)


@pytest.mark.parametrize("side", [20, 28])
def test_proportions_are_kept_and_the_ink_is_centred(side):
    bar = np.full((300, 500), 255, np.uint8)
    bar[40:80, 250:450] = 0  # 40 high, 200 wide
    rows, columns = np.nonzero(to_mnist_style(bar, side=side) > 127)
    assert np.ptp(columns) + 1 == side
    assert np.ptp(rows) + 1 == pytest.approx(side / 5, abs=1)
    assert (rows.min() + rows.max() + 1, columns.min() + columns.max() + 1) == pytest.approx((28, 28), abs=1)


def test_ink_is_centred_by_its_mass_and_not_by_its_box():
    foot = np.full((200, 200), 255, np.uint8)
    foot[40:140, 60:80] = 0  # the stem of an L
    foot[140:160, 60:140] = 0
    ink = to_mnist_style(foot).astype(np.float64)
    for axis in (0, 1):
        middle = ink.sum(axis=1 - axis) @ (np.arange(28) + 0.5) / ink.sum()
        assert middle == pytest.approx(14, abs=0.51)


@pytest.mark.parametrize("shape", [(28, 28), (1, 1), (1, 3000), (3000, 1), (50, 40)])
@pytest.mark.parametrize("grey", [0, 90, 255])
def test_an_image_without_ink_is_black(shape, grey):
    fitted = to_mnist_style(np.full(shape, grey, np.uint8))
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
        (b"hello", "is not a readable image; save it as PNG or JPEG"),
        (png_header(8001, 8000), "has more than 64,000,000 pixels; scale it down first"),
        (png_header(10000, 10000), "has more than 64,000,000 pixels; scale it down first"),
        (png_header(10**6, 10**6), "has more than 64,000,000 pixels; scale it down first"),
        (png_header(5000, 4001), "has more than 20,000,000 pixels; scale it down first"),
        (png_header(65_536, 1), "has a side of more than 65,535 pixels; scale it down first"),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "is not a readable image; save it as PNG or JPEG",
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
    expected = to_mnist_style(np.asarray(whole.resize((800, 625))))
    assert np.corrcoef(read_image(tmp_path / "50_million_pixels.jpg").ravel(), expected.ravel())[0, 1] > 0.98


def test_what_is_no_file_is_named(tmp_path, digit):
    os.mkfifo(tmp_path / "pipe")
    Image.fromarray(np.full((40, 40), np.nan, np.float32)).save(tmp_path / "nan.tiff")
    for name, message in {
        "missing.png": "does not exist",
        "": "is a folder; name the image files in it",
        "pipe": "is not a regular file",
        "nan.tiff": r"cannot be read \(some pixels are not finite\)",
        "x" * 1000: r"cannot be read \(File name too long\)",
    }.items():
        with pytest.raises(DataError, match=message):
            read_image(tmp_path / name)


def test_files_are_predicted_as_the_arrays_are(tiny_run, tmp_path, digits):
    network = restore_run(tiny_run, "best", jax.devices("cpu")[0])
    images = digits.test_images[:5]
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for i, (path, image) in enumerate(zip(paths, images, strict=True)):
        Image.fromarray(255 - image if i % 2 else image).save(path)
    found = list(predict_files(network, [*paths[:2], tmp_path / "missing.png", *paths[2:]]))
    rows = [row for row in found if isinstance(row, FilePrediction)]
    predictions, log_probs = network.predict(images)
    probabilities = np.exp(log_probs)
    assert [row.file for row in rows] == [str(path) for path in paths]
    assert [row.prediction for row in rows] == predictions.tolist()
    assert [row.confidence for row in rows] == probabilities.max(1).tolist()
    assert [sum(row.probabilities) for row in rows] == pytest.approx([1.0] * 5, abs=1e-5)
    message = f"{tmp_path / 'missing.png'} does not exist; name an image file."
    assert found[2] == UnreadableFile(str(tmp_path / "missing.png"), message)
    for row, shares in zip(rows, probabilities, strict=True):
        top = [(one["class"], one["probability"]) for one in row.as_json()["top_three"]]
        assert top == sorted(enumerate(shares.tolist()), key=lambda pair: -pair[1])[:3]
    assert list(predict_files(network, [tmp_path / "missing.png"])) == [found[2]]


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
        f"{files[0]} is not a readable image; save it as PNG or JPEG.",
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


def row_of(file, warning):
    probabilities = [0.01, 0.02, 0.7, 0.01, 0.01, 0.2, 0.01, 0.01, 0.01, 0.01]
    return FilePrediction(file, prediction=2, probabilities=probabilities, warning=warning)


def printed(*rows):
    output = io.StringIO()
    print_predictions(Console(width=80, file=output), list(rows))
    return output.getvalue()


def test_the_table_names_the_three_likeliest_and_leaves_out_the_middle_of_long_files():
    name = "a_folder/" + "long_" * 20 + "[red].png"
    lines = printed(row_of(name, None)).splitlines()
    assert " ".join(lines[3].split()[1:]) == "2 70.00 % 5 20.0 %, 1 2.0 %"
    assert max(map(len, lines)) <= 80
    shown = "".join(line.split("  ")[0].strip() for line in lines[3:])
    assert len(shown) == 48
    assert name.startswith(shown.split("…")[0])
    assert name.endswith(shown.split("…")[1])


def test_a_warning_stands_below_the_classes_of_its_image():
    lines = printed(row_of("a.png", None), row_of("b.png", "nothing is drawn")).splitlines()
    (place,) = (number for number, line in enumerate(lines) if line.startswith(" b.png"))
    assert lines[place + 1].strip() == "nothing is drawn"
    assert max(map(len, lines)) <= 80


def test_long_names_of_classes_fit_into_a_line():
    names = ("a very long name of a class", "[red]another of them[/red]", "third")
    row = FilePrediction("a.png", 0, [0.7, 0.2, 0.1], None, names)
    lines = printed(row).splitlines()
    assert max(map(len, lines)) <= 80
    assert "[red]anothe" in "".join(lines)


def named(found, folder):
    return [Path(file).relative_to(folder).as_posix() for file in found.files]


@pytest.fixture
def photos(tmp_path, digit):
    """Images and other files in a folder, a hidden folder and a subfolder."""
    folder = tmp_path / "photos"
    names = [
        "10.png",
        "2.png",
        "b 1.JPG",
        "A 3.jpeg",
        ".hidden.png",
        "sub/1.png",
        "sub/deep/2.gif",
        ".no/x.png",
    ]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digit).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    (folder / "Thumbs.db").write_bytes(b"")
    (folder / "sub" / "notes.txt").write_text("no image")
    return folder


def test_a_folder_stands_for_its_images_in_natural_order_and_counts_what_else_it_has(photos):
    found = find_image_files([photos])
    assert named(found, photos) == ["2.png", "10.png", "A 3.jpeg", "b 1.JPG"]
    assert found.skipped == [(str(photos), ["notes.txt", "Thumbs.db"])]
    assert found.errors == []


def test_a_pattern_that_no_shell_expanded_stands_for_the_images_it_matches(photos, monkeypatch):
    assert named(find_image_files([photos / "*.png"]), photos) == ["2.png", "10.png"]
    found = find_image_files([f"{photos}/**/*"])
    everywhere = ["2.png", "10.png", "A 3.jpeg", "b 1.JPG", "sub/1.png", "sub/deep/2.gif"]
    assert named(found, photos) == everywhere
    assert found.skipped == [(f"{photos}/**/*", ["notes.txt", "notes.txt", "Thumbs.db"])]
    monkeypatch.chdir(photos)
    assert find_image_files(["[0-9]?.png", "2.png"]).files == [Path("10.png"), Path("2.png")]


def test_a_file_with_the_characters_of_a_pattern_in_its_name_is_itself(tmp_path):
    for name in ("a[1].png", "a1.png", "what?.png"):
        (tmp_path / name).touch()
    names = [tmp_path / "a[1].png", tmp_path / "what?.png"]
    assert find_image_files(names).files == names


def test_what_nothing_is_found_for_is_an_error_and_standard_input_is_read_once(tmp_path, photos):
    (tmp_path / "empty").mkdir()
    found = find_image_files(
        [tmp_path / "empty", "nowhere/*.png", photos / "sub", photos / "*.txt", "x" * 300]
    )
    assert named(found, photos) == ["sub/1.png"]
    assert list(map(str, found.errors)) == [
        f"{tmp_path / 'empty'} is a folder without images; name one with images.",
        "no image file matches nowhere/*.png; check the pattern and its folder.",
        f"no image file matches {photos / '*.txt'}; check the pattern and its folder.",
        f"{'x' * 300} cannot be read (File name too long); check its name and permissions.",
    ]
    assert find_image_files(["-", "./-"]).files == ["-", Path("-")]
    with pytest.raises(UsageError, match="- is standard input, which holds one image"):
        find_image_files(["-", tmp_path, "-"])


def test_the_command_reads_standard_input_and_folders_and_says_what_it_skips(
    tiny_run, photos, digit, monkeypatch, capsys
):
    content = io.BytesIO()
    Image.fromarray(digit).save(content, "PNG")
    content.seek(0)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(content))
    Predict(network=tiny_run, images=("-", photos, photos / "2.png"), json=True).run()
    out, error = capsys.readouterr()
    rows = json.loads(out)["predictions"]
    assert [Path(row["file"]).name for row in rows] == ["-", *NATURAL, "2.png"]
    assert rows[0] | {"file": ""} == rows[1] | {"file": ""}
    assert error == f"skipped 2 files in {photos} that are no images: 'notes.txt', 'Thumbs.db'\n"


NATURAL = ["2.png", "10.png", "A 3.jpeg", "b 1.JPG"]


def test_lines_of_json_come_for_each_image_and_for_each_that_cannot_be_read(tiny_run, photos, capsys):
    (photos / "3.png").write_text("no image")
    with pytest.raises(DataError, match=r"^1 of 5 images could not be read, see above\.$"):
        Predict(network=tiny_run, images=(photos,), jsonl=True).run()
    out, error = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [Path(row["file"]).name for row in rows] == ["2.png", "3.png", *NATURAL[1:]]
    assert [set(row) for row in rows[:2]] == [
        {"file", "prediction", "name", "confidence", "top_three", "probabilities", "warning"},
        {"file", "error"},
    ]
    assert f"error: {rows[1]['error']}\n" in error


def test_a_single_name_that_comes_to_nothing_is_one_sentence(tiny_run, tmp_path, capsys):
    with pytest.raises(DataError, match=r"^no image file matches nowhere/\*\.png; check the pattern"):
        Predict(network=tiny_run, images=("nowhere/*.png",)).run()
    assert capsys.readouterr() == ("", "")
    with pytest.raises(DataError, match=r"^.*missing\.png does not exist; name an image file\.$"):
        Predict(network=tiny_run, images=(tmp_path / "missing.png",), json=True).run()
    out, error = capsys.readouterr()
    assert (json.loads(out)["predictions"], len(json.loads(out)["errors"]), error) == ([], 1, "")
    with pytest.raises(UsageError, match="--json prints one object and --jsonl one per image"):
        Predict(network=tiny_run, images=(tmp_path,), json=True, jsonl=True).run()


def test_of_a_long_list_a_batch_is_read_at_a_time_and_all_have_one_program(tiny_run, tmp_path, digit):
    network = restore_run(tiny_run, "best", jax.devices("cpu")[0])
    Image.fromarray(digit).save(tmp_path / "digit.png")
    asked = 0

    def endless():
        nonlocal asked
        while True:
            asked += 1
            yield tmp_path / "digit.png"

    rows = predict_files(network, endless())
    first = next(rows)
    assert asked == EVAL_BATCH
    assert all(next(rows) == first for _ in range(EVAL_BATCH))
    assert asked == 2 * EVAL_BATCH
    programs = build_programs(network.model, network.recipe, network.device)
    compiled = programs.predict_chunk._cache_size()
    assert len(list(predict_files(network, [tmp_path / "digit.png"] * (EVAL_BATCH + 3)))) == EVAL_BATCH + 3
    assert programs.predict_chunk._cache_size() == compiled


def test_no_more_of_a_stream_is_read_than_an_image_can_have(monkeypatch):
    monkeypatch.setattr("jaxmnist.data.images.MAX_STREAM_BYTES", 1000)
    taken = []

    def endless(size):
        taken.append(size)
        return bytes(size)

    with pytest.raises(DataError, match=r"^standard input has more than 1,000 bytes; save the image"):
        read_stream(endless, "standard input")
    assert taken == [1001]
    for content, message in (
        (b"", "is empty; pipe an image"),
        (b"hello", "is not a readable image"),
    ):
        with pytest.raises(DataError, match=f"^standard input {message}"):
            read_stream(io.BytesIO(content).read, "standard input")


SURE = np.eye(10, dtype=np.float32)[3]


def test_what_is_no_digit_is_warned_of_and_digits_are_not(digits, mnist_dir):
    random = np.random.default_rng(0)
    images = load_dataset("mnist", mnist_dir).train_images
    fashion = load_dataset("fashion_mnist", mnist_dir).train_images

    def share(images):
        return np.mean([find_doubt(image, SURE) is not None for image in images])

    # It is 0.4 % of all training images.
    assert share(images[:2000]) < 0.01
    assert share(digits.train_images) < 0.02
    assert share(fashion[:300]) > 0.9
    assert share(no_digits.pairs(images, 100, random)) > 0.9
    assert share(no_digits.noise_pages(50, random)) > 0.8
    assert share(no_digits.noise(20, random)) == share(no_digits.blank_pages(5, random)) == 1


def test_a_network_for_clothing_warns_only_of_its_own_doubts_and_of_blank_images(mnist_dir):
    images = load_dataset("fashion_mnist", mnist_dir).test_images[:100]
    assert [find_doubt(image, SURE, is_digit=False) for image in images] == [None] * 100
    torn = np.float32(0.4) * SURE + np.float32(0.06)
    assert find_doubt(images[0], torn, is_digit=False) == "the network is only 46 % sure"
    assert find_doubt(np.zeros((28, 28), np.uint8), SURE, is_digit=False) == "nothing is drawn"


REDRAWN = (
    "larger",
    "3 to 14 times as large",
    "off-centre",
    "larger, dark on light",
    "JPEG, quality 20",
    "light falls off to 50 %",
)


def test_digits_in_any_place_size_ink_and_light_are_read_as_well_as_they_are(mnist_dir, published_weights):
    network = read_weights(published_weights, jax.devices("cpu")[0])
    images, labels = redrawn.sample(load_dataset("mnist", mnist_dir), 30, seed=0)
    assert np.bincount(labels).tolist() == [3] * 10
    names = ("as they are, 28x28", *REDRAWN)
    outcomes = {name: redrawn.measure(network, images, labels, name, seed=0) for name in names}
    correct = {name: outcome.correct for name, outcome in outcomes.items()}
    assert correct["as they are, 28x28"] >= 29
    assert all(abs(correct[name] - correct["as they are, 28x28"]) <= 1 for name in REDRAWN), correct
