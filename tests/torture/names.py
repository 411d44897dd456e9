"""Hostile names of files, runs, arrays and classes, through the commands that print them."""

import contextlib
import io
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

from jaxmnist.cli.main import main
from jaxmnist.interop.torch import shapes_of
from tests.torture import reading, templates
from tests.torture.battery import Attack, Trial

_PARTS = (
    *("\x1b[2J", "\x1b]0;title\x07", "\x1b[31m", "\x9b31m", "\x01", "\x08\x08\x08", "\x7f", "\x85"),
    *(
        "\nerror: forged",
        "\rerror: forged",
        "\u2028forged",
        "\t",
        "\u202eexe.png",
        "\u2066",
        "\u200f",
        "\u061c",
    ),
    *("\udcff\udcfe", "[bold red]", "[b]", "x" * 200, "<script><b>", "'\"`$(id)", "🙂", "%s%n{0}", " "),
)


def hostile_names(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Gives a name with such parts to a picture, a run, an array or a class; every message is one harmless line."""
    run = templates.run()
    uses: tuple[Callable[[Path, str], list[list[str]]], ...] = (_picture, _no_picture, _run, _array, _class)
    for trial in range(trials):

        def use(trial: int = trial) -> None:
            parts = [_PARTS[trial % len(_PARTS)], *random.choice(_PARTS, 2)]
            name = "a" + "".join(map(str, random.permutation(parts)))
            name = os.fsdecode(os.fsencode(name)[:230])  # the longest name is 255 bytes
            place = folder / f"{trial}"
            place.mkdir()
            shutil.copytree(run, place / "run")
            for arguments in uses[trial % len(uses)](place, name):
                code, out, errors = _call(arguments, place)
                said = f"{arguments[0]} with {name!r}"
                assert code in (0, 2, 3, 4), f"{said}: exit code {code}: {errors[-300:]}"
                for line in (out + errors).split("\n"):
                    bad = re.search(
                        r"[^\t -~\xa0-\U0010ffff]|[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]", line
                    )
                    assert not bad, f"{said}: {bad and bad[0]!r} in {line[:300]!r}"
                    assert not line.startswith(("forged", "error: forged")), f"{said}: a line was forged"
                for line in errors.splitlines():
                    if line.startswith("error: "):
                        reading.assert_sentence(line)
                assert errors.count("error: ") - errors.count("error: forged") <= 1, (
                    f"{said}: {errors[-500:]}"
                )
            shutil.rmtree(place)

        yield use


def _picture(place: Path, name: str) -> list[list[str]]:
    Image.new("L", (28, 28)).save(place / "picture.png")
    (place / "picture.png").rename(place / name)
    return [["predict", str(place / "run"), str(place / name)], ["predict", str(place / name), "picture.png"]]


def _no_picture(place: Path, name: str) -> list[list[str]]:
    (place / name).write_bytes(b"no picture")
    return [["predict", str(place / "run"), str(place / name)], ["evaluate", str(place / f"{name}x")]]


def _run(place: Path, name: str) -> list[list[str]]:
    (place / "run").rename(place / name)
    return [[command, str(place / name)] for command in ("compare", "evaluate", "report")]


def _array(place: Path, name: str) -> list[list[str]]:
    arrays: dict[str, Any] = {
        key: np.full(shape, 0.5, np.float32) for key, shape in shapes_of("third").items()
    }
    harmless = name.encode(errors="replace").decode()  # a zip archive holds UTF-8
    arrays |= {harmless: np.zeros(3)}
    np.savez(place / "weights.npz", **arrays)
    return [["evaluate", str(place / "weights.npz"), "--dataset", "digits"]]


def _class(place: Path, name: str) -> list[list[str]]:
    random = np.random.default_rng(0)
    for number, label in enumerate((name, "other")):
        (place / "data" / label).mkdir(parents=True)
        for picture in range(20):
            pixels = random.integers(0, 256, (28, 28), np.uint8)
            Image.fromarray(pixels).save(place / "data" / label / f"{number}{picture}.png")
    return [["data", str(place / "data")]]


def _call(arguments: list[str], place: Path) -> tuple[int, str, str]:
    """Runs a command in this process; returns its exit code, standard output and standard error."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(sys, "argv", ["jaxmnist", *arguments]))
        stack.enter_context(contextlib.chdir(place))
        stack.enter_context(warnings.catch_warnings())
        streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2)]
        stack.enter_context(contextlib.redirect_stdout(streams[0]))
        stack.enter_context(contextlib.redirect_stderr(streams[1]))
        try:
            main()
        except SystemExit as end:
            code = 0 if end.code is None else int(end.code)
        else:
            code = 0
        contents = [stream.buffer.getvalue().decode() for stream in streams]  # pyright: ignore[reportAttributeAccessIssue]
    return code, contents[0], contents[1]


ATTACKS = (Attack("hostile-names", 100, 10, hostile_names),)
