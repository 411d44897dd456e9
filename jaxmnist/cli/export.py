"""The `export` command."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxmnist.cli.network_options import DatasetCommand
from jaxmnist.cli.options import OptionalFolder
from jaxmnist.runtime.json_text import json_text

Formats = Annotated[
    tuple[str, ...],
    tyro.conf.arg(
        metavar="{html,onnx,stablehlo,safetensors,npz,torch} [...]",
        help_behavior_hint="(default: all but onnx)",
    ),
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export(DatasetCommand):
    """Write a trained network to files for other programs, each verified against JAX, with a model card."""

    format: Formats = ()
    """Formats: a page for the browser, ONNX (needs the extra onnx), StableHLO, the weights in two kinds of file, or the
    network as a PyTorch module with its weights (not for a class of your own)."""
    out: OptionalFolder = None
    """Folder of the files; by default export in the run folder, for weights NAME.npz export/NAME."""

    def run(self) -> None:
        """Writes the files and prints their differences from JAX."""
        from jaxmnist.inference.export import CARD, CHECKED_IMAGES, default_formats, export
        from jaxmnist.report.terminal import print_line

        network = self.open_network()
        default = Path("export", self.network.stem) if self.is_weights else self.network / "export"
        out = self.out or default
        formats = self.format or default_formats(network.arch)
        written, about = export(network, self.load_dataset(network, or_digits=True), formats, out)
        if self.json:
            files = [made._asdict() | {"file": str(made.file)} for made in written]
            result = self.origin() | {"network": about.as_json(), "files": files}
            print(json_text(result | {"model_card": str(out / CARD)}))
            return
        console = self.console()
        print_line(console, about.accuracy_text)
        print_line(
            console, f"Largest difference of a probability from JAX's, over {CHECKED_IMAGES} test images:"
        )
        width = max(len(made.format) for made in written)
        for made in written:
            difference = "not run" if made.difference is None else f"{made.difference:.1e}"
            print_line(console, f"  {made.format:<{width}}  {difference:<7}  {made.file}")
        if any(made.difference is None for made in written):
            print_line(console, "Not run, as PyTorch is not installed here: torch")
        print_line(console, f"Model card: {out / CARD}")
