"""The `preview` command."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxmnist.cli.options import Command, OptionalDataset, OptionalFolder, RecipeName
from jaxmnist.config import RECIPES, get_recipe
from jaxmnist.errors import UsageError, writing
from jaxmnist.runtime.json_text import json_text

_MOST = 100


@dataclasses.dataclass(frozen=True)
class Preview(Command):
    """Draw training images before and after a recipe's augmentation."""

    recipe: RecipeName = "third"
    """Recipe with the augmentation."""
    dataset: OptionalDataset = None
    """Dataset with the images; by default mnist."""
    data_dir: OptionalFolder = None
    """Folder with the four IDX files (plain or .gz), or with a subfolder named after the dataset."""
    seed: int = 1
    """Seed of the random changes."""
    images: int = 10
    """Number of images, from the first one on; each is a column."""
    rows: int = 3
    """Number of augmented versions of each image, below the original."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("augmentation.png")
    """PNG file to write."""

    def run(self) -> None:
        """Runs the command."""
        from jaxmnist.data import load_dataset
        from jaxmnist.report.plots.preview import changes_in_words, save_preview
        from jaxmnist.report.terminal import print_files

        recipe = get_recipe(self.recipe)
        if not changes_in_words(recipe):
            others = [name for name in RECIPES if changes_in_words(get_recipe(name))]
            raise UsageError(f"recipe {self.recipe!r} does not augment; choose one of {', '.join(others)}.")
        for option, value in (("images", self.images), ("rows", self.rows)):
            if not 1 <= value <= _MOST:
                raise UsageError(f"--{option} {value} is out of range; choose a number from 1 to {_MOST}.")
        if self.out.suffix.lower() != ".png":
            raise UsageError(f"--out {self.out} is not a PNG file; end its name in .png.")
        dataset = load_dataset(self.dataset or "mnist", self.data_dir)
        self.start()
        images = dataset.train_images[: self.images]
        with writing(f"--out {self.out}", "name another file"):
            save_preview(self.out, images, dataset.name, recipe, self.seed, self.rows)
        if self.json:
            print(json_text({"file": str(self.out)}))
        else:
            print_files(self.console(), [self.out])
