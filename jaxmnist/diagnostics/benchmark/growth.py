"""Growth of the time of an epoch with images, batch size, parameters, seeds and devices."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from jaxmnist import train
from jaxmnist.config import Recipe
from jaxmnist.diagnostics.benchmark.training import prepare, random_dataset
from jaxmnist.diagnostics.benchmark.turns import Turn, Variant, measure_in_turn, no_compile_cache, timed
from jaxmnist.errors import UsageError
from jaxmnist.models import ARCHS, create_model
from jaxmnist.models.structure import layers, totals
from jaxmnist.runs.environment import environment
from jaxmnist.runtime.devices import Device
from jaxmnist.runtime.mesh import SEED, WHOLE, MeshShape, along, divide, everywhere, put, select_mesh
from jaxmnist.train import vmapped
from jaxmnist.train.jit import compiler_options_for, jitted

IMAGES = (1_000, 2_000, 4_000, 8_000, 16_000)
BATCH_SIZES = (16, 32, 64, 128, 256, 512)
SEEDS = (1, 2, 4, 8)
EPOCH = 2_048
"""Images of an epoch on all axes but `images`."""


def growth(
    arch: str,
    recipe: Recipe,
    devices: Sequence[Device],
    *,
    repeats: int = 5,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measures epochs of training on random images, the sizes of an axis in turn.

    Args:
        arch: name of the network, except on the axis `parameters`, which takes all networks of the package.
        recipe: recipe of a step.
        devices: the first one computes; on the axis `devices`, 8 seeds are spread over 1, 2, 4 and so on of them.
        repeats: number of measurements of each size.
        report: receives a line about progress.

    Returns:
        JSON values: for each axis under `axes` its `sizes`, the `milliseconds` of an epoch (median and range) for
        each size, and the `exponent`: time grows as the size to that power, by least squares on logarithms. The
        axis `parameters` also has `names`.

    Raises:
        UsageError: `repeats` is less than 1, or no network has that name.
    """
    if repeats < 1:
        raise UsageError(f"--repeats {repeats} measures nothing; give 1 or more.")
    device = devices[0]
    parameters = {name: totals(layers(create_model(name))).parameters for name in ARCHS}
    names = sorted(ARCHS, key=parameters.__getitem__)
    # Sizes, each with a function that compiles an epoch.
    axes: dict[str, list[tuple[int, Callable[[], Variant]]]] = {
        "images": [(size, partial(_epoch, arch, recipe, device, size)) for size in IMAGES],
        "batch size": [
            (size, partial(_epoch, arch, dataclasses.replace(recipe, batch_size=size), device, EPOCH))
            for size in BATCH_SIZES
        ],
        "parameters": [(parameters[name], partial(_epoch, name, recipe, device, EPOCH)) for name in names],
        "seeds": [(size, partial(_runs, arch, recipe, devices[:1], size)) for size in SEEDS],
        "devices": [
            (size, partial(_runs, arch, recipe, devices[:size], SEEDS[-1]))
            for size in SEEDS
            if size <= len(devices)
        ],
    }
    measured: dict[str, Any] = {}
    with no_compile_cache():
        for axis, epochs in axes.items():
            turns = {str(number): Turn(make(), 1) for number, (_, make) in enumerate(epochs)}
            milliseconds = [row["milliseconds"] for row in measure_in_turn(turns, repeats).values()]
            sizes = [size for size, _ in epochs]
            exponent = _exponent(sizes, [time["median"] for time in milliseconds])
            measured[axis] = {"sizes": sizes, "milliseconds": milliseconds, "exponent": exponent}
            report(f"{axis} measured")
    measured["parameters"]["names"] = names
    return {
        "arch": arch,
        "recipe": dataclasses.asdict(recipe),
        "repeats": repeats,
        "epoch": EPOCH,
        "axes": measured,
        "environment": environment(device),
    }


def _exponent(sizes: list[int], times: list[float]) -> float | None:
    if len(set(sizes)) < 2:  # nothing grew
        return None
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def _epoch(arch: str, recipe: Recipe, device: Device, images: int) -> Variant:
    """One epoch: its order, and all steps in one call."""
    programs, keys, data = prepare(arch, recipe, device, np.arange(images, dtype=np.int32), images)
    steps = np.int32(-(-images // recipe.batch_size))

    def epoch(_: int) -> tuple[train.TrainState, train.Metrics]:
        state, metrics = jax.device_put((programs.create_state(keys.init), train.no_metrics()), device)
        order = programs.epoch_order(keys.order, jnp.int32(0), data.order)
        return programs.train_chunk(state, metrics, data._replace(order=order), np.int32(0), steps, keys.step)

    return timed(epoch)


def _runs(arch: str, recipe: Recipe, devices: Sequence[Device], seeds: int) -> Variant:
    """One epoch of several seeds, spread over the devices."""
    where = devices[0] if len(devices) == 1 else select_mesh(devices, MeshShape(seed=len(devices)))
    setup: dict[str, Any] = {"arch": arch, "recipe": recipe, "loop": vmapped.loop_for(where)}

    def train_epoch(varied, images, labels, split):
        states, metrics = vmapped.create_states(varied, **setup)
        orders = vmapped.epoch_orders(varied, jnp.int32(0), split, recipe=recipe)
        data = train.EpochData(images, labels, orders)
        steps = jnp.int32(-(-EPOCH // recipe.batch_size))
        total_steps = recipe.total_steps(EPOCH)
        return vmapped.train_runs(
            states, metrics, data, jnp.int32(0), steps, varied, **setup, total_steps=total_steps
        )

    by_seed = PartitionSpec(SEED)
    divided = divide(train_epoch, where, (by_seed, WHOLE, WHOLE, WHOLE), by_seed)
    program = jitted(
        divided, where, out_shardings=along(where, SEED), compiler_options=compiler_options_for(where)
    )
    varied = put(vmapped.Varied(jnp.arange(seeds, dtype=jnp.int32)), along(where, SEED))
    images, labels = random_dataset(EPOCH)
    shared = put((images, labels, np.arange(EPOCH, dtype=np.int32)), everywhere(where))
    return timed(lambda _: program(varied, *shared))
