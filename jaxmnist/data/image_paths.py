"""Which image files are meant: by files, folders, patterns that no shell expanded, and `-`."""

import glob
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from jaxmnist.data.images import is_image_name
from jaxmnist.errors import DataError, UsageError

STANDARD_INPUT = "-"


class ImageFiles(NamedTuple):
    """What was found."""

    files: list[Path | str]
    """Image files, and `STANDARD_INPUT` for the image that is read from there; in the order that was asked for."""
    skipped: list[tuple[str, int]]
    """Folders and patterns with other files in them, and how many."""
    errors: list[DataError]
    """Folders and patterns that nothing was found for."""


def find_image_files(names: Iterable[str | Path]) -> ImageFiles:
    """The files that names on a command line stand for.

    A folder stands for the files in it with an ending of an image (`.png`, `.jpg`, ...), in natural order:
    2.png before 10.png. Hidden files and subfolders are left out. A pattern (`*`, `?`, `[...]`, and `**` for
    folders within folders) stands for such files as it matches. Any other name, also that of a file which has
    those characters in it, is itself, be it there or not.

    Raises:
        UsageError: standard input is named twice.
    """
    found = ImageFiles([], [], [])
    for name in map(str, names):
        try:
            if name == STANDARD_INPUT:
                if STANDARD_INPUT in found.files:
                    raise UsageError("- is standard input, which has one image only; name it once.")
                found.files.append(STANDARD_INPUT)
            elif (path := Path(name)).is_dir():
                inside = (file for file in path.iterdir() if not file.name.startswith("."))
                _add(found, name, inside, f"{name} is a folder without images; name one that has some.")
            elif glob.has_magic(name) and not path.exists():
                # Path.glob takes no absolute pattern.
                matching = map(Path, glob.iglob(name, recursive=True))  # noqa: PTH207
                nothing = f"no image file matches {name}; check the pattern and its folder."
                _add(found, name, matching, nothing)
            else:
                found.files.append(path)
        except OSError as error:
            message = f"{name} cannot be read ({error.strerror}); check its name and permissions."
            found.errors.append(DataError(message))
    return found


def _add(found: ImageFiles, name: str, paths: Iterable[Path], nothing: str) -> None:
    files = [path for path in paths if path.is_file()]
    images = [path for path in files if is_image_name(path)]
    found.files.extend(sorted(images, key=_natural))
    if len(files) > len(images):
        found.skipped.append((name, len(files) - len(images)))
    if not images:
        found.errors.append(DataError(nothing))


def _natural(path: Path) -> tuple[object, ...]:
    """Numbers by their value, letters without regard to case."""
    parts = [re.split(r"(\d+)", name.casefold()) for name in path.parts]
    # Texts and numbers take turns, so that like is compared with like.
    return [[(int(part), "") if part.isdecimal() else (0, part) for part in name] for name in parts], str(
        path
    )
