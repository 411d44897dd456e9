"""Options that the commands for a trained network share: the network, and the data to evaluate it on."""

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from jaxmnist.cli.options import (
    Command,
    OptionalArch,
    OptionalDataset,
    OptionalFolder,
    OptionalRecipe,
    RunOrWeights,
)
from jaxmnist.pretrained import locate

if TYPE_CHECKING:
    from jaxmnist.data import Dataset
    from jaxmnist.train.network import Network


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkCommand(Command):
    """Options of the commands that use a trained network."""

    network: RunOrWeights
    """Run folder; or weights file: the arrays of a PyTorch state_dict, as .npz or .safetensors; or the name of a
    trained network that comes with the package, such as flagship."""
    checkpoint: Literal["best", "latest"] = "best"
    """Checkpoint of the run."""
    arch: OptionalArch = None
    """Network of a weights file, by default the one whose names and shapes the file has; or the class of a run's own
    network, if it has moved."""
    recipe: OptionalRecipe = None
    """Recipe for the normalisation of a weights file's images; by default the network's own."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "network", locate(self.network))

    def open_network(self) -> "Network":
        """Opens the network on the device; errors are those of `jaxmnist.load`."""
        from jaxmnist.inference.opening import open_network

        return open_network(self.network, self.start(), self.checkpoint, self.arch, self.recipe)

    @property
    def is_weights(self) -> bool:
        """True if the network comes from a weights file, which need not exist, instead of a run."""
        from jaxmnist.runs.weights import is_weights

        return is_weights(self.network)

    def origin(self) -> dict[str, Any]:
        """Returns the origin of the network for the JSON: run and checkpoint, or weights file; the others are null."""
        if self.is_weights:
            return {"run": None, "weights": str(self.network), "checkpoint": None}
        return {"run": str(self.network), "weights": None, "checkpoint": self.checkpoint}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetCommand(NetworkCommand):
    """Options of the commands that evaluate a trained network."""

    dataset: OptionalDataset = None
    """Dataset to evaluate on, by name or PATH; by default that which the network was trained on."""
    data_dir: OptionalFolder = None
    """Folder with the four IDX files (plain or .gz), or with a subfolder named after the dataset."""

    def load_dataset(self, network: "Network", or_digits: bool = False, download: bool = True) -> "Dataset":
        """Loads the dataset; errors are those of `jaxmnist.inference.opening.dataset_of`.

        Args:
            network: the network.
            or_digits: if MNIST is the default and not available, say so and load the digits.
            download: False keeps off the network.
        """
        from jaxmnist.data import DataUnavailableError, load_dataset
        from jaxmnist.inference.opening import dataset_of
        from jaxmnist.report.terminal import print_line

        try:
            return dataset_of(network, self.network, self.dataset, self.data_dir, download)
        except DataUnavailableError as error:
            is_default = self.dataset is None and network.data_info.dataset == "mnist"
            if not (or_digits and is_default):
                raise
            message = "The network is evaluated on the digits embedded in scikit-learn, not on MNIST"
            reason = str(error) if download else "it is not on this machine, and training downloads it."
            print_line(self.console(), f"{message}: {reason}")
            return load_dataset("digits")
