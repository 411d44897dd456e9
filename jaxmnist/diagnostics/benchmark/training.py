"""The ways to take training steps. A step is all that training does with a batch, from gather to update."""

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmnist import ops, train
from jaxmnist.config import Augmentation, Recipe
from jaxmnist.diagnostics.benchmark.turns import Timed
from jaxmnist.models import create_model
from jaxmnist.runtime.devices import Device
from jaxmnist.train import vmapped
from jaxmnist.train.jit import build_programs

IMAGES = 6_400
"""Images that batches are gathered from: 5 MB, more than a processor's inner caches hold."""


class Training(Timed):
    """A training; every call goes on from the state that the last one left.

    Args:
        advance: takes steps: (state, metrics, count) -> (state, metrics).
        state, metrics: where it begins.
        trace_seconds, compile_seconds: what making its program cost, where one is made of the whole step.
    """

    def __init__(
        self,
        advance: Callable[[train.TrainState, train.Metrics, int], tuple[train.TrainState, train.Metrics]],
        state: train.TrainState,
        metrics: train.Metrics,
        trace_seconds: float | None = None,
        compile_seconds: float | None = None,
    ) -> None:
        super().__init__(self._go_on)
        self._advance = advance
        self.state, self.metrics = state, metrics
        self.trace_seconds, self.compile_seconds = trace_seconds, compile_seconds

    def _go_on(self, steps: int) -> Any:
        self.state, self.metrics = self._advance(self.state, self.metrics, steps)
        return self.state, self.metrics


def random_dataset(device: Device, images: int = IMAGES) -> tuple[Any, Any]:
    """Images and labels on the device: what images show does not change the time a step takes."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (images, 28, 28), np.uint8)
    return jax.device_put((pixels, random.integers(0, 10, images, np.int32)), device)


def trainings(
    arch: str, recipe: Recipe, device: Device, steps: int, names: tuple[str, ...] | None = None
) -> dict[str, Training]:
    """Trainings in equal initial states, compiled afresh.

    `unjitted` calls primitive after primitive, `jitted` a program for each step, `chunked` one for all of
    them, as `train` does; `unaugmented`, where the recipe augments, is `chunked` without that.

    Args:
        arch: name of the network.
        recipe: batch size, augmentation and optimizer.
        device: where to compute.
        steps: the most that one call of `measure` will be asked for.
        names: those wanted; all without it.

    Raises:
        UsageError: no network has that name.
    """
    model = create_model(arch)
    total_steps = recipe.total_steps(IMAGES)
    programs = build_programs(model, recipe, device, total_steps)
    put = partial(jax.device_put, device=device)
    keys = put(train.Keys.from_seed(0))
    data = train.EpochData(*random_dataset(device), put(shuffled(steps * recipe.batch_size)))
    indices = list(put(np.arange(steps, dtype=np.int32)))

    def start() -> tuple[train.TrainState, train.Metrics]:
        return put(programs.create_state(keys.init)), put(train.no_metrics())

    def one_by_one(function, state, metrics, steps):
        for index in indices[:steps]:
            state, metrics = function(state, metrics, data, index, keys.step)
        return state, metrics

    def at_once(function, state, metrics, steps):
        return function(state, metrics, data, np.int32(0), np.int32(steps), keys.step)

    def compiled(jitted, loop, *counts):
        state, metrics = start()
        program, *seconds = _compile(jitted, state, metrics, data, *counts, keys.step)
        return Training(partial(loop, program), state, metrics, *seconds)

    def unjitted():
        # Not `jax.disable_jit()`: it drops the compile cache of single primitives and is 100 times slower.
        return Training(partial(one_by_one, programs.epoch_step.__wrapped__), *start())

    def unaugmented():
        unchanged = dataclasses.replace(recipe, augmentation=Augmentation())
        plain = build_programs(model, unchanged, device, total_steps)
        return compiled(plain.train_chunk, at_once, np.int32(0), np.int32(steps))

    # The chunk before the step, as its is the time that a training pays; the step then finds parts traced.
    makers: dict[str, Callable[[], Training]] = {
        "chunked": lambda: compiled(programs.train_chunk, at_once, np.int32(0), np.int32(steps)),
        "jitted": lambda: compiled(programs.epoch_step, one_by_one, np.int32(0)),
        "unjitted": unjitted,
    }
    if recipe.augmentation != Augmentation():
        makers["unaugmented"] = unaugmented
    wanted = [name for name in makers if names is None or name in names]
    made = {name: makers[name]() for name in wanted}
    return {name: made[name] for name in ("unjitted", "jitted", "chunked", "unaugmented") if name in made}


def seeds_together(arch: str, recipe: Recipe, device: Device, steps: int, seeds: int) -> dict[str, Training]:
    """Trainings of several seeds in one program: `at_once` side by side, `in_a_row` one after the other.

    A step is one of each seed; arguments otherwise as for `trainings`.
    """
    images, labels = random_dataset(device)
    varied = jax.device_put(vmapped.Varied(jnp.arange(seeds, dtype=jnp.int32)), device)
    orders = jax.device_put(np.tile(shuffled(steps * recipe.batch_size), (seeds, 1)), device)
    data = train.EpochData(images, labels, orders)
    first, made = np.int32(0), {}
    for name, loop in (("at_once", vmapped.at_once), ("in_a_row", vmapped.in_a_row)):
        setup = {"arch": arch, "recipe": recipe, "loop": loop}
        states, metrics = jax.jit(partial(vmapped.create_states, **setup))(varied)
        jitted = jax.jit(
            partial(vmapped.train_runs, **setup, total_steps=recipe.total_steps(IMAGES)),
            donate_argnums=(0, 1),
            compiler_options=ops.compiler_options(device),
        )
        arguments = states, metrics, data, first, np.int32(steps), varied
        program, *seconds = _compile(jitted, *arguments)

        def advance(states, metrics, steps, program=program):
            return program(states, metrics, data, first, np.int32(steps), varied)

        made[name] = Training(advance, states, metrics, *seconds)
    return made


def _compile(jitted: Any, *arguments: Any) -> tuple[Any, float, float]:
    """A program, and the seconds of tracing and compiling it; made this way nothing can compile again."""
    began = time.perf_counter()
    lowered = jitted.lower(*arguments)
    traced = time.perf_counter()
    program = lowered.compile()
    return program, traced - began, time.perf_counter() - traced


def shuffled(count: int) -> np.ndarray:
    """So many indices of images, each image once before any comes again."""
    return np.resize(np.random.default_rng(1).permutation(IMAGES).astype(np.int32), count)
