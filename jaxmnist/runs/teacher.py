"""Opening the teacher that a recipe names."""

import functools
from pathlib import Path

import jax

from jaxmnist.config.run import RunConfig
from jaxmnist.data.dataset import dataset_title
from jaxmnist.errors import CheckpointError, UsageError
from jaxmnist.runs.folder import RESULTS
from jaxmnist.runs.restore import restore_run
from jaxmnist.train.loss import Teacher


def open_teacher(config: RunConfig) -> Teacher | None:
    """Opens the teacher of a run; returns None if its recipe has none.

    Runs of one process with the same teacher share one object, and with it the compiled programs.

    Raises:
        CheckpointError: the teacher's run is missing, incomplete or damaged.
        UsageError: the teacher was trained on other data, or has seen images that judge this run.
    """
    if config.recipe.distillation is None:
        return None
    run = Path(config.recipe.distillation.teacher)
    if not (run / RESULTS).is_file():
        raise CheckpointError(
            f"the teacher {run} is not the folder of a complete run; train it or correct distillation.teacher."
        )
    teacher, its = _open(run, (run / RESULTS).stat().st_mtime_ns)
    if its.data_fingerprint != config.data_fingerprint:
        raise UsageError(
            f"the teacher {run} was trained on other data ({dataset_title(its.dataset)}); name one trained on "
            f"{dataset_title(config.dataset)}."
        )
    require_unseen(f"the teacher {run}", its, config)
    return teacher


def require_unseen(title: str, its: RunConfig, config: RunConfig) -> None:
    """Checks that a network has not seen images of its own dataset that judge another run on it.

    A network that was trained on held-out images, or chosen by the test images, passes its knowledge of them on.

    Raises:
        UsageError: it has seen some.
    """
    if its.select_on != config.select_on and its.select_on != "val" and config.select_on != "test":
        raise UsageError(
            f"{title} was trained with --select-on {its.select_on}, so it has seen images that judge a run with "
            f"--select-on {config.select_on}; train it with --select-on {config.select_on}."
        )
    if its.select_on == config.select_on == "val" and its.held_out != config.held_out:
        raise UsageError(
            f"{title} has seen images that are held out here; train it with the same --folds and a seed that holds out "
            "the same images."
        )


@functools.lru_cache(maxsize=4)
def _open(run: Path, changed: int) -> tuple[Teacher, RunConfig]:
    network = restore_run(run, "best", jax.local_devices()[0])
    assert network.config is not None  # it comes from a run
    return Teacher(network.model, jax.device_get(network.variables), network.recipe), network.config
