"""The sweep folder: its files, and opening a sweep.

sweep.json      the axes and the method, the configurations that members start from, the members, the environment
<member>/       a study for each member, with a run s<seed>/ for each of its seeds
rung<N>/        with halving, the members' studies of a rung
results.jsonl   a line per member, the best first
summary.json    the sweep in a few figures, and its best member
plots/          a picture of the members
optuna.jsonl    Optuna's journal, if it chose the members
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jaxmnist.config.run import RunConfig
from jaxmnist.config.seal import first_difference, opened, sealed
from jaxmnist.errors import CheckpointError, UsageError, writing
from jaxmnist.experiments.strays import warn_of_strays
from jaxmnist.experiments.study.folder import REMEDY, STUDY, Study, open_study, own_folders, read_study
from jaxmnist.experiments.sweep.axes import Axis, parse_axes
from jaxmnist.experiments.sweep.halving import Rung
from jaxmnist.experiments.sweep.members import Member, member_config
from jaxmnist.runs.folder import config_of, naming_damage, write_json
from jaxmnist.runtime.reading import MAX_ROWS_BYTES, read_json

SWEEP = "sweep.json"


@dataclasses.dataclass(frozen=True)
class Plan:
    """The choice of a sweep's members, and the seeds that each is trained with."""

    over: tuple[str, ...]
    """The axes, as given to --over."""
    method: Literal["grid", "random", "optuna"]
    count: int
    """Number of members, or of Optuna's trials."""
    seeds: int
    first_seed: int = 1
    sweep_seed: int = 0
    """Seed of the choice of members, except in a grid."""
    halving: int = 0
    """Factor by which the number of members falls from rung to rung; 0 for no halving."""

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The parsed axes."""
        return parse_axes(self.over)

    @property
    def seed_numbers(self) -> range:
        """The seeds of each member."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def fixed(self) -> dict[str, Any]:
        """Fields that must not change when a sweep is resumed, as members or promotions depend on them."""
        values = {**dataclasses.asdict(self), "over": list(self.over)}
        if not self.halving:
            del values["count"]
            if self.method != "optuna":
                del values["seeds"]
        return values


class Sweep(NamedTuple):
    """A sweep's folder and the contents of its `sweep.json`."""

    folder: Path
    plan: Plan
    bases: Mapping[str, RunConfig]
    """Configuration that members start from, for each arch."""
    members: list[Member]
    rungs: list[Rung]
    environment: Mapping[str, Any]

    @property
    def base(self) -> RunConfig:
        """First of the configurations; all have the same data and selection."""
        return next(iter(self.bases.values()))

    @property
    def split(self) -> str:
        """Split that members are ranked on."""
        return Study(self.folder, self.base).split

    def place(self, member: Member, rung: int = 0) -> Path:
        """Returns the folder of a member's study."""
        return self.folder / self.rungs[rung].name / member.name if self.rungs else self.folder / member.name

    def config(self, member: Member, rung: int = 0) -> RunConfig:
        """Returns the configuration of a member."""
        return member_config(member, self.bases, self.rungs[rung].epochs if self.rungs else None)

    def study(self, member: Member, rung: int = 0) -> Study:
        """Opens the study of a member, or begins it."""
        return open_study(self.place(member, rung), self.config(member, rung), self.environment)


def open_sweep(
    folder: Path,
    plan: Plan,
    bases: Mapping[str, RunConfig],
    members: Sequence[Member],
    rungs: Sequence[Rung],
    environment: Mapping[str, Any],
) -> Sweep:
    """Opens the sweep in a folder, to which this may add members and seeds, or begins one.

    Raises:
        UsageError: the folder cannot be written, or holds another sweep; the message names the difference.
        CheckpointError: the sweep is damaged.
    """
    sweep = Sweep(folder, plan, dict(bases), list(members), list(rungs), dict(environment))
    if (folder / SWEEP).is_file():
        present = read_sweep(folder)
        pairs = [(present.plan.fixed, plan.fixed), (_plain(present.bases), _plain(bases))]
        if difference := next(filter(None, (first_difference(*pair) for pair in pairs)), ""):
            raise UsageError(f"{folder} is another sweep: {difference}; name another --out.")
        known = {member.number: member for member in present.members}
        if any(known.get(member.number, member) != member for member in members):
            raise UsageError(f"{folder} has other members than this version draws; name another --out.")
        # With a smaller count, the members beyond it stay.
        merged = known | {member.number: member for member in members}
        sweep = sweep._replace(members=[merged[number] for number in sorted(merged)])
    with writing(f"the sweep folder {folder}", "name another --out"):
        folder.mkdir(parents=True, exist_ok=True)
        write_sweep(sweep)
    return sweep


def write_sweep(sweep: Sweep) -> None:
    """Writes `sweep.json`.

    Raises:
        OSError: the file cannot be written.
    """
    values = {
        "plan": dataclasses.asdict(sweep.plan),
        "bases": _plain(sweep.bases),
        "members": [member._asdict() for member in sweep.members],
        "rungs": [rung._asdict() for rung in sweep.rungs],
        "environment": dict(sweep.environment),
    }
    write_json(sweep.folder / SWEEP, sealed(values))


def read_sweep(folder: Path) -> Sweep:
    """Reads the sweep in a folder.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    path = folder / SWEEP
    if not path.is_file():
        raise CheckpointError(f"{folder} is not a sweep: it has no {SWEEP}; give a folder that sweep made.")
    with naming_damage(path, REMEDY):
        values = opened(read_json(path, MAX_ROWS_BYTES))
        plan = Plan(**values["plan"] | {"over": tuple(values["plan"]["over"])})
        bases = {arch: config_of(config) for arch, config in values["bases"].items()}
        members = [Member(int(one["number"]), dict(one["values"])) for one in values["members"]]
        rungs = [Rung(**rung) for rung in values["rungs"]]
        return Sweep(folder, plan, bases, members, rungs, values["environment"])


def begun_study(sweep: Sweep, member: Member, rung: int = 0) -> Study | None:
    """Returns the study of a member; None if it is not begun, or the folder holds another study.

    Raises:
        CheckpointError: the study is damaged.
    """
    place = sweep.place(member, rung)
    if not (place / STUDY).is_file():
        return None
    study, wanted = read_study(place), dataclasses.replace(sweep.config(member, rung), seed=0)
    return study if study.config == wanted else None


def warn_of_strays_in(sweep: Sweep) -> None:
    """Warns of folders in a sweep, and in the studies of its members, that are not its own.

    Raises:
        CheckpointError: a study is damaged.
    """
    for rung in range(max(1, len(sweep.rungs))):
        own = []
        for member in sweep.members:
            place, study = sweep.place(member, rung), begun_study(sweep, member, rung)
            if study is not None:
                warn_of_strays(place, own_folders(study))
            if study is not None or not (place / STUDY).is_file():
                own.append(place.name)
        names = own if not sweep.rungs else [one.name for one in sweep.rungs]
        if rung == 0:
            warn_of_strays(sweep.folder, names)
        if sweep.rungs and (sweep.folder / sweep.rungs[rung].name).is_dir():
            warn_of_strays(sweep.folder / sweep.rungs[rung].name, own)


def _plain(bases: Mapping[str, RunConfig]) -> dict[str, Any]:
    return {arch: dataclasses.asdict(dataclasses.replace(config, seed=0)) for arch, config in bases.items()}
