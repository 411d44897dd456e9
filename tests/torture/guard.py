"""Values that are not finite: steps are skipped and counted; ten in a row end the run; the last good state is kept."""

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxmnist import train
from jaxmnist.errors import DivergedError
from jaxmnist.runs.folder import read_metrics
from jaxmnist.train import chunk, jit
from jaxmnist.train import step as step_module
from tests.torture import states, steps
from tests.torture.battery import Attack, Trial, error_of

PLACES = ("data", "loss", "gradient", "statistics")
BAD_STEP = 30
"""First bad step; it is in the second epoch, when there is a good checkpoint."""


def not_finite(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Puts NaN or infinity into data, loss, gradient or statistics: once, nine times in a row, and forever."""
    del random
    for trial in range(trials):

        def poison(trial: int = trial) -> None:
            place, bad = PLACES[trial % 4], (1, train.MOST_BAD_STEPS - 1, None)[trial // 4 % 3]
            value = (np.nan, np.inf)[trial % 2]
            run = steps.new_run(folder / f"{trial}")
            with _poisoned(place, value, bad), _silent():
                error = error_of(DivergedError, lambda: steps.go_on(run))
            if bad is None:
                last = BAD_STEP + train.MOST_BAD_STEPS - 1
                assert error, "a run without a finite step went to its end"
                assert f"in epoch 2, step {last}:" in str(error), str(error)
                assert f"the checkpoint of step {steps.BATCHES} is kept" in str(error), str(error)
                assert error.exit_code == 5
            else:
                assert error is None, f"{bad} bad steps ended the run: {error}"
                row = read_metrics(run)[1]
                assert row.get("skipped_steps") == bad, f"{row.get('skipped_steps')} of {bad} were counted"
                assert np.isfinite(row["train_loss"]), "a skipped step is in the loss"
            saved = states.leaves(states.read(run))
            assert all(np.isfinite(np.frombuffer(leaf, np.float32)).all() for leaf in _weights(saved))

        yield poison


def not_finite_across_a_resume(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Stops and resumes a run among consecutive bad steps, whose count continues."""
    for trial in range(trials):

        def poison(trial: int = trial) -> None:
            stop = BAD_STEP + int(random.integers(1, train.MOST_BAD_STEPS - 1))
            with _poisoned("loss", np.nan, None), _silent():
                run = steps.stopped(folder / f"{trial}", stop)
                taken: list[int] = []
                error = error_of(DivergedError, lambda: steps.go_on(run, taken.append))
            assert error, "the run continued"
            assert f"step {BAD_STEP + train.MOST_BAD_STEPS - 1}:" in str(error), str(error)
            assert taken[0] == stop + 1

        yield poison


def _weights(leaves: dict[str, bytes]) -> list[bytes]:
    return [leaf for path, leaf in leaves.items() if ".params" in path or ".batch_stats" in path]


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _poisoned(place: str, value: float, count: int | None) -> Iterator[None]:
    """Context manager that puts a bad value into `count` steps from `BAD_STEP` on, or into all if `count` is None."""
    last = 2**31 - 1 if count is None else BAD_STEP + count - 1

    def when(step: Any, good: Any) -> Any:
        bad = (step >= BAD_STEP) & (step <= last)
        return jax.tree.map(lambda leaf: jnp.where(bad, jnp.asarray(value, leaf.dtype), leaf), good)

    with contextlib.ExitStack() as stack:
        for target, name, changed in _CHANGES[place](when):
            stack.callback(setattr, target, name, getattr(target, name))
            setattr(target, name, changed)
        # The cached programs are those of the healthy step.
        jit.build_programs.cache_clear()
        stack.callback(jit.build_programs.cache_clear)
        yield


def _bad_data(when: Any) -> list[tuple[Any, str, Any]]:
    normalise = step_module.normalise
    step_of, now = _noting_the_step()

    def bad(images: Any, *numbers: Any) -> Any:
        shown = normalise(images, *numbers)
        return when(now[-1], shown) if now else shown

    return [(chunk, "train_step", step_of), (step_module, "normalise", bad)]


def _bad_loss(when: Any) -> list[tuple[Any, str, Any]]:
    sums_of = step_module.sums_of
    step_of, now = _noting_the_step()

    def bad(outputs: Any, batch: Any) -> Any:
        sums = sums_of(outputs, batch)
        return sums._replace(loss_sum=when(now[-1], sums.loss_sum)) if now else sums

    return [(chunk, "train_step", step_of), (step_module, "sums_of", bad)]


def _noting_the_step() -> tuple[Any, list[Any]]:
    """Returns `train_step` and a list that holds the step number during its trace, for the functions it calls."""
    step_of, now = train.train_step, []

    def noting(state: Any, batch: Any, **setup: Any) -> Any:
        now.append(state.step)
        try:
            return step_of(state, batch, **setup)
        finally:
            now.pop()

    return noting, now


def _bad_gradient(when: Any) -> list[tuple[Any, str, Any]]:
    step_of = train.train_step

    def changed(state: Any, batch: Any, *, optimizer: Any, **setup: Any) -> Any:
        step = state.step

        def update(updates: Any, state: Any, params: Any = None) -> Any:
            return optimizer.update(when(step, updates), state, params)

        bad = optax.GradientTransformation(optimizer.init, update)
        return step_of(state, batch, optimizer=bad, **setup)

    return [(chunk, "train_step", changed)]


def _bad_statistics(when: Any) -> list[tuple[Any, str, Any]]:
    step_of = train.train_step

    def changed(state: Any, batch: Any, *, model: Any, **setup: Any) -> Any:
        def apply(variables: Any, images: Any, **options: Any) -> Any:
            outputs, updated = model.apply(variables, images, **options)
            return outputs, {"batch_stats": when(state.step, updated["batch_stats"])}

        return step_of(state, batch, model=_Applied(model.init, apply), **setup)

    return [(chunk, "train_step", changed)]


@dataclasses.dataclass(frozen=True)
class _Applied:
    init: Callable[..., Any]
    apply: Callable[..., Any]


_CHANGES = {
    "data": _bad_data,
    "loss": _bad_loss,
    "gradient": _bad_gradient,
    "statistics": _bad_statistics,
}

ATTACKS = (
    Attack("not-finite", 12, 2, not_finite),
    Attack("not-finite-resumed", 3, 1, not_finite_across_a_resume),
)
