"""The `preview` command."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import tyro

from jaxmnist.cli.options import Command, OptionalDataset, OptionalFolder, RecipeName
from jaxmnist.config import RECIPES, get_recipe
from jaxmnist.errors import UsageError

_MOST = 100


@dataclasses.dataclass(frozen=True)
class Preview(Command):
    """Draw what a recipe's augmentation does to training images."""

    recipe: RecipeName = "third"
    """Whose augmentation."""
    dataset: OptionalDataset = None
    """Whose images; mnist without this option."""
    data_dir: OptionalFolder = None
    """Folder with the four IDX files (plain or .gz), or with a subfolder named after the dataset."""
    seed: int = 1
    """Seed of the random changes."""
    images: int = 10
    """How many images, from the first one on; a column each."""
    rows: int = 3
    """Augmented versions of each image, below the original."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("augmentation.png")
    """PNG file to write."""

    def run(self) -> None:
        from jaxmnist.data import load_dataset
        from jaxmnist.report.plots.preview import changes_in_words, save_preview

        recipe = get_recipe(self.recipe)
        if not changes_in_words(recipe):
            others = [name for name in RECIPES if changes_in_words(get_recipe(name))]
            raise UsageError(f"recipe {self.recipe!r} does not augment; choose one of {', '.join(others)}.")
        for option, value in (("images", self.images), ("rows", self.rows)):
            if not 1 <= value <= _MOST:
                raise UsageError(f"--{option} {value} is out of range; choose a number from 1 to {_MOST}.")
        if self.out.suffix.lower() != ".png":
            raise UsageError(f"--out {self.out} is no PNG file; end its name in .png.")
        dataset = load_dataset(self.dataset or "mnist", self.data_dir)
        self.start()
        images = dataset.train_images[: self.images]
        try:
            save_preview(self.out, images, dataset.name, recipe, self.seed, self.rows)
        except OSError as error:
            message = f"--out {self.out} cannot be written ({error.strerror}); name another file."
            raise UsageError(message) from error
        if self.json:
            print(json.dumps({"file": str(self.out)}))
        else:
            self.console().print(f"Written: {self.out}", highlight=False, markup=False, soft_wrap=True)
