"""The `export` command."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from jaxmnist.cli.network_options import NetworkCommand
from jaxmnist.cli.options import OptionalDataset, OptionalFolder

if TYPE_CHECKING:
    from jaxmnist.data import Dataset
    from jaxmnist.train.network import Network

Formats = Annotated[tuple[str, ...], tyro.conf.arg(metavar="{html,onnx,stablehlo,safetensors,npz} [...]")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportCommand(NetworkCommand):
    """Options of the commands that write a network to files."""

    dataset: OptionalDataset = None
    """What the network is evaluated on; by default the run's data, for weights mnist, or the embedded digits."""
    data_dir: OptionalFolder = None
    """Folder with the four IDX files (plain or .gz), or with a subfolder named after the dataset."""

    def load_dataset(self, network: "Network") -> "Dataset":
        """The dataset that is meant; without a name the embedded digits where MNIST is nowhere, which is said."""
        from jaxmnist.data import DataUnavailableError, load_dataset
        from jaxmnist.runs.folder import require_data_of_run

        config = network.config
        name = self.dataset or (config.dataset if config else "mnist")
        try:
            dataset = load_dataset(name, self.data_dir)
        except DataUnavailableError as error:
            if self.dataset is not None or name != "mnist":
                raise
            line = f"The network is evaluated on the digits embedded in scikit-learn, not on MNIST: {error}"
            self.console().print(line, style="yellow", soft_wrap=True, highlight=False, markup=False)
            return load_dataset("digits")
        if self.dataset is None and config is not None:
            require_data_of_run(config, dataset, self.network)
        return dataset


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export(ExportCommand):
    """Write a trained network to files for other programs, each verified against JAX, with a model card."""

    format: Formats = ("html", "stablehlo", "safetensors", "npz")
    """What to write: a page for the browser, ONNX (needs the extra onnx), StableHLO, or PyTorch's weights."""
    out: OptionalFolder = None
    """Folder of the files; by default export in the run folder, for weights NAME.npz export/NAME."""

    def run(self) -> None:
        from jaxmnist.errors import unknown_name
        from jaxmnist.inference.export import CARD, CHECKED_IMAGES, FORMATS, export

        for name in self.format:
            if name not in FORMATS:
                raise unknown_name("format", name, FORMATS)
        network = self.open_network()
        default = Path("export", self.network.stem) if self.is_weights else self.network / "export"
        out = self.out or default
        written, about = export(network, self.load_dataset(network), self.format, out)
        if self.json:
            files = [made._asdict() | {"file": str(made.file)} for made in written]
            result: dict[str, Any] = self.origin() | {"network": about.as_json(), "files": files}
            print(json.dumps(result | {"model_card": str(out / CARD)}))
            return
        console = self.console()

        def line(text: str) -> None:
            console.print(text, soft_wrap=True, highlight=False, markup=False)

        line(about.accuracy_text)
        line(f"Largest difference of a probability from JAX's, over {CHECKED_IMAGES} test images:")
        width = max(len(made.format) for made in written)
        for made in written:
            line(f"  {made.format:<{width}}  {made.difference:.1e}  {made.file}")
        line(f"Model card: {out / CARD}")
