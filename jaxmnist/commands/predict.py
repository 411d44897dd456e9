"""The `predict` command."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxmnist.commands.network import NetworkCommand
from jaxmnist.errors import DataError, UsageError

ImageFiles = Annotated[
    tyro.conf.Positional[tuple[Path, ...]],
    tyro.conf.arg(metavar="IMAGE [IMAGE ...]", help_behavior_hint="(required)"),
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predict(NetworkCommand):
    """Classify image files with a trained network."""

    images: ImageFiles
    """Image files of any size; 28x28 pixels are taken as they are, others are fitted in as MNIST's were."""
    ink: Literal["auto", "light", "dark"] = "auto"
    """Whether what is drawn is light or dark; auto takes the border of each image for its ground."""

    def run(self) -> None:
        from jaxmnist.predict import predict_files
        from jaxmnist.report.evaluation import print_predictions

        if not self.images:
            raise UsageError("there is nothing to predict; name image files after the run or weights.")
        network = self.open_network()
        predictions, errors = predict_files(network, self.images, self.ink)
        for error in errors:
            print(f"error: {error}", file=sys.stderr)
        if self.json:
            result = self.origin() | {"arch": network.arch, "predictions": predictions}
            print(json.dumps(result | {"errors": list(map(str, errors))}))
        elif predictions:
            print_predictions(self.console(), predictions)
        if errors:
            raise DataError(f"{len(errors)} of {len(self.images)} images could not be read, see above.")
