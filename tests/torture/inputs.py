"""Input files that are damaged, swapped, forged or fuzzed: they give a typed error or a valid value."""

import contextlib
import gzip
import http.server
import io
import json
import os
import struct
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np

from jaxmnist.config.run import read_file, run_config
from jaxmnist.data import digits, idx, load_dataset
from jaxmnist.data.images import read_image
from jaxmnist.errors import CheckpointError, DataError, UsageError
from jaxmnist.interop.torch import shapes_of
from jaxmnist.optim import make_optimizer
from jaxmnist.runs.weights import read_weights
from tests.torture.battery import Attack, Trial
from tests.torture.memory import bounded
from tests.torture.mutation import flip_bit, mutate, truncate
from tests.torture.pictures import pictures

MOST_MEMORY = 300_000_000

PAGE = b"<!DOCTYPE html><html><body>Please log in to use this network.</body></html>"


def encode(array: np.ndarray) -> bytes:
    """Returns an array as an IDX file."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def data_files() -> dict[str, bytes]:
    """Returns the four MNIST files from `JAXMNIST_DATA_DIR`, or similar files made from the digits."""
    folder = Path(os.environ.get("JAXMNIST_DATA_DIR", ""), "mnist")
    names = [f"{name}.gz" for name in idx.FILE_NAMES]
    if all((folder / name).is_file() for name in names):
        return {name: (folder / name).read_bytes() for name in names}
    arrays = [array.astype(np.uint8) for array in digits.load().arrays]
    return {name: gzip.compress(encode(array)) for name, array in zip(names, arrays, strict=True)}


def damaged_data(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Damages or swaps one of the four files, or replaces it by a web page, in a folder or on a server."""
    good = data_files()
    names = list(good)
    damages: list[Callable[[str], bytes]] = [
        lambda name: truncate(good[name], random),
        lambda name: _flipped_inside(good[name], random),
        lambda name: good[names[(names.index(name) + 1) % 4]],
        lambda name: PAGE,
        lambda name: gzip.compress(PAGE),
    ]

    def trial(number: int) -> None:
        name, change = names[number // 2 % 4], damages[number // 2 % 5]
        place = folder / str(number)
        files = good | {name: change(name)}
        if number % 2:
            _refuse_download(place, files)
        else:
            place.mkdir(parents=True)
            for file, content in files.items():
                (place / file).write_bytes(content)
            _raises(DataError, str(place), load_dataset, "mnist", place)

    for number in range(trials):
        yield lambda number=number: trial(number)


def _flipped_inside(content: bytes, random: np.random.Generator) -> bytes:
    # The first bytes of a .gz hold a time and a name, which do not matter.
    return content[:40] + flip_bit(content[40:], random)


def _refuse_download(place: Path, files: dict[str, bytes]) -> None:
    """Asserts that a wrong file on a server ends the download with an error and leaves nothing behind."""
    settings = {"JAXMNIST_DATA_DIR": "", "TFDS_DATA_DIR": str(place / "cache"), "TMPDIR": str(place / "tmp")}
    (place / "tmp").mkdir(parents=True)
    with (
        _server(files) as address,
        mock.patch.dict(os.environ, settings),
        mock.patch("tempfile.tempdir", None),
    ):
        _raises(DataError, address, load_dataset, "mnist", base_url=address, announce=lambda _: None)
    kept = [path for path in place.rglob("*") if path.is_file()]
    assert not kept, f"a failed download left {', '.join(map(str, kept))}"


@contextlib.contextmanager
def _server(files: dict[str, bytes]) -> Iterator[str]:
    """Context manager for a web server with these files; yields its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path.rsplit("/", 1)[1])
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the probe of the network reads no body
                self.wfile.write(content or b"")

        def log_message(self, format: str, *args: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def fuzzed_idx(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Reads mutated IDX files, plain or gzip, and decompression bombs."""
    images = random.integers(0, 256, (20, 28, 28)).astype(np.uint8)
    labels = random.integers(0, 10, 300).astype(np.uint8)
    plain = [encode(images), encode(images[:1]), encode(labels), encode(images[:, 0])]
    seeds = [*plain, *map(gzip.compress, plain), PAGE, gzip.compress(PAGE)]
    bombs = _bombs()
    path = folder / "file"

    def trial() -> None:
        # Bombs take a second each, so there are few.
        chosen = bombs if random.random() < 0.02 else seeds
        path.write_bytes(mutate(chosen[random.integers(len(chosen))], random))
        for read, shape, dtype in ((idx.read_images, (28, 28), np.uint8), (idx.read_labels, (), np.int32)):
            array = _read_or_refuse(DataError, path, read, path)
            if array is not None:
                assert (array.dtype, array.shape[1:]) == (dtype, shape)
                assert 0 < len(array) <= idx.MAX_ITEMS
                assert dtype == np.uint8 or (array.min() >= 0 and array.max() <= 9)

    yield from _bounded_trials(trial, trials)


def _bombs() -> list[bytes]:
    """Returns small .gz files that unpack to up to 400 MB; one of them is as long as its header says."""
    honest = 100_000
    zeros = {size: _gzip_of_zeros(size) for size in (784 * honest, 400_000_000)}
    headers = [
        struct.pack(">BBBB3I", 0, 0, 8, 3, count, 28, 28)
        for count in (1, 60_000, honest, idx.MAX_ITEMS + 1, 2**32 - 1)
    ]
    headers.append(struct.pack(">BBBBI", 0, 0, 8, 1, idx.MAX_ITEMS))
    # A gzip file may have several members, whose contents follow each other.
    return [gzip.compress(header) + bomb for header in headers for bomb in zeros.values()]


def _gzip_of_zeros(size: int) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb") as stream:
        for start in range(0, size, 10_000_000):
            stream.write(bytes(min(10_000_000, size - start)))
    return buffer.getvalue()


def fuzzed_images(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Reads pictures of every format and mode, bombs and other files, whole and mutated."""
    seeds = pictures(random)
    names = list(seeds)
    path = folder / "picture.png"  # one name for all: what a file is, its contents say

    def trial(number: int) -> None:
        name = names[number % len(names)]
        # First each one unchanged, then with changes.
        path.write_bytes(seeds[name] if number < len(names) else mutate(seeds[name], random))
        ink = random.choice(["auto", "light", "dark"])
        image = _read_or_refuse(DataError, path, read_image, path, ink, side=int(random.choice([20, 28])))
        assert image is None or (image.dtype, image.shape) == (np.uint8, (28, 28)), name

    for number in range(trials):

        def bounded_trial(number: int = number) -> None:
            with bounded(MOST_MEMORY):
                trial(number)

        yield bounded_trial


def foreign_weights(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Reads weights files of another arch, dtype or shape, with arrays missing, added or pickled."""
    device = jax.devices("cpu")[0]

    def arrays(arch: str) -> dict[str, Any]:
        return {
            key: random.uniform(0.5, 1, shape).astype(np.float32) for key, shape in shapes_of(arch).items()
        }

    def changed(arch: str, **changes: Any) -> dict[str, Any]:
        values = arrays(arch) | {name.replace("__", "."): value for name, value in changes.items()}
        return {name: value for name, value in values.items() if value is not None}

    kernel = arrays("third")["conv2.weight"]
    cases: tuple[tuple[dict[str, Any], str | None, tuple[str, ...]], ...] = (
        (
            arrays("third"),
            "first",
            ("'first'", "skip1.weight is not part of it", "and 26 more"),
        ),
        (changed("third", conv2__weight=None), None, ("'third'", "conv2.weight is missing")),
        (changed("third", conv2__weight=None), "third", ("'third'", "conv2.weight is missing")),
        (changed("third", conv9__weight=kernel), None, ("'third'", "conv9.weight is not part of it")),
        (changed("third", conv2__weight=kernel[1:]), None, ("shape (13, 10, 3, 3)", "(14, 10, 3, 3)")),
        (changed("third", conv2__weight=kernel.transpose(2, 3, 1, 0)), None, ("(3, 3, 10, 14)",)),
        (changed("third", conv2__weight=kernel.astype(int)), None, ("not floating-point", "conv2.weight")),
        (changed("third", conv2__weight=kernel + 1j), None, ("not floating-point", "conv2.weight")),
        (changed("third", conv2__weight=kernel.astype(object)), None, ("never unpickled", "conv2.weight")),
        (changed("third", conv2__weight=kernel * np.nan), None, ("not finite", "conv2.weight")),
        (changed("third", conv2__weight=kernel.astype(str)), None, ("'third'", "conv2.weight is missing")),
        (changed("third", ballast=np.zeros(2**24)), None, ("more than 67,108,864 bytes",)),
    )

    def trial(number: int) -> None:
        values, arch, words = cases[number % len(cases)]
        path = folder / f"{number}.npz"
        np.savez_compressed(path, **values)
        message = _raises(CheckpointError, str(path), read_weights, path, device, arch)
        for word in words:
            assert word in message, f"{word!r} is not in: {message}"

    for number in range(trials):
        yield lambda number=number: trial(number)


def fuzzed_weights(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Reads mutated weights files and zip bombs."""
    device, path = jax.devices("cpu")[0], folder / "weights.npz"
    values: dict[str, Any] = {
        key: np.full(shape, 0.5, np.float32) for key, shape in shapes_of("second").items()
    }
    seeds = []
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, **values)
        seeds.append(buffer.getvalue())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "<f4", "fortran_order": False, "shape": (10**9,)}
        )
        archive.writestr("conv1.weight.npy", header.getvalue() + bytes(400_000_000))
    seeds.append(buffer.getvalue())

    def trial() -> None:
        path.write_bytes(mutate(seeds[random.integers(len(seeds))], random))
        _read_or_refuse(CheckpointError, path, read_weights, path, device)

    yield from _bounded_trials(trial, trials)


_ODD_VALUES = (
    *(
        None,
        True,
        -1,
        0,
        1,
        0.5,
        1e308,
        2**31,
        2**32,
        2**64,
        10**400,
        "",
        "third",
        "batch",
        "../up",
        "a\0b",
        "\ud800",
    ),
    *("x" * 5000, [], [[]], {}, {"name": "third"}, {"": 1}, {"plateau": {"factor": -1}}, [None] * 1000),
)


def fuzzed_configurations(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Reads configuration files with odd values, and mutated JSON."""
    path = folder / "config.json"
    whole: dict[str, Any] = json.loads(
        json.dumps(
            {
                "arch": "dilated",
                "seed": 7,
                "dropout": 0.1,
                "norm": None,
                "select_on": "val",
                "dataset": "digits",
            }
            | {
                "recipe": {
                    "name": "dilated",
                    "epochs": 2,
                    "plateau": {"patience": 2},
                    "augmentation": {"scale": 0.1},
                }
            }
        )
    )
    texts = [
        json.dumps(whole).encode(),
        b"[" * 100_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b'{"recipe":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"seed": NaN, "dropout": Infinity}',
        b'{"dropout": 1e999}',
        b'{"seed": ' + b"9" * 4_000 + b"}",
        json.dumps(whole).encode("utf-16"),
        b'{"arch": "' + bytes(300_000) + b'"}',
    ]

    def trial(number: int) -> None:
        if number % 3:
            path.write_text(json.dumps(_with_odd_value(whole, random)))
        elif number // 3 < len(texts):
            path.write_bytes(texts[number // 3])
        else:
            path.write_bytes(mutate(texts[random.integers(len(texts))], random))
        try:
            config = run_config(read_file(path))
            config.create_model()
            make_optimizer(config.recipe)
        except UsageError as error:
            _assert_sentence(str(error))
        else:
            assert Path(config.recipe.name).name == config.recipe.name, "the recipe's name leaves its folder"

    for number in range(trials):
        yield lambda number=number: trial(number)


def _with_odd_value(values: dict[str, Any], random: np.random.Generator) -> dict[str, Any]:
    """Returns a copy with one value, at any depth, or one key changed."""
    changed = dict(values)
    key = list(values)[random.integers(len(values))]
    if isinstance(values[key], dict) and random.random() < 0.8:
        changed[key] = _with_odd_value(values[key], random)
    elif random.random() < 0.1:
        changed[key + "x" * int(random.integers(1, 1000))] = changed.pop(key)
    else:
        changed[key] = _ODD_VALUES[random.integers(len(_ODD_VALUES))]
    return changed


def _bounded_trials(trial: Trial, trials: int) -> Iterator[Trial]:
    """Returns the same trial many times, each with a memory limit."""

    def bounded_trial() -> None:
        with bounded(MOST_MEMORY):
            trial()

    return (bounded_trial for _ in range(trials))


def _read_or_refuse(
    kind: type[Exception], path: Path, read: Callable[..., Any], *args: Any, **options: Any
) -> Any:
    """Returns the result of reading, or None if it is refused with a sentence that names the file."""
    try:
        return read(*args, **options)
    except kind as error:
        assert str(path) in str(error), f"the file is not named: {error}"  # noqa: PT017 - both are right
        _assert_sentence(str(error))
        return None


def _raises(kind: type[Exception], place: str, call: Callable[..., Any], *args: Any, **options: Any) -> str:
    try:
        call(*args, **options)
    except kind as error:
        assert place in str(error), f"{place} is not named: {error}"  # noqa: PT017 - no test of pytest
        _assert_sentence(str(error))
        return str(error)
    raise AssertionError(f"{place} was accepted")


def _assert_sentence(message: str) -> None:
    assert message.endswith("."), f"no sentence: {message}"
    assert "\n" not in message, f"more than a line: {message}"
    assert len(message) < 2000, f"{len(message)} characters: {message[:200]}"


ATTACKS = (
    Attack("damaged-data-files", 30, 4, damaged_data),
    Attack("fuzzed-idx", 10_000, 300, fuzzed_idx),
    Attack("fuzzed-images", 1_000, 100, fuzzed_images),
    Attack("foreign-weights", 12, 12, foreign_weights),
    Attack("fuzzed-weights", 300, 30, fuzzed_weights),
    Attack("fuzzed-configurations", 1_000, 200, fuzzed_configurations),
)
