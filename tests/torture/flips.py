"""Single flipped bits in the files of a run or study, except checkpoints: refused, or without effect on any figure."""

import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from jaxmnist.experiments.study.folder import STUDY as STUDY_FILE
from jaxmnist.runs.folder import CONFIG, METRICS, RESULTS
from tests.torture import reading, templates
from tests.torture.battery import Attack, Trial
from tests.torture.reading import Read


def flipped_bits(
    file: str, is_study: bool, trials: int, folder: Path, random: np.random.Generator
) -> Iterator[Trial]:
    """Flips each bit of a file, or an even share of them, and reads the folder in every way."""
    template = templates.study() if is_study else templates.run()
    readers: Mapping[str, Read] = reading.STUDY if is_study else reading.RUN
    place = folder / "place"
    whole = {name: _figures(name, read, template, place) for name, read in readers.items()}
    content = (template / file).read_bytes()
    bits = random.permutation(8 * len(content))
    for trial in range(trials):

        def flip(bit: int = int(bits[trial % len(bits)])) -> None:
            at, mask = divmod(bit, 8)
            changed = content[:at] + bytes([content[at] ^ 1 << mask]) + content[at + 1 :]
            said = f"bit {mask} of byte {at}, {_around(content, at)!r} to {_around(changed, at)!r}"
            for name, read in readers.items():
                found = _figures(name, read, template, place, {file: changed}, said)
                assert found in (None, whole[name]), (
                    f"{name} gives other figures with {said}: {_difference(found or '', whole[name] or '')}"
                )

        yield flip


def _figures(
    name: str,
    read: Read,
    template: Path,
    place: Path,
    changes: Mapping[str, bytes] | None = None,
    said: str = "",
) -> str | None:
    """Reads a copy of a folder with some files changed."""
    shutil.copytree(template, place)
    try:
        for file, content in (changes or {}).items():
            (place / file).write_bytes(content)
        return reading.attempt(read, place)[0]
    except AssertionError as error:
        raise AssertionError(f"{name} with {said}: {error}") from error
    finally:
        shutil.rmtree(place)


def _around(content: bytes, at: int) -> bytes:
    return content[max(0, at - 20) : at + 8]


def _difference(found: str, whole: str) -> str:
    at = next((i for i, pair in enumerate(zip(found, whole, strict=False)) if pair[0] != pair[1]), 0)
    return f"{found[max(0, at - 40) : at + 20]!r} instead of {whole[max(0, at - 40) : at + 20]!r}"


ATTACKS = (
    Attack("flipped-config", 2_000, 4, partial(flipped_bits, CONFIG, False)),
    Attack("flipped-metrics", 500, 4, partial(flipped_bits, METRICS, False)),
    Attack("flipped-results", 500, 4, partial(flipped_bits, RESULTS, False)),
    Attack("flipped-study", 2_000, 4, partial(flipped_bits, STUDY_FILE, True)),
    Attack("flipped-seed-config", 200, 4, partial(flipped_bits, f"s1/{CONFIG}", True)),
    Attack("flipped-seed-metrics", 200, 4, partial(flipped_bits, f"s1/{METRICS}", True)),
    Attack("flipped-seed-results", 200, 4, partial(flipped_bits, f"s1/{RESULTS}", True)),
)
