"""The `doctor` command."""

import dataclasses
from pathlib import Path
from typing import Any

from jaxmnist.cli.options import Command, OptionalArch
from jaxmnist.errors import SelfCheckError, UsageError, unknown_name
from jaxmnist.runtime.json_text import json_text


@dataclasses.dataclass(frozen=True)
class Doctor(Command):
    """Check this machine: versions, devices, folders, data, and the numbers of the networks.

    A training step and a prediction of every network are compared with numbers that PyTorch computed in double
    precision. If they differ, a remedy is searched for. Nothing is downloaded. The exit code is 1 if any number is
    wrong.
    """

    quick: bool = False
    """Check three networks, which between them have every kind of layer."""
    arch: OptionalArch = None
    """Check only this network, one of the package's."""
    runs: Path = Path("runs")
    """Folder of runs."""

    def run(self) -> None:
        """Runs the command."""
        from jaxmnist.diagnostics.doctor import survey
        from jaxmnist.diagnostics.doctor.numerics import check
        from jaxmnist.diagnostics.doctor.remedies import find_remedy
        from jaxmnist.report.terminal import doctor as report
        from jaxmnist.report.terminal import print_line

        archs, console = self._archs(), self.console()
        device = self.start()
        facts: dict[str, Any] = {
            "versions": survey.versions(),
            "machine": survey.machine(device),
            "folders": survey.folders(self.runs),
            "data": survey.data(),
        }
        notes = survey.notes(facts)
        report.print_survey(console, facts, notes)
        several = archs[0] if len(archs) == 1 else f"{len(archs)} networks, some seconds each"
        console.print()
        print_line(console, f"Largest differences from PyTorch's numbers in double precision ({several})")
        checks = []
        for arch in archs:
            checks.append(check(arch, device).as_json())
            report.print_check(console, checks[-1])
        wrong = tuple(row["arch"] for row in checks if not row["passed"])
        remedy = None
        if wrong:
            console.print()
            print_line(console, "Searching for a remedy, each attempt in a process of its own ...")
            remedy = find_remedy(device, wrong)
        if self.json:
            result = facts | {"notes": notes, "checks": checks, "passed": not wrong}
            print(json_text(result | {"remedy": remedy.advice if remedy else None}))
        if wrong:
            outcome = f"it is fixed by {remedy.advice}" if remedy else report.NO_REMEDY
            raise SelfCheckError(
                f"{len(wrong)} of {len(archs)} networks compute wrong numbers on {facts['machine']['device']} "
                f"({', '.join(wrong)}); {outcome}."
            )
        report.print_passed(console, checks)

    def _archs(self) -> tuple[str, ...]:
        from jaxmnist.diagnostics.doctor import QUICK, reference
        from jaxmnist.models import ARCHS, is_custom

        known = reference.archs()
        if self.arch is None:
            return QUICK if self.quick else known
        if self.quick:
            raise UsageError(f"--quick has its own networks; leave it out, or --arch {self.arch}.")
        if self.arch not in known:
            if self.arch in ARCHS or is_custom(self.arch):
                raise UsageError(
                    f"doctor has no reference numbers for --arch {self.arch}; choose one of {', '.join(known)}."
                )
            raise unknown_name("arch", self.arch, known)
        return (self.arch,)
