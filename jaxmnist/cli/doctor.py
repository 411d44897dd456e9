"""The `doctor` command."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from jaxmnist.cli.options import Command, OptionalArch
from jaxmnist.errors import SelfCheckError, UsageError, shortened, unknown_name


@dataclasses.dataclass(frozen=True)
class Doctor(Command):
    """Look at this machine: versions, devices, folders, data, and whether the networks' numbers are right.

    A training step and a prediction of every network are compared with numbers that PyTorch computed in double
    precision. Where they differ, it looks for what mends it. Nothing is downloaded. The exit code is 1 if any number
    is wrong.
    """

    quick: bool = False
    """Check three networks, which have every kind of layer between them."""
    arch: OptionalArch = None
    """Check this network only."""
    runs: Path = Path("runs")
    """Folder that runs would go to."""

    def run(self) -> None:
        from jaxmnist.diagnostics.doctor import survey
        from jaxmnist.diagnostics.doctor.remedies import find_remedy
        from jaxmnist.report.terminal import doctor as report

        archs, console = self._archs(), self.console()
        device = self.start()
        facts: dict[str, Any] = {"versions": survey.versions(), "machine": survey.machine(device)}
        facts |= {"folders": survey.folders(self.runs), "data": survey.data()}
        notes = survey.notes(facts)
        report.print_survey(console, facts, notes)
        report.print_check_heading(console, archs)
        checks = []
        for arch in archs:
            checks.append(_check(arch, device))
            report.print_check(console, checks[-1])
        wrong = tuple(row["arch"] for row in checks if not row["passed"])
        if wrong:
            report.print_search(console)
        remedy = find_remedy(device, wrong) if wrong else None
        if self.json:
            result = facts | {"notes": notes, "checks": checks, "passed": not wrong}
            print(json.dumps(result | {"remedy": remedy.advice if remedy else None}))
        if wrong:
            mended = f"it is mended by {remedy.advice}" if remedy else report.NO_REMEDY
            where = f"on {facts['machine']['device']} ({', '.join(wrong)})"
            raise SelfCheckError(
                f"{len(wrong)} of {len(archs)} networks compute wrong numbers {where}; {mended}."
            )
        report.print_passed(console, checks)

    def _archs(self) -> tuple[str, ...]:
        from jaxmnist.diagnostics.doctor import QUICK
        from jaxmnist.models import ARCHS

        if self.arch is None:
            return QUICK if self.quick else ARCHS
        if self.quick:
            raise UsageError(f"--quick has its own networks; leave it out, or --arch {self.arch}.")
        if self.arch not in ARCHS:
            raise unknown_name("arch", self.arch, ARCHS)
        return (self.arch,)


def _check(arch: str, device: Any) -> dict[str, Any]:
    """A network's check, as in the JSON: an error that is not finite is null; `failure` is why there are none."""
    from jaxmnist.diagnostics.doctor.numerics import TOLERANCES, check

    began = time.perf_counter()
    row: dict[str, Any] = {"arch": arch, "passed": False, "errors": {}, "worst": None, "failure": None}
    try:
        found = check(arch, device)
        errors = {kind: error if error < float("inf") else None for kind, error in found.errors.items()}
        row |= {"passed": found.passed, "errors": errors, "worst": found.worst}
    # XLA's own errors, and what a setting of JAX makes of types that then do not fit.
    except (RuntimeError, TypeError, ValueError) as error:
        row["failure"] = shortened(str(error).strip().split("\n")[0])
    tolerances = {kind: TOLERANCES[kind] for kind in row["errors"]}
    return row | {"tolerances": tolerances, "seconds": round(time.perf_counter() - began, 3)}
