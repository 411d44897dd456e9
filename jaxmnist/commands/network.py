"""What the commands that use a trained network share: which network."""

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from jaxmnist.commands.options import Command, OptionalArch, OptionalRecipe, RunOrWeights
from jaxmnist.errors import UsageError

if TYPE_CHECKING:
    from jaxmnist.inference import Network


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
    """How a weights file's network wants images normalised; by default its own published recipe."""

    def open_network(self) -> "Network":
        """The network, on the device of `start`.

        Raises:
            CheckpointError: the run or the file is missing, damaged or of another arch.
            UsageError: an option for weights files was given with a run, or the other way round.
        """
        from jaxmnist.checkpoints import restore_run
        from jaxmnist.weights import read_weights

        if self.is_weights:
            if self.checkpoint != "best":
                raise UsageError(f"{self.network} is a weights file, not a run; leave out --checkpoint.")
            return read_weights(self.network, self.start(), self.arch, self.recipe)
        for option in ("arch", "recipe"):
            if getattr(self, option) is not None:
                raise UsageError(
                    f"{self.network} is a run, which has its own {option}; leave out --{option}."
                )
        return restore_run(self.network, self.checkpoint, self.start()).network

    @property
    def is_weights(self) -> bool:
        """Whether the network comes from a weights file, which need not be there, instead of a run."""
        return self.network.suffix == ".npz" or self.network.is_file()

    def origin(self) -> dict[str, Any]:
        """Where the network comes from, for the JSON; null is what the other kind has."""
        if self.is_weights:
            return {"run": None, "weights": str(self.network), "checkpoint": None}
        return {"run": str(self.network), "weights": None, "checkpoint": self.checkpoint}
