"""Folders within a study or sweep that are not its own, such as copies: they are named and left out."""

import warnings
from collections.abc import Collection
from pathlib import Path

from jaxmnist.errors import JaxmnistWarning, shortened

_OWN = {"plots", "shards"}


def warn_of_strays(folder: Path, own: Collection[str]) -> None:
    """Warns of the folders within a folder that are not its own; names that begin with a dot are passed over.

    Args:
        folder: folder of a study or sweep.
        own: names of its runs or studies.
    """
    inside = (path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if strays := sorted(name for name in inside if name not in own and name not in _OWN):
        names = shortened(", ".join(strays))
        message = f"{folder} has folders that are not its own, which are left out: {names}; move them away."
        warnings.warn(message, JaxmnistWarning, stacklevel=2)
