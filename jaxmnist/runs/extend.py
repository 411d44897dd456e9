"""More epochs for a run than it began with."""

import dataclasses
from pathlib import Path

from jaxmnist.config.changes import modified
from jaxmnist.config.run import RunConfig
from jaxmnist.errors import UsageError, writing
from jaxmnist.runs.folder import CONFIG, RESULTS, naming_damage, read_config, write_config
from jaxmnist.runs.stopping import NO_LIMITS, StopRule, course_over_length
from jaxmnist.runtime.files import locked
from jaxmnist.runtime.reading import read_json


def extended(run: Path, epochs: int | None, stop_rule: StopRule = NO_LIMITS) -> RunConfig:
    """Returns the configuration of a run to resume, with another number of epochs if one is given.

    The run then trains as one that began with that number: nothing else depends on it.

    Args:
        run: the run folder.
        epochs: the number of epochs; None leaves it as it is.
        stop_rule: limits of the session that resumes it.

    Raises:
        CheckpointError: the folder is not a run, or is damaged.
        UsageError: there would be fewer epochs, the recipe has a course over all epochs, the rule does not go with it,
            or the folder cannot be written or is in use.
    """
    config = read_config(run)
    recipe = config.recipe
    stop_rule.require_fitting(config, is_resumed=True)
    if epochs in (None, recipe.epochs):
        return config
    if epochs < recipe.epochs:
        raise UsageError(
            f"--epochs {epochs} is below the {recipe.epochs} of {run}; give a higher number, or end the training early "
            "with --patience or --max-seconds."
        )
    if (course := course_over_length(recipe)) is not None:
        raise UsageError(
            f"--epochs {epochs} does not go with the {course}, which ends with epoch {recipe.epochs}; begin a new run "
            f"with --init-from {run} --epochs {epochs - recipe.epochs}."
        )
    config = dataclasses.replace(
        config,
        recipe=modified(recipe, epochs=epochs),
        extended_from=config.extended_from or recipe.epochs,
    )
    with naming_damage(run / CONFIG):
        environment = read_json(run / CONFIG)["environment"]
    with locked(run), writing(run, "make it writable"):
        # The results first: without them the run is complete until its configuration says more.
        (run / RESULTS).unlink(missing_ok=True)
        write_config(run / CONFIG, config, environment)
    return config
