"""Variants of training steps. A step is everything that training does with a batch, from gather to update."""

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int32, UInt8

from jaxmnist import ops, train
from jaxmnist.config import Augmentation, Recipe
from jaxmnist.diagnostics.benchmark.turns import Measurement, timed
from jaxmnist.models import create_model
from jaxmnist.runtime.devices import Device
from jaxmnist.runtime.mesh import Where, every_core, everywhere, put, run_alone
from jaxmnist.train import vmapped
from jaxmnist.train.jit import Programs, build_programs

if TYPE_CHECKING:
    from jax.stages import Compiled, Wrapped

IMAGES = 6_400
"""Images that batches are gathered from: 5 MB, more than a processor's inner caches hold."""

_VARIANTS = ("unjitted", "jitted", "chunked", "unaugmented")


@dataclasses.dataclass
class Training:
    """A training as a `Variant`; each call continues from the state that the last one left."""

    advance: Callable[[train.TrainState, train.Metrics, int], tuple[train.TrainState, train.Metrics]]
    """Takes steps: (state, metrics, count) -> (state, metrics)."""
    state: train.TrainState
    metrics: train.Metrics
    trace_seconds: float | None = None
    """Time of tracing the program of the whole step; None if there is none."""
    compile_seconds: float | None = None
    """Time of compiling it."""

    def __call__(self, count: int, untimed: int) -> Measurement:
        """Takes steps; see `Variant`."""
        return timed(self._continue)(count, untimed)

    def _continue(self, steps: int) -> tuple[train.TrainState, train.Metrics]:
        self.state, self.metrics = self.advance(self.state, self.metrics, steps)
        return self.state, self.metrics


def random_dataset(
    images: int = IMAGES,
) -> tuple[UInt8[np.ndarray, "images 28 28"], Int32[np.ndarray, " images"]]:
    """Returns random images and labels; the content of images does not affect the time of a step."""
    random = np.random.default_rng(0)
    return random.integers(0, 256, (images, 28, 28), np.uint8), random.integers(0, 10, images, np.int32)


def prepare(
    arch: str, recipe: Recipe, where: Where, order: Int32[np.ndarray, " order"], images: int = IMAGES
) -> tuple[Programs, train.Keys, train.EpochData]:
    """Returns the programs of a network, the keys of a seed, and random images in an order, on a device or a mesh."""
    programs = build_programs(create_model(arch), recipe, where, recipe.total_steps(images))
    arrays = *random_dataset(images), order
    keys, placed = put((train.Keys.from_seed(0), arrays), everywhere(where))
    return programs, keys, train.EpochData(*placed)


def shuffled(count: int) -> Int32[np.ndarray, " count"]:
    """Returns a number of image indices; each image appears once before any appears again."""
    return np.resize(np.random.default_rng(1).permutation(IMAGES).astype(np.int32), count)


def trainings(
    arch: str, recipe: Recipe, device: Device, steps: int, unjitted: bool = True
) -> dict[str, Training]:
    """Compiles trainings with equal initial states.

    `unjitted` runs primitive after primitive on one device. The others use all cores: `jitted` runs a program for each
    step, `chunked` one for all steps, as `train` does, and `unaugmented` is `chunked` without the augmentation of the
    recipe, if it has one.

    Args:
        arch: name of the network.
        recipe: batch size, augmentation and optimizer.
        device: device to compute on.
        steps: largest number of steps in a call.
        unjitted: False leaves that variant out.

    Raises:
        UsageError: no network has that name.
    """
    where = every_core(device, recipe.batch_size)
    order = shuffled(steps * recipe.batch_size)
    programs, keys, data = prepare(arch, recipe, where, order)
    indices = [put(np.int32(index), everywhere(where)) for index in range(steps)]
    first, chunk = np.int32(0), (np.int32(0), np.int32(steps))

    def start() -> tuple[train.TrainState, train.Metrics]:
        return put((programs.create_state(keys.init), train.no_metrics()), everywhere(where))

    def one_by_one(function, state, metrics, steps):
        for index in indices[:steps]:
            arguments = state, metrics, data, index, keys.step
            state, metrics = function(*arguments) if where == device else run_alone(function, *arguments)
        return state, metrics

    def at_once(function, state, metrics, steps):
        return function(state, metrics, data, first, np.int32(steps), keys.step)

    def compiled(jitted, loop, *counts):
        state, metrics = start()
        program, *seconds = _compile(jitted, state, metrics, data, *counts, keys.step)
        return Training(partial(loop, program), state, metrics, *seconds)

    # The chunk before the step: it then traces everything, as in a training, and the step finds parts traced.
    made = {"chunked": compiled(programs.train_chunk, at_once, *chunk)}
    made["jitted"] = compiled(programs.epoch_step, one_by_one, first)
    if unjitted:
        # Not `jax.disable_jit()`: it drops the compile cache of single primitives and is 100 times slower.
        alone, keys_alone, data_alone = prepare(arch, recipe, device, order)

        def by_primitive(state, metrics, steps):
            for number in range(steps):
                arguments = data_alone, jax.device_put(jnp.int32(number), device), keys_alone.step
                state, metrics = alone.epoch_step.__wrapped__(state, metrics, *arguments)
            return state, metrics

        state = alone.create_state(keys_alone.init)
        made["unjitted"] = Training(by_primitive, *jax.device_put((state, train.no_metrics()), device))
    if recipe.augmentation != Augmentation():
        plain = dataclasses.replace(recipe, augmentation=Augmentation())
        plain_programs, *_ = prepare(arch, plain, where, shuffled(1))
        made["unaugmented"] = compiled(plain_programs.train_chunk, at_once, *chunk)
    return {name: made[name] for name in _VARIANTS if name in made}


def seeds_together(arch: str, recipe: Recipe, device: Device, steps: int, seeds: int) -> dict[str, Training]:
    """Compiles trainings of several seeds in one program: `at_once` side by side, `in_a_row` one after the other.

    A step is one of each seed; for the other arguments see `trainings`.
    """
    varied = jax.device_put(vmapped.Varied(jnp.arange(seeds, dtype=jnp.int32)), device)
    orders = np.tile(shuffled(steps * recipe.batch_size), (seeds, 1))
    data = train.EpochData(*jax.device_put((*random_dataset(), orders), device))
    first, made = np.int32(0), {}
    for name, loop in (("at_once", vmapped.at_once), ("in_a_row", vmapped.in_a_row)):
        setup = {"arch": arch, "recipe": recipe, "loop": loop}
        states, metrics = jax.jit(partial(vmapped.create_states, **setup))(varied)
        jitted = jax.jit(
            partial(vmapped.train_runs, **setup, total_steps=recipe.total_steps(IMAGES)),
            donate_argnums=(0, 1),
            compiler_options=ops.compiler_options(device),
        )
        program, *seconds = _compile(jitted, states, metrics, data, first, np.int32(steps), varied)

        def advance(states, metrics, steps, program=program):
            return program(states, metrics, data, first, np.int32(steps), varied)

        made[name] = Training(advance, states, metrics, *seconds)
    return made


def _compile(jitted: "Wrapped", *arguments: object) -> "tuple[Compiled, float, float]":
    """Program, and the seconds of tracing and compiling it; such a program cannot compile again."""
    began = time.perf_counter()
    lowered = jitted.lower(*arguments)
    traced = time.perf_counter()
    program = lowered.compile()
    return program, traced - began, time.perf_counter() - traced
