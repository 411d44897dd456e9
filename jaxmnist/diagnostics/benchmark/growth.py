"""How the time of an epoch grows with images, batch size, parameters, seeds and devices."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from jaxmnist import ops, train
from jaxmnist.config import Recipe
from jaxmnist.diagnostics.benchmark.training import random_dataset
from jaxmnist.diagnostics.benchmark.turns import Timed, Turn, measure_in_turn, no_compile_cache
from jaxmnist.errors import UsageError
from jaxmnist.models import ARCHS, create_model
from jaxmnist.models.structure import layers, totals
from jaxmnist.runs.folder import environment
from jaxmnist.runtime.devices import Device
from jaxmnist.train import vmapped
from jaxmnist.train.jit import build_programs

Axis = Literal["images", "batch size", "parameters", "seeds", "devices"]

IMAGES = (1_000, 2_000, 4_000, 8_000, 16_000)
BATCH_SIZES = (16, 32, 64, 128, 256, 512)
SEEDS = (1, 2, 4, 8)
EPOCH = 2_048
"""Images of the epoch that is measured where their number is not what grows."""


def growth(
    arch: str,
    recipe: Recipe,
    devices: Sequence[Device],
    *,
    axes: Sequence[Axis] = ("images", "batch size", "parameters", "seeds", "devices"),
    repeats: int = 5,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measures epochs of training on random images, the sizes of an axis in turn.

    Args:
        arch: network, except where the parameters grow: there all networks are measured.
        recipe: what a step does.
        devices: the first is the one to compute on; where devices grow, 8 seeds are spread over 1, 2, 4 and
            so on of them.
        axes: what grows.
        repeats: times that each size is measured.
        report: told in one line what has been done.

    Returns:
        Plain JSON values: for each axis under `axes` its `sizes`, `milliseconds` (median and range of an
        epoch for each size) and `exponent`: time grows as the size to that power, by least squares on
        logarithms. Of `parameters` there are `names` and `multiply_adds`, too.

    Raises:
        UsageError: `repeats` is less than 1, or no network has that name.
    """
    if repeats < 1:
        raise UsageError(f"--repeats {repeats} measures nothing; give 1 or more.")
    device = devices[0]
    makers: dict[Axis, Callable[[], _Epochs]] = {
        "images": lambda: _images(arch, recipe, device),
        "batch size": lambda: _batch_sizes(arch, recipe, device),
        "parameters": lambda: _parameters(recipe, device),
        "seeds": lambda: _seeds(arch, recipe, device),
        "devices": lambda: _devices(arch, recipe, devices),
    }
    measured: dict[str, Any] = {}
    with no_compile_cache():
        for axis in axes:
            sizes, epochs, details = makers[axis]()
            turns = {str(i): Turn(epoch, 1) for i, epoch in enumerate(epochs)}
            rows = list(measure_in_turn(turns, repeats).values())
            milliseconds = [row["milliseconds"] for row in rows]
            measured[axis] = {
                "sizes": sizes,
                "milliseconds": milliseconds,
                "exponent": _exponent(sizes, [time["median"] for time in milliseconds]),
                **details,
            }
            report(f"{axis} measured")
    return {
        "arch": arch,
        "recipe": dataclasses.asdict(recipe),
        "repeats": repeats,
        "epoch": EPOCH,
        "axes": measured,
        "environment": environment(device),
    }


_Epochs = tuple[list[int], list[Timed], dict[str, Any]]
"""Sizes, an epoch of each to measure, and what else is to be said."""


def _exponent(sizes: list[int], times: list[float]) -> float | None:
    if len(set(sizes)) < 2:  # nothing grew
        return None
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def _images(arch: str, recipe: Recipe, device: Device) -> _Epochs:
    return list(IMAGES), [_epoch(arch, recipe, device, images) for images in IMAGES], {}


def _batch_sizes(arch: str, recipe: Recipe, device: Device) -> _Epochs:
    recipes = [dataclasses.replace(recipe, batch_size=size) for size in BATCH_SIZES]
    return list(BATCH_SIZES), [_epoch(arch, each, device, EPOCH) for each in recipes], {}


def _parameters(recipe: Recipe, device: Device) -> _Epochs:
    sizes = {arch: totals(layers(create_model(arch))) for arch in ARCHS}
    names = sorted(ARCHS, key=lambda arch: sizes[arch].parameters)
    epochs = [_epoch(arch, recipe, device, EPOCH) for arch in names]
    details = {"names": names, "multiply_adds": [sizes[arch].multiply_adds for arch in names]}
    return [sizes[arch].parameters for arch in names], epochs, details


def _seeds(arch: str, recipe: Recipe, device: Device) -> _Epochs:
    return list(SEEDS), [_runs(arch, recipe, [device], seeds) for seeds in SEEDS], {}


def _devices(arch: str, recipe: Recipe, devices: Sequence[Device]) -> _Epochs:
    counts = [count for count in SEEDS if count <= len(devices)]
    return counts, [_runs(arch, recipe, devices[:count], SEEDS[-1]) for count in counts], {}


def _epoch(arch: str, recipe: Recipe, device: Device, images: int) -> Timed:
    """One epoch: its order, and its steps in one call."""
    programs = build_programs(create_model(arch), recipe, device, recipe.total_steps(images))
    keys = jax.device_put(train.Keys.from_seed(0), device)
    pixels, labels = random_dataset(device, images)
    split = jax.device_put(np.arange(images, dtype=np.int32), device)
    steps = np.int32(-(-images // recipe.batch_size))

    def epoch(count: int) -> Any:
        del count
        state, metrics = jax.device_put((programs.create_state(keys.init), train.no_metrics()), device)
        order = programs.epoch_order(keys.order, jnp.int32(0), split)
        return programs.train_chunk(state, metrics, train.EpochData(pixels, labels, order), np.int32(0), steps, keys.step)

    return Timed(epoch)


def _runs(arch: str, recipe: Recipe, devices: Sequence[Device], seeds: int) -> Timed:
    """One epoch of several seeds, which are spread over the devices."""
    loop = vmapped.loop_for(devices[0])
    varied = vmapped.Varied(jnp.arange(seeds, dtype=jnp.int32))
    images, labels = (np.asarray(values) for values in random_dataset(devices[0], EPOCH))
    split = jnp.arange(EPOCH, dtype=jnp.int32)
    steps = jnp.int32(-(-EPOCH // recipe.batch_size))
    setup = {"arch": arch, "recipe": recipe, "loop": loop}

    def train_epoch(varied, images, labels):
        states, metrics = vmapped.create_states(varied, **setup)
        orders = vmapped.epoch_orders(varied, jnp.int32(0), split, recipe=recipe)
        return vmapped.train_runs(
            *(states, metrics, train.EpochData(images, labels, orders), jnp.int32(0), steps, varied),
            **setup,
            total_steps=recipe.total_steps(EPOCH),
        )

    each, whole = PartitionSpec("runs"), PartitionSpec()
    mesh = Mesh(np.array(devices), ("runs",))
    spread = jax.shard_map(
        train_epoch, mesh=mesh, in_specs=(each, whole, whole), out_specs=each, check_vma=False
    )
    program = jax.jit(spread, compiler_options=ops.compiler_options(devices[0]))
    arguments = jax.device_put(
        (varied, images, labels),
        tuple(jax.sharding.NamedSharding(mesh, spec) for spec in (each, whole, whole)),
    )
    return Timed(lambda count: program(*arguments))
