"""Weights files made to mislead, flood or run code: refused with a sentence, or a network with finite outputs."""

import io
import pickle
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxmnist.interop.torch import shapes_of
from jaxmnist.runs.weights import read_weights
from tests.torture import mutation, reading
from tests.torture.battery import Attack, Trial

Arrays = dict[str, Any]
_MANY = 1_000_000


def hostile(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Reads weights files of many kinds and predicts random images with those that are accepted."""
    path, images = folder / "weights.npz", random.integers(0, 256, (4, 28, 28), np.uint8)
    arrays = {
        key: random.uniform(0.1, 1, shape).astype(np.float32) for key, shape in shapes_of("third").items()
    }

    def predict(file: Path) -> Any:
        network = read_weights(file, jax.devices("cpu")[0])
        return network.predict(images)[1].tolist()

    path.write_bytes(_npz(arrays))
    whole, _ = reading.attempt(predict, path)
    many = _many_members()
    kinds: Mapping[str, tuple[Callable[[], bytes], bool]] = {
        **{
            name: (lambda make=make: _npz(make(dict(arrays), random)), False)
            for name, make in _CHANGES.items()
        },
        "negative variance": (lambda: _npz(_one(arrays, random, "running_var", lambda one: -one)), False),
        "a member twice": (lambda: _doubled(arrays, random), False),
        "a million members": (lambda: many, False),
        "bytes in front": (lambda: random.bytes(int(random.integers(1, 99))) + _npz(arrays), False),
        "a pickle": (lambda: pickle.dumps(arrays), False),
        "truncated": (lambda: mutation.truncate(_npz(arrays)[:-1], random), False),
        "mutated": (lambda: mutation.mutate(_npz(arrays), random), True),
        "no change": (lambda: _npz(arrays), True),
    }
    names = list(kinds)
    for trial in range(trials):

        def read(name: str = names[trial % len(names)]) -> None:
            make, may_be_read = kinds[name]
            path.write_bytes(make())
            try:
                found, said = reading.attempt(predict, path)
                assert found is None or (may_be_read and found == whole), "it was accepted"
                assert found or str(path) in " ".join(said), f"the file is not named in {said}"
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from error

        yield read


def _one(arrays: Arrays, random: np.random.Generator, ending: str, change: Callable[[Any], Any]) -> Arrays:
    """Returns a copy with one of the arrays whose names end so changed."""
    keys = [key for key in arrays if key.endswith(ending)]
    key = keys[random.integers(len(keys))]
    return arrays | {key: change(arrays[key].copy())}


def _with_value(value: float) -> Callable[[Arrays, np.random.Generator], Arrays]:
    def put(one: np.ndarray, random: np.random.Generator) -> np.ndarray:
        one = one.astype(np.float64)
        one.flat[random.integers(one.size)] = value
        return one

    return lambda arrays, random: _one(arrays, random, "", lambda one: put(one, random))


def _renamed(arrays: Arrays, random: np.random.Generator, new: Callable[[str], str]) -> Arrays:
    key = list(arrays)[random.integers(len(arrays))]
    return {new(name) if name == key else name: value for name, value in arrays.items()}


_CHANGES: Mapping[str, Callable[[Arrays, np.random.Generator], Arrays]] = {
    "NaN": _with_value(np.nan),
    "infinity": _with_value(-np.inf),
    "infinite as a float32": _with_value(1e300),
    "a wrong name": lambda arrays, random: _renamed(arrays, random, lambda name: f"{name}x"),
    "an array more": lambda arrays, random: arrays | {"../" * int(random.integers(1, 9)) + "x": np.zeros(3)},
    "integers": lambda arrays, random: _one(arrays, random, "", lambda one: one.astype(np.int32)),
    "complex numbers": lambda arrays, random: _one(arrays, random, "", lambda one: one + 1j),
    "texts": lambda arrays, random: _one(arrays, random, "", lambda one: one.astype(str)),
    "pickled objects": lambda arrays, random: _one(arrays, random, "", lambda one: one.astype(object)),
    "records": lambda arrays, random: _one(arrays, random, "", lambda one: one.view([("x", "f4")])),
    "a dimension more": lambda arrays, random: _one(arrays, random, "", lambda one: one[None]),
    "a value too few": lambda arrays, random: _one(arrays, random, "", lambda one: one.reshape(-1)[1:]),
    "no values": lambda arrays, random: _one(arrays, random, "", lambda one: one[:0]),
    "20,000 arrays more": lambda arrays, random: (
        arrays | {f"{random.integers(9)}{i}" + "x" * 30: np.zeros(1) for i in range(20_000)}
    ),
}


def _npz(arrays: Arrays) -> bytes:
    content = io.BytesIO()
    np.savez(content, allow_pickle=True, **arrays)
    return content.getvalue()


def _doubled(arrays: Arrays, random: np.random.Generator) -> bytes:
    content, key = io.BytesIO(_npz(arrays)), list(arrays)[random.integers(len(arrays))]
    other = io.BytesIO()
    np.save(other, arrays[key] + 1)
    with zipfile.ZipFile(content, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr(f"{key}.npy", other.getvalue())
    return content.getvalue()


def _many_members() -> bytes:
    """Returns an archive with a million empty members, whose table alone is what a reader meets."""
    entry = b"PK\x01\x02" + bytes(24) + (7).to_bytes(2, "little") + bytes(16)
    table = b"".join(entry + b"%07d" % number for number in range(_MANY))
    first = b"PK\x03\x04" + bytes(22) + (7).to_bytes(2, "little") + bytes(2) + b"0000000"
    end64 = b"PK\x06\x06" + (44).to_bytes(8, "little") + bytes(12)
    end64 += (
        _MANY.to_bytes(8, "little") * 2 + len(table).to_bytes(8, "little") + len(first).to_bytes(8, "little")
    )
    locator = (
        b"PK\x06\x07" + bytes(4) + (len(first) + len(table)).to_bytes(8, "little") + (1).to_bytes(4, "little")
    )
    end = b"PK\x05\x06" + bytes(4) + b"\xff\xff" * 2 + b"\xff\xff\xff\xff" * 2 + bytes(2)
    return first + table + end64 + locator + end


ATTACKS = (Attack("hostile-weights", 300, 44, hostile),)
"""The short version has each kind twice."""
