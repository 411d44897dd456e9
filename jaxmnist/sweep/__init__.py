"""Sweeps: many trainings that differ in fields of their configuration, ranked."""

from jaxmnist.sweep.axes import Axis, parse_axes
from jaxmnist.sweep.folder import Plan, Sweep, open_sweep, read_sweep
from jaxmnist.sweep.halving import Rung, plan_rungs
from jaxmnist.sweep.loop import Shard, train_sweep, train_trials
from jaxmnist.sweep.members import Member, corner_members, grid_members, member_config, random_members
from jaxmnist.sweep.recorder import Recorder
from jaxmnist.sweep.table import MemberResult, read_results, read_table, write_table

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
