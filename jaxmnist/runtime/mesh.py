"""Several devices as one: a mesh, what lies on it how, and how a program comes to run on it.

A program stays the plain function it is on one device; the compiler divides it. It is told of the mesh while it
is traced (`on_mesh`), where it asks for it at three places only: a batch is divided over the axis `data`
(`over_data`), runs over the axis `seed` (`over_seeds`), and `jaxmnist.ops` chooses what can be divided.
"""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from jaxmnist.errors import UsageError
from jaxmnist.runtime.devices import Device

SEED, DATA = "seed", "data"
"""Axes of a mesh: runs that know nothing of each other, and the parts of a batch."""

# What to compute on: a device, or a mesh of several.
if TYPE_CHECKING:
    Where = Any
else:
    Where = Device | Mesh


class MeshShape(NamedTuple):
    """Devices along each axis."""

    seed: int = 1
    data: int = 1

    @property
    def devices(self) -> int:
        return self.seed * self.data

    def __str__(self) -> str:
        return f"{SEED}={self.seed},{DATA}={self.data}"


def parse_mesh(text: str) -> MeshShape:
    """The shape that `seed=2,data=4` names; an axis that is left out has one device.

    Raises:
        UsageError: it names none.
    """
    sizes: dict[str, int] = {}
    for part in text.split(","):
        axis, _, size = part.strip().partition("=")
        if axis not in (SEED, DATA) or axis in sizes or not size.isdecimal() or int(size) < 1:
            raise UsageError(
                f"--mesh {text} is not a mesh: {part.strip()!r} is neither seed=N nor data=N with N from 1 on; "
                "write it like seed=2,data=4."
            )
        sizes[axis] = int(size)
    return MeshShape(**sizes)


def select_mesh(devices: Sequence[Device], shape: MeshShape, processes: int = 1) -> Mesh:
    """The first devices of every process as a mesh, neighbours along `data`.

    Args:
        devices: of all processes.
        shape: how many are taken, as many of each process.
        processes: how many processes there are.

    Raises:
        UsageError: there are fewer; the message says how many.
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
    """What is computed on, in a few words: `cpu: cpu, a mesh of seed=1,data=4 in 2 processes`."""
    device = first_device(where)
    text = f"{device.platform}: {device.device_kind}"
    if isinstance(where, Mesh):
        text += f", a mesh of {mesh_shape(where)}"
    return text if processes == 1 else f"{text} in {processes} processes"


def mesh_shape(where: Where) -> MeshShape:
    """Devices along each axis; one device is a mesh of one."""
    return MeshShape(**where.shape) if isinstance(where, Mesh) else MeshShape()


def all_on_data(where: Where) -> Where:
    """The same devices for a single run, which they all share."""
    if not isinstance(where, Mesh):
        return where
    return Mesh(where.devices.reshape(1, -1), (SEED, DATA))


def first_device(where: Where) -> Device:
    """One of this process's devices among them."""
    return where.local_devices[0] if isinstance(where, Mesh) else where


def everywhere(where: Where) -> Sharding:
    """How something lies that every device has the whole of."""
    return NamedSharding(where, PartitionSpec()) if isinstance(where, Mesh) else SingleDeviceSharding(where)


def along(where: Where, axis: str) -> Sharding:
    """How something lies that is divided along its first axis over an axis of the mesh."""
    return (
        NamedSharding(where, PartitionSpec(axis)) if isinstance(where, Mesh) else SingleDeviceSharding(where)
    )


def put(tree: Any, sharding: Sharding) -> Any:
    """Arrays as they are to lie. With several processes each has the whole of them on the host, and all the same."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def place(leaf: Any) -> jax.Array:
        if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(place(jax.random.key_data(leaf)))
        values = np.asarray(leaf)
        return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])

    return jax.tree.map(place, tree)


def put_divided(rows: np.ndarray, where: Where) -> jax.Array:
    """Rows divided over the axis `data`: of the first device the first, and so on; zeros make the last part whole."""
    if isinstance(where, Mesh):
        missing = -len(rows) % mesh_shape(where).data
        rows = np.pad(rows, ((0, missing), *((0, 0),) * (rows.ndim - 1)))
    return put(rows, along(where, DATA))


def on_mesh(function: Callable[..., Any], where: Where) -> Callable[..., Any]:
    """A function that knows the mesh while it is traced; on one device the function itself."""
    if not isinstance(where, Mesh):
        return function

    @functools.wraps(function)
    def traced(*args: Any, **kwargs: Any) -> Any:
        with jax.sharding.use_abstract_mesh(where.abstract_mesh):
            return function(*args, **kwargs)

    return traced


def is_on_mesh() -> bool:
    """Whether what is being traced is to be divided over several devices of a mesh of `select_mesh`."""
    return DATA in jax.sharding.get_abstract_mesh().axis_names


def over_data(tree: Any) -> Any:
    """Arrays divided over the axis `data` along their first axis; sizes that do not divide are padded by XLA, which
    masks what it adds. Without a mesh nothing."""
    if not is_on_mesh():
        return tree
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, PartitionSpec(DATA)), tree)


def over_seeds(loop: Callable[..., Any]) -> Callable[..., Any]:
    """A loop over runs (`jaxmnist.train.vmapped.Loop`) of which each part of the axis `seed` does its own."""

    def divided(function: Callable[..., Any], runs: Any, *shared: Any) -> Any:
        part = jax.shard_map(
            functools.partial(loop, function),
            in_specs=(PartitionSpec(SEED), *(PartitionSpec() for _ in shared)),
            out_specs=PartitionSpec(SEED),
            axis_names={SEED},
            check_vma=False,
        )
        return part(runs, *shared)

    return divided
