"""The `summary` command."""

import dataclasses
import json
from typing import Annotated, Literal

import tyro

from jaxmnist.cli.options import Arch, Command, Device
from jaxmnist.errors import UsageError

OptionalNorm = Annotated[
    Literal["batch", "layer", "group"] | None,
    tyro.conf.arg(metavar="{batch,layer,group}", help_behavior_hint=""),
]


@dataclasses.dataclass(frozen=True)
class Summary(Command):
    """List a network's layers and what they cost; nothing is computed."""

    arch: Arch = "third"
    """Network."""
    norm: OptionalNorm = None
    """Normalisation instead of the network's own; evolution_v2 and evolution_v3 have the choice."""
    budget: int = 8_000
    """Parameters that the network should not exceed."""
    device: tyro.conf.Suppress[Device] = "auto"  # none is started
    no_compile_cache: tyro.conf.Suppress[bool] = True  # nothing is compiled

    def run(self) -> None:
        from jaxmnist.models import create_model
        from jaxmnist.models.structure import layers, totals
        from jaxmnist.report.terminal.summary import print_summary

        if self.budget < 1:
            raise UsageError(f"--budget {self.budget} is no number of parameters; it must be above 0.")
        network = layers(create_model(self.arch, **({"norm": self.norm} if self.norm else {})))
        sums = totals(network)
        if self.json:
            result = {
                "arch": self.arch,
                "norm": self.norm,
                "layers": [layer._asdict() for layer in network],
                "totals": sums._asdict(),
                "budget": self.budget,
                "budget_percent": 100 * sums.parameters / self.budget,
            }
            print(json.dumps(result))
        else:
            name = f"{self.arch} with {self.norm} normalisation" if self.norm else self.arch
            print_summary(self.console(), name, network, sums, self.budget)
