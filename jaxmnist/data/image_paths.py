"""Image files named on a command line: files, folders, patterns that no shell expanded, and `-`."""

import glob
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from jaxmnist.data.image_formats import is_image_name
from jaxmnist.errors import DataError, UsageError

STANDARD_INPUT = "-"


class ImageFiles(NamedTuple):
    """Image files, and the names that brought other files or none."""

    files: list[Path | str]
    """Image files in the order of their names, and `STANDARD_INPUT` for an image that is read from there."""
    skipped: list[tuple[str, list[str]]]
    """Folders and patterns with other files too, and the names of those."""
    errors: list[DataError]
    """Errors of folders and patterns without images."""


def find_image_files(names: Iterable[str | Path]) -> ImageFiles:
    """Finds the files that names on a command line stand for.

    A folder stands for its files with the suffix of an image (`.png`, `.jpg`, ...), in natural order: 2.png before
    10.png. Hidden files and subfolders are left out. A pattern (`*`, `?`, `[...]`, and `**` for nested folders)
    stands for the matching files with such a suffix. Any other name stands for itself, even if there is no such
    file, and so does the name of a file that contains those characters.

    Raises:
        UsageError: standard input is named twice.
    """
    found = ImageFiles([], [], [])
    for name in map(str, names):
        try:
            if name == STANDARD_INPUT:
                if STANDARD_INPUT in found.files:
                    raise UsageError("- is standard input, which holds one image; name it once.")
                found.files.append(STANDARD_INPUT)
            elif (path := Path(name)).is_dir():
                visible = (file for file in path.iterdir() if not file.name.startswith("."))
                _add(found, name, visible, f"{name} is a folder without images; name one with images.")
            elif glob.has_magic(name) and not path.exists():
                # Path.glob takes no absolute pattern.
                matches = map(Path, glob.iglob(name, recursive=True))  # noqa: PTH207
                _add(found, name, matches, f"no image file matches {name}; check the pattern and its folder.")
            else:
                found.files.append(path)
        except OSError as error:
            reason = f"{name} cannot be read ({error.strerror}); check its name and permissions."
            found.errors.append(DataError(reason))
    return found


def is_image_place(path: Path) -> bool:
    """True if a name means images and no network: standard input, a pattern, a file's name, a folder with images."""
    name = str(path)
    if name == STANDARD_INPUT or is_image_name(path) or (glob.has_magic(name) and not path.exists()):
        return True
    return path.is_dir() and not any(path.glob("*.json")) and any(map(is_image_name, path.iterdir()))


def _add(found: ImageFiles, name: str, paths: Iterable[Path], error_without_images: str) -> None:
    files = [path for path in paths if path.is_file()]
    images = [path for path in files if is_image_name(path)]
    found.files.extend(sorted(images, key=_natural))
    if len(files) > len(images):
        others = sorted(set(files) - set(images), key=_natural)
        found.skipped.append((name, [path.name for path in others]))
    if not images:
        found.errors.append(DataError(error_without_images))


def _natural(path: Path) -> tuple[object, ...]:
    return [natural_order(name) for name in path.parts], str(path)


def natural_order(name: str) -> list[tuple[int, str]]:
    """Sort key: numbers by value, letters without case."""
    # Text and numbers alternate, so that like is compared with like.
    parts = re.split(r"(\d+)", name.casefold())
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]
