"""The `summary` command."""

import dataclasses
from typing import Annotated, Literal

import tyro

from jaxmnist.cli.options import Arch, Command, Device
from jaxmnist.errors import UsageError
from jaxmnist.runtime.json_text import json_text

OptionalNorm = Annotated[
    Literal["batch", "layer", "group"] | None,
    tyro.conf.arg(metavar="{batch,layer,group}", help_behavior_hint=""),
]


@dataclasses.dataclass(frozen=True)
class Summary(Command):
    """List a network's layers and their costs; nothing is computed."""

    arch: Arch = "third"
    """Network."""
    norm: OptionalNorm = None
    """Normalisation in place of the network's own, for evolution_v2 and evolution_v3."""
    budget: int = 8_000
    """Largest number of parameters wanted."""
    device: tyro.conf.Suppress[Device] = "auto"  # none is started
    no_compile_cache: tyro.conf.Suppress[bool] = True  # nothing is compiled

    def run(self) -> None:
        """Runs the command."""
        from jaxmnist.models import arch_title, create_model
        from jaxmnist.models.structure import layers, totals
        from jaxmnist.report.terminal.summary import print_summary

        if self.budget < 1:
            raise UsageError(f"--budget {self.budget} is out of range; give at least 1 parameter.")
        model = create_model(self.arch, **({"norm": self.norm} if self.norm else {}))
        network, sums = layers(model, operations=True), totals(layers(model))
        if self.json:
            result = {
                "arch": self.arch,
                "norm": self.norm,
                "layers": [layer._asdict() for layer in network],
                "totals": sums._asdict(),
                "budget": self.budget,
                "budget_percent": 100 * sums.parameters / self.budget,
            }
            print(json_text(result))
        else:
            name = arch_title(self.arch) + (f" with {self.norm} normalisation" if self.norm else "")
            print_summary(self.console(), name, network, sums, self.budget)
