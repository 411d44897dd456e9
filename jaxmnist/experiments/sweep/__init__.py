"""Sweeps: many trainings that differ in fields of their configuration, ranked."""

from jaxmnist.experiments.sweep.axes import Axis, parse_axes
from jaxmnist.experiments.sweep.folder import Plan, Sweep, open_sweep, read_sweep
from jaxmnist.experiments.sweep.halving import Rung, plan_rungs
from jaxmnist.experiments.sweep.loop import Shard, train_sweep, train_trials
from jaxmnist.experiments.sweep.members import (
    Member,
    corner_members,
    grid_members,
    member_config,
    random_members,
)
from jaxmnist.experiments.sweep.recorder import Recorder
from jaxmnist.experiments.sweep.table import MemberResult, read_results, read_table, write_table

__all__ = [
    "Axis",
    "Member",
    "MemberResult",
    "Plan",
    "Recorder",
    "Rung",
    "Shard",
    "Sweep",
    "corner_members",
    "grid_members",
    "member_config",
    "open_sweep",
    "parse_axes",
    "plan_rungs",
    "random_members",
    "read_results",
    "read_sweep",
    "read_table",
    "train_sweep",
    "train_trials",
    "write_table",
]
