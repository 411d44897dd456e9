"""Trained networks that come with the package, as weights files with their cards.

None was chosen by its own figure: each has the seed that was the median one of its network's study and was trained anew
with it; `dilated`, not studied by this recipe, has one fixed before. `SHA256SUMS` has the checksums.
"""

from pathlib import Path

FOLDER = Path(__file__).parent

PRETRAINED = tuple(sorted(file.stem for file in FOLDER.glob("*.safetensors")))
"""Names of the networks."""

DEFAULT = "flagship"
"""The network of a command that is given none."""


def locate(path: Path) -> Path:
    """Returns the weights file of a network of the package if a path is its name and nothing of that name is there.

    Any other path is returned as it is.
    """
    name = str(path)
    return FOLDER / f"{name}.safetensors" if name in PRETRAINED and not path.exists() else path


def is_pretrained(path: Path) -> bool:
    """True if a path is that of a weights file of the package."""
    return path.parent == FOLDER
