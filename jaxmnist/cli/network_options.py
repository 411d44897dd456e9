"""What the commands that use a trained network share: which network."""

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from jaxmnist.cli.options import Command, OptionalArch, OptionalRecipe, RunOrWeights

if TYPE_CHECKING:
    from jaxmnist.train.network import Network


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkCommand(Command):
    """Options of the commands that use a trained network."""

    network: RunOrWeights
    """Folder that train made, or file of weights: the arrays of a PyTorch state_dict, saved by NumPy."""
    checkpoint: Literal["best", "latest"] = "best"
    """Which of a run's two checkpoints."""
    arch: OptionalArch = None
    """Network of a weights file; by default the one whose names and shapes the file has."""
    recipe: OptionalRecipe = None
    """How a weights file's network wants images normalised; by default its own."""

    def open_network(self) -> "Network":
        """The network, on the device of `start`.

        Raises:
            CheckpointError: the run or the file is missing, damaged or of another arch.
            UsageError: an option for weights files was given with a run, or the other way round.
        """
        from jaxmnist.inference.classifier import open_network

        return open_network(self.network, self.start(), self.checkpoint, self.arch, self.recipe)

    @property
    def is_weights(self) -> bool:
        """Whether the network comes from a weights file, which need not be there, instead of a run."""
        from jaxmnist.inference.classifier import is_weights

        return is_weights(self.network)

    def origin(self) -> dict[str, Any]:
        """Where the network comes from, for the JSON; null is what the other kind has."""
        if self.is_weights:
            return {"run": None, "weights": str(self.network), "checkpoint": None}
        return {"run": str(self.network), "weights": None, "checkpoint": self.checkpoint}
