"""Device meshes: selection, shardings, running a function on one.

A jitted function is written as for one device; the compiler partitions it. While it is traced it knows of the mesh
(`on_mesh`) and uses that in three places only: a batch is sharded over the axis `data` (`over_data`), runs over the
axis `seed` (`over_seeds`), and `jaxmnist.ops` chooses operations that can be partitioned.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding
from jaxtyping import PyTree

from jaxmnist.errors import UsageError
from jaxmnist.runtime.devices import Device

SEED, DATA = "seed", "data"
"""Axes of a mesh: independent runs, and the parts of a batch."""

Where = Device | Mesh

Result = TypeVar("Result")


class MeshShape(NamedTuple):
    """Number of devices along each axis."""

    seed: int = 1
    data: int = 1

    @property
    def devices(self) -> int:
        """Number of all devices."""
        return self.seed * self.data

    def __str__(self) -> str:
        return f"{SEED}={self.seed},{DATA}={self.data}"


def parse_mesh(text: str) -> MeshShape:
    """Parses a shape such as `seed=2,data=4`; an axis left out has one device.

    Raises:
        UsageError: the text is not a shape.
    """
    sizes: dict[str, int] = {}
    for part in text.split(","):
        axis, _, size = part.strip().partition("=")
        if axis not in (SEED, DATA) or axis in sizes or not size.isdecimal() or int(size) < 1:
            raise UsageError(
                f"--mesh {text} is not a mesh: {part.strip()!r} is neither seed=N nor data=N with N at least 1; "
                "write it like seed=2,data=4."
            )
        sizes[axis] = int(size)
    return MeshShape(**sizes)


def select_mesh(devices: Sequence[Device], shape: MeshShape, processes: int = 1) -> Mesh:
    """Arranges the first devices of every process in a mesh; neighbours lie along `data`.

    Args:
        devices: devices of all processes.
        shape: number of devices to take, the same number from each process.
        processes: number of processes.

    Raises:
        UsageError: there are too few devices; the message says how many.
    """
    share = shape.devices // processes
    taken = [
        device
        for process in range(processes)
        for device in [other for other in devices if other.process_index == process][:share]
    ]
    if len(taken) < shape.devices:
        raise UsageError(
            f"a mesh of {shape} needs {shape.devices} devices, and there {'is' if len(taken) == 1 else 'are'} "
            f"{len(devices)} ({devices[0].platform}); make it smaller, or start more processes."
        )
    return Mesh(np.array(taken, dtype=object).reshape(shape), (SEED, DATA))


def where_text(where: Where, processes: int = 1) -> str:
    """Describes the hardware in a few words: `cpu: cpu, a mesh of seed=1,data=4 in 2 processes`."""
    device = first_device(where)
    text = f"{device.platform}: {device.device_kind}"
    if isinstance(where, Mesh):
        text += f", a mesh of {mesh_shape(where)}"
    return text if processes == 1 else f"{text} in {processes} processes"


def mesh_shape(where: Where) -> MeshShape:
    """Number of devices along each axis; one device counts as a mesh of one."""
    return MeshShape(**where.shape) if isinstance(where, Mesh) else MeshShape()


def all_on_data(where: Where) -> Where:
    """The same devices for a single run: all along the axis `data`."""
    return Mesh(where.devices.reshape(1, -1), (SEED, DATA)) if isinstance(where, Mesh) else where


def first_device(where: Where) -> Device:
    """First of this process's devices."""
    return where.local_devices[0] if isinstance(where, Mesh) else where


def everywhere(where: Where) -> Sharding:
    """Sharding that gives every device the whole array."""
    return NamedSharding(where, PartitionSpec()) if isinstance(where, Mesh) else SingleDeviceSharding(where)


def along(where: Where, axis: str) -> Sharding:
    """Sharding that divides the first axis of an array over an axis of the mesh."""
    spec = PartitionSpec(axis)
    return NamedSharding(where, spec) if isinstance(where, Mesh) else SingleDeviceSharding(where)


def put(tree: PyTree, sharding: Sharding) -> PyTree:
    """Puts arrays on devices; with several processes, each holds the same complete arrays on its host."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def place(leaf: jax.Array | np.ndarray) -> jax.Array:
        if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(place(jax.random.key_data(leaf)))
        values = np.asarray(leaf)
        return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])

    return jax.tree.map(place, tree)


def put_divided(rows: np.ndarray, where: Where) -> jax.Array:
    """Puts rows on devices, divided in order over the axis `data`; rows of zeros fill up the last part."""
    if isinstance(where, Mesh):
        missing = -len(rows) % mesh_shape(where).data
        rows = np.pad(rows, ((0, missing), *((0, 0),) * (rows.ndim - 1)))
    return put(rows, along(where, DATA))


def on_mesh(function: Callable[..., Result], where: Where) -> Callable[..., Result]:
    """Makes the mesh known to a function while it is traced; on one device returns the function itself."""
    if not isinstance(where, Mesh):
        return function

    @functools.wraps(function)
    def traced(*args: object, **kwargs: object) -> Result:
        with jax.sharding.use_abstract_mesh(where.abstract_mesh):
            return function(*args, **kwargs)

    return traced


def is_on_mesh() -> bool:
    """True while a function is traced for several devices of a mesh of `select_mesh`."""
    return DATA in jax.sharding.get_abstract_mesh().axis_names


def over_data(tree: PyTree) -> PyTree:
    """Shards arrays along their first axis over the axis `data`; without a mesh leaves them alone.

    XLA pads sizes that do not divide, and masks the padding.
    """
    if not is_on_mesh():
        return tree
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, PartitionSpec(DATA)), tree)


def over_seeds(loop: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """Divides a loop over runs (`jaxmnist.train.vmapped.Loop`) over the axis `seed`."""

    def divided(function: Callable[..., PyTree], runs: PyTree, *shared: PyTree) -> PyTree:
        part = jax.shard_map(
            functools.partial(loop, function),
            in_specs=(PartitionSpec(SEED), *(PartitionSpec() for _ in shared)),
            out_specs=PartitionSpec(SEED),
            axis_names={SEED},
            check_vma=False,
        )
        return part(runs, *shared)

    return divided
