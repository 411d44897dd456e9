"""The `data` command."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxmnist.cli.options import Command, Device, OptionalFile, OptionalFolder
from jaxmnist.data.dataset import Fit
from jaxmnist.errors import UsageError, writing
from jaxmnist.runtime.json_text import json_text

OptionalFit = Annotated[Fit | None, tyro.conf.arg(metavar="{mnist,stretch,pad}", help_behavior_hint="")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data(Command):
    """Show what a dataset holds: classes, counts, statistics, and samples of each class."""

    dataset: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME|PATH")]
    """Name of a dataset, or a folder of images, an .npz or .csv file, or a folder with IDX files."""
    data_dir: OptionalFolder = None
    """Folder of a dataset with a name: the four IDX files (plain or .gz), or a subfolder of its name with them."""
    fit: OptionalFit = None
    """The way pictures of your own become 28x28: pad (the default) and stretch average areas, mnist centres ink."""
    test: OptionalFile = None
    """CSV file with the test images of a CSV file."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("samples.png")
    """PNG file to write."""
    device: tyro.conf.Suppress[Device] = "auto"  # none is started
    no_compile_cache: tyro.conf.Suppress[bool] = True  # nothing is compiled

    def run(self) -> None:
        """Loads the dataset, draws samples and prints what it holds."""
        from jaxmnist.data import load_dataset
        from jaxmnist.report.plots.samples import save_samples
        from jaxmnist.report.terminal.data import data_as_json, print_data

        if self.out.suffix.lower() != ".png":
            raise UsageError(f"--out {self.out} is no PNG file; end its name in .png.")
        dataset = load_dataset(self.dataset, self.data_dir, fit=self.fit, test=self.test)
        with writing(f"--out {self.out}", "name another file"):
            save_samples(self.out, dataset)
        if self.json:
            print(json_text(data_as_json(dataset) | {"file": str(self.out)}))
        else:
            print_data(self.console(), dataset, self.out)
