"""Checkpoints of a run: the latest and the best state, always both, and the one before the latest.

A state that is not what was saved is never used: the newest that is takes its place, with a warning. How a
state lies on the disk is the matter of `jaxmnist.checkpoints.states`.
"""

from jaxmnist.checkpoints.kept import FOLDER, SCHEMA, Checkpoints, Snapshot, abstract
from jaxmnist.checkpoints.restored import RestoredRun, restore_run

__all__ = ["FOLDER", "SCHEMA", "Checkpoints", "RestoredRun", "Snapshot", "abstract", "restore_run"]
