"""Run, study and sweep folders with any of their files damaged: a sentence and a code, or the same figures."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from tests.torture import mutation, reading, templates
from tests.torture.battery import Attack, Trial
from tests.torture.reading import Read

_KINDS: Mapping[str, tuple[Callable[[], Path], Mapping[str, Read]]] = {
    "run": (templates.run, reading.RUN),
    "study": (templates.study, reading.STUDY),
    "sweep": (templates.sweep, reading.SWEEP),
}


def fuzzed(kind: str, trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Damages one to three files of a folder, each in one way, and reads the folder in every way."""
    make, readers = _KINDS[kind]
    template, place = make(), folder / "place"
    whole = {}
    for name, read in readers.items():
        shutil.copytree(template, place)
        whole[name] = json.loads(reading.attempt(read, place)[0] or "null")
        shutil.rmtree(place)
    files = sorted(path.relative_to(template) for path in template.rglob("*") if path.is_file())
    # The arrays of checkpoints have attacks of their own.
    files = [file for file in files if "arrays" not in file.parts] + [
        f for f in files if "arrays" in f.parts
    ][:4]
    for _ in range(trials):

        def fuzz() -> None:
            chosen = random.choice(len(files), 1 if random.random() < 0.8 else 3, replace=False)
            damages = [(files[at], int(random.integers(2**31))) for at in chosen]
            for name, read in readers.items():
                shutil.copytree(template, place)
                said = " and ".join(
                    damage(place / file, np.random.default_rng(seed)) for file, seed in damages
                )
                try:
                    found, warned = reading.attempt(read, place)
                    wrong = _changed_numbers(json.loads(found or "null"), whole[name])
                    # An older checkpoint in place of a damaged one has other figures.
                    is_said = re.search(
                        "is used instead|figures of the checkpoint are used", " ".join(warned)
                    )
                    assert not wrong or is_said, f"other figures: {wrong}"
                except AssertionError as error:
                    raise AssertionError(f"{name} of a {kind} with {said}: {error}") from error
                finally:
                    shutil.rmtree(place)

        yield fuzz


def damage(file: Path, random: np.random.Generator) -> str:
    """Damages a file in a random way and returns a description; a file that is gone stays so."""
    if not file.is_file():
        return f"{file.name} gone"
    content = file.read_bytes()
    is_json = file.suffix in (".json", ".jsonl")
    name = random.choice(["bytes", *(["json"] * 6 if is_json else ["bytes"] * 2), *_DAMAGES])
    if name == "bytes":
        file.write_bytes(mutation.mutate(content, random))
    elif name == "json":
        changed = mutation.mutate_json(content, random)
        file.write_bytes(changed)
        at = len(os.path.commonprefix([mutation.as_lines(content), changed]))  # noqa: RUF071, of bytes
        return f"{file.name} changed to ...{changed[max(0, at - 60) : at + 60]!r}"
    else:
        _DAMAGES[name](file, random)
    return f"{file.name} ({name})"


def _folder(file: Path, random: np.random.Generator) -> None:
    file.unlink()
    file.mkdir()
    if random.random() < 0.5:
        (file / file.name).write_text("{}")


def _link(file: Path, target: str | Path) -> None:
    file.unlink()
    file.symlink_to(target)


def _pipe(file: Path, _: np.random.Generator) -> None:
    file.unlink()
    os.mkfifo(file)


def _sparse(file: Path, _: np.random.Generator) -> None:
    os.truncate(file, 3 * 2**30)


def _swapped(file: Path, random: np.random.Generator) -> None:
    others = sorted(other for other in file.parent.rglob("*") if other.is_file() and other != file)
    if others:
        file.write_bytes(others[random.integers(len(others))].read_bytes())


_PARTS = "seeds", "member", "members_begun"
"""Figures that say what others are made of: a seed without its files counts as unfinished."""

_DAMAGES: Mapping[str, Callable[[Path, np.random.Generator], object]] = {
    "emptied": lambda file, _: file.write_bytes(b""),
    "truncated": lambda file, random: file.write_bytes(mutation.truncate(file.read_bytes(), random)),
    "deleted": lambda file, _: file.unlink(),
    "replaced by a folder": _folder,
    "a link to itself": lambda file, _: _link(file, file.name),
    "a link to an endless device": lambda file, _: _link(file, "/dev/zero"),
    "a pipe": _pipe,
    "3 GiB of zeros": _sparse,
    "nested deeply": lambda file, random: file.write_bytes(random.choice([b"[", b'{"a":']) * 100_000),
    "not UTF-8": lambda file, _: file.write_bytes(b'{"arch": "\xff\xfe"}'),
    "not an object": lambda file, random: file.write_bytes(random.choice([b"1", b"null", b'"a"', b"[1]"])),
    "another file's content": _swapped,
}


def _changed_numbers(found: object, whole: object, place: str = "") -> str:
    """Describes the first number that is in both figures and differs; empty if there is none."""
    if isinstance(found, dict) and isinstance(whole, dict):
        if any(found.get(name) != whole.get(name) for name in _PARTS):
            return ""
        pairs = [(key, found[key], whole[key]) for key in found.keys() & whole.keys()]
    elif isinstance(found, list) and isinstance(whole, list):
        pairs = list(zip(range(len(found)), found, whole, strict=False))
    elif isinstance(found, bool) or isinstance(whole, bool):  # a run without its results counts as unfinished
        return ""
    elif isinstance(found, int | float) and isinstance(whole, int | float) and found != whole:
        return f"{place} is {found} instead of {whole}"
    else:
        return ""
    differing = (_changed_numbers(one, other, f"{place}/{key}") for key, one, other in pairs)
    return next(filter(None, differing), "")


ATTACKS = (
    Attack("fuzzed-runs", 1_000, 8, partial(fuzzed, "run")),
    Attack("fuzzed-studies", 600, 8, partial(fuzzed, "study")),
    Attack("fuzzed-sweeps", 400, 8, partial(fuzzed, "sweep")),
)
