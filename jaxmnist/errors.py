"""Errors a user can cause, each with the exit code its command ends with.

Every message is one sentence that names the value, the place and what to do.
"""


class JaxmnistError(Exception):
    """Base of all errors below; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(JaxmnistError):
    """Wrong option, unknown name or impossible configuration."""

    exit_code = 2


class DataError(JaxmnistError):
    """A data set or image is missing, damaged or not what it should be."""

    exit_code = 3


class CheckpointError(JaxmnistError):
    """A run folder, checkpoint or weights file is missing, damaged or of another arch."""

    exit_code = 4


class DivergedError(JaxmnistError):
    """Training produced a value that is not finite."""

    exit_code = 5


class TargetMissedError(JaxmnistError):
    """Training ended below the accuracy asked for with `--target-acc`."""

    exit_code = 6
