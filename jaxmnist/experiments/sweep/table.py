"""The table of a sweep's members: `results.jsonl` and `summary.json`."""

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxmnist.experiments.statistics import summarise
from jaxmnist.experiments.study.folder import (
    SEEDS,
    SUMMARY,
    SeedResult,
    read_divergences,
    read_seeds,
)
from jaxmnist.experiments.sweep.folder import Sweep, begun_study
from jaxmnist.experiments.sweep.members import Member
from jaxmnist.runs.folder import write_json
from jaxmnist.runtime.files import write_atomically
from jaxmnist.runtime.json_text import json_text


@dataclasses.dataclass(frozen=True)
class MemberResult:
    """Results of a member on the last rung that it has reached."""

    member: Member
    rung: int
    epochs: int
    study: Path
    seeds: tuple[SeedResult, ...]
    diverged: tuple[int, ...]

    @property
    def score(self) -> float | None:
        """Mean accuracy of the last epoch over the seeds, in percent.

        None if a seed diverged: a mean over the others would flatter the member.
        """
        if self.diverged or not self.seeds:
            return None
        return statistics.fmean(seed.last for seed in self.seeds)

    @property
    def order(self) -> tuple[int, float, int]:
        """Sort key of the ranking: a later rung, then a higher score, then a lower number comes first."""
        return -self.rung, -(-1.0 if self.score is None else self.score), self.member.number


def read_member(sweep: Sweep, member: Member, rung: int = 0) -> MemberResult | None:
    """Reads the results of a member on a rung; None if none of its seeds is finished.

    Raises:
        CheckpointError: files are damaged.
    """
    study = begun_study(sweep, member, rung)
    if study is None:
        return None
    seeds, diverged = read_seeds(study), read_divergences(study)
    if not seeds and not diverged:
        return None
    return MemberResult(member, rung, study.config.recipe.epochs, study.folder, tuple(seeds), tuple(diverged))


def read_results(sweep: Sweep) -> list[MemberResult]:
    """Reads the members with a finished seed, each on the last rung that it has reached, in ranking order.

    Raises:
        CheckpointError: files are damaged.
    """
    found: dict[int, MemberResult] = {}
    for rung in range(max(1, len(sweep.rungs))):
        for member in sweep.members:
            if (result := read_member(sweep, member, rung)) is not None:
                found[member.number] = result
    return sorted(found.values(), key=lambda result: result.order)


def write_table(sweep: Sweep, results: Sequence[MemberResult]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Writes `summary.json` and `results.jsonl`.

    Args:
        sweep: the sweep.
        results: results in ranking order.

    Returns:
        The contents of the two files.

    Raises:
        OSError: a file cannot be written.
    """
    rows = [_row(sweep, rank, result) for rank, result in enumerate(results, 1)]
    write_atomically(sweep.folder / SEEDS, "".join(json_text(row) + "\n" for row in rows))
    plan, scored = sweep.plan, [row for row in rows if row["last_epoch"] is not None]
    figures = {
        "method": plan.method,
        "over": list(plan.over),
        "sweep_seed": None if plan.method == "grid" else plan.sweep_seed,
        "halving": plan.halving or None,
        "rungs": [rung._asdict() for rung in sweep.rungs],
        "dataset": sweep.base.dataset,
        "select_on": sweep.base.select_on,
        "split": sweep.split,
        "seeds": plan.seeds,
        "members": len(sweep.members),
        "members_begun": len(rows),
        "diverged": [row["member"] for row in rows if row["diverged"]],
        "best": scored[0] if scored else None,
    }
    write_json(sweep.folder / SUMMARY, figures)
    return figures, rows


def _row(sweep: Sweep, rank: int, result: MemberResult) -> dict[str, Any]:
    def summary(values: Sequence[float]) -> dict[str, Any] | None:
        return dataclasses.asdict(summarise(values)) if result.score is not None else None

    return {
        "rank": rank,
        "member": result.member.name,
        "number": result.member.number,
        "values": dict(result.member.values),
        "rung": result.rung + 1 if sweep.rungs else None,
        "epochs": result.epochs,
        "study": str(result.study.relative_to(sweep.folder)),
        "parameters": result.seeds[0].parameters if result.seeds else None,
        "seeds": [seed.seed for seed in result.seeds],
        "diverged": list(result.diverged),
        "last_epoch": summary([seed.last for seed in result.seeds]),
        "last_five_mean": summary([seed.last_five for seed in result.seeds]),
        "seconds": round(sum(seed.seconds for seed in result.seeds), 3),
    }
