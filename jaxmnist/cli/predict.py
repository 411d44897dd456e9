"""The `predict` command."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxmnist.cli.network_options import NetworkCommand
from jaxmnist.errors import DataError, UsageError

ImageNames = Annotated[
    tyro.conf.Positional[tuple[str | Path, ...]],
    tyro.conf.arg(metavar="IMAGE [IMAGE ...]", help_behavior_hint="(required)"),
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predict(NetworkCommand):
    """Classify images with a trained network.

    A warning is given of an image that looks like no digit, or that the network is not sure of.
    """

    images: ImageNames
    """Image files of any size; 28x28 pixels are taken as they are, others are fitted in as MNIST's were. A folder
    stands for the image files in it, without hidden ones and subfolders, a quoted pattern such as
    'photos/**/*.png' for those that match, and - for an image on standard input."""
    ink: Literal["auto", "light", "dark"] = "auto"
    """Whether what is drawn is light or dark; auto takes the border of each image for its ground."""
    jsonl: bool = False
    """Print a JSON object per image as it goes, in a line each, and keep none in memory."""

    def run(self) -> None:
        from jaxmnist.data.image_paths import find_image_files
        from jaxmnist.inference.predict import predict_files
        from jaxmnist.report.terminal.predictions import print_predictions, progress

        if not self.images:
            raise UsageError("there is nothing to predict; name image files after the run or weights.")
        if self.json and self.jsonl:
            raise UsageError("--json prints one object and --jsonl one per image; leave out one of them.")
        network = self.open_network()
        found = find_image_files(self.images)
        for name, count in found.skipped:
            what = (
                "1 file in {} that is no image"
                if count == 1
                else f"{count:,} files in {{}} that are no images"
            )
            print("skipped", what.format(name), file=sys.stderr)
        errors = list(map(str, found.errors))
        # The only one is what the command ends with.
        is_one = len(found.files) + len(errors) == 1
        for error in errors[is_one:]:
            print(f"error: {error}", file=sys.stderr)
        # Lines that come as it goes are progress enough.
        is_shown = not (self.jsonl and sys.stdout.isatty())
        predictions, unread = [], []
        for row in progress(predict_files(network, found.files, self.ink), len(found.files), is_shown):
            if self.jsonl:
                print(json.dumps(row), flush=True)
            if "error" in row:
                unread.append(row["error"])
                if not is_one:
                    print(f"error: {row['error']}", file=sys.stderr)
            elif not self.jsonl:
                predictions.append(row)
        if self.json:
            result = self.origin() | {"arch": network.arch, "predictions": predictions}
            print(json.dumps(result | {"errors": errors + unread}))
        elif predictions:
            print_predictions(self.console(), predictions)
        if is_one and errors + unread:
            raise DataError((errors + unread)[0])
        if unread:
            raise DataError(f"{len(unread)} of {len(found.files)} images could not be read, see above.")
        if errors:
            raise DataError("not everything that was named has images, see above.")
