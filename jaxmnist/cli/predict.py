"""The `predict` command."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxmnist.cli.network_options import NetworkCommand
from jaxmnist.errors import DataError, UsageError, listed, one_line
from jaxmnist.pretrained import DEFAULT
from jaxmnist.runtime.json_text import json_text

ImageNames = Annotated[
    tyro.conf.Positional[tuple[str | Path, ...]],
    tyro.conf.arg(metavar="IMAGE [IMAGE ...]", help_behavior_hint="(required)"),
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predict(NetworkCommand):
    """Predict the class of images with a trained network.

    Without a network before the images, flagship reads them, which comes with the package. An image that the network
    is not sure of, or that looks like no digit to one trained on digits, gets a warning.
    """

    network: Annotated[
        tyro.conf.Positional[Path],
        tyro.conf.arg(metavar="[RUN|WEIGHTS|NAME]"),
    ] = Path(DEFAULT)
    """Run folder, weights file (.npz or .safetensors), or the name of a trained network that comes with the package."""
    images: ImageNames
    """Image files of any size, prepared as the training images were; of a network for digits also photographs. A folder
    stands for the image files in it, without hidden ones and subfolders, a quoted pattern such as 'photos/**/*.png'
    for those that match, and - for an image on standard input."""
    ink: Literal["auto", "light", "dark"] = "auto"
    """Brightness of the ink; auto takes the border of each image for its ground, or for data of your own the ink of the
    training images."""
    jsonl: bool = False
    """Print one JSON object per image and line as it goes, and keep none in memory."""
    many: bool = False
    """Read several digits in each image: lines, house numbers, columns of figures, rows of a form."""
    touching: bool = False
    """With --many: digits touch, so split narrower pieces too."""
    annotate: Path | None = None
    """With --many: write the image with boxes and digits to this file, or for several images into this folder."""

    def __post_init__(self) -> None:
        from jaxmnist.data.image_paths import is_image_place

        if is_image_place(self.network):
            object.__setattr__(self, "images", (self.network, *self.images))
            object.__setattr__(self, "network", Path(DEFAULT))
        super().__post_init__()

    def run(self) -> None:
        """Predicts the images and prints the predictions."""
        from jaxmnist.data.image_paths import find_image_files
        from jaxmnist.inference.predict import FileReading, UnreadableFile, predict_files, read_files
        from jaxmnist.report.plots.annotated import save_annotated
        from jaxmnist.report.terminal.predictions import print_predictions, print_readings, progress

        if not self.images:
            raise UsageError("there is nothing to predict; name image files after the network.")
        if self.json and self.jsonl:
            raise UsageError("--json prints one object and --jsonl one per image; leave out one of them.")
        if not self.many and (self.touching or self.annotate):
            raise UsageError("--touching and --annotate are for several digits in an image; add --many.")
        network = self.open_network()
        found = find_image_files(self.images)
        for name, others in found.skipped:
            files = (
                f"1 file in {name} that is no image"
                if len(others) == 1
                else f"{len(others):,} files in {name} that are no images"
            )
            print("skipped", one_line(f"{files}: {listed(others)}"), file=sys.stderr)
        # The error of a single file ends the command; those of several are printed as they come.
        is_single = len(found.files) + len(found.errors) == 1
        predictions, errors = [], list(map(str, found.errors))
        for error in errors[is_single:]:
            print(f"error: {error}", file=sys.stderr)
        # Lines of JSON on the terminal are progress enough.
        is_shown = not (self.jsonl and sys.stdout.isatty())
        if self.many:
            rows = read_files(network, found.files, self.ink, self.touching)
        else:
            rows = predict_files(network, found.files, self.ink)
        for row in progress(rows, len(found.files), is_shown):
            if isinstance(row, FileReading) and self.annotate:
                save_annotated(row, self.annotate, len(found.files))
            if self.jsonl:
                print(json_text(row.as_json()), flush=True)
            if isinstance(row, UnreadableFile):
                errors.append(row.error)
                if not is_single:
                    print(f"error: {row.error}", file=sys.stderr)
            elif not self.jsonl:
                predictions.append(row)
        if self.json:
            rows = [row.as_json() for row in predictions]
            result = self.origin() | {"arch": network.arch, "predictions": rows, "errors": errors}
            print(json_text(result))
        elif self.many and predictions:
            print_readings(self.console(), predictions)
        elif predictions:
            print_predictions(self.console(), predictions)
        if is_single and errors:
            raise DataError(errors[0])
        if unread := len(errors) - len(found.errors):
            raise DataError(f"{unread} of {len(found.files)} images could not be read, see above.")
        if errors:
            raise DataError("some of the names given have no images, see above.")
