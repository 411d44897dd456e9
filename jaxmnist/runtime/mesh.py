"""Device meshes: selection, shardings, running a function on one.

A function is written as for one device. `divide` maps it: every device runs it on its part of the batch (axis `data`)
or on its share of the runs (axis `seed`), and `jaxmnist.runtime.parts` tells it, while it is traced, which part it has.
"""

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding
from jaxtyping import PyTree

from jaxmnist.errors import UsageError
from jaxmnist.runtime.devices import Device
from jaxmnist.runtime.parts import DATA

SEED = "seed"
"""Axis of a mesh along which independent runs are divided; `DATA` is the other."""

WHOLE = PartitionSpec()
"""Specification of an array of which every device has the whole."""

LEAST_IMAGES = 16
"""Images of a batch that are worth a device: with fewer, waiting for each other costs more than dividing gains."""

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


def every_core(device: Device, batch_size: int | None = None) -> Where:
    """Returns the devices among which a process divides its work unless told otherwise: on a CPU one for each core.

    Args:
        device: the selected device.
        batch_size: images of a training batch, whose parts have equal sizes of at least `LEAST_IMAGES`; None for work
            that can be divided anyhow.
    """
    count = len(_alike(device)) if device.platform == "cpu" else 1
    if batch_size is not None:
        count = even_parts(batch_size, count)
    return first_devices(device, count) or device


def even_parts(batch_size: int, most: int) -> int:
    """Returns the largest number of equal parts of a batch, at most `most`, with `LEAST_IMAGES` or more each; or 1."""
    most = min(most, batch_size // LEAST_IMAGES)
    return max((parts for parts in range(1, most + 1) if batch_size % parts == 0), default=1)


def first_devices(device: Device, count: int) -> Where | None:
    """Returns some devices of this process of one kind, all along the axis `data`; None if there are fewer."""
    if count == 1:
        return device
    devices = _alike(device)
    return select_mesh(devices, MeshShape(data=count)) if count <= len(devices) else None


def _alike(device: Device) -> list[Device]:
    return [
        other for other in jax.local_devices(backend=device.platform) if other.platform == device.platform
    ]


def where_text(where: Where, processes: int = 1) -> str:
    """Describes the hardware in a few words: `cpu, 2 devices`, `gpu: NVIDIA H200, a mesh of seed=2,data=4`."""
    device, shape = first_device(where), mesh_shape(where)
    text = device.platform
    if device.device_kind.lower() != text:
        text += f": {device.device_kind}"
    if shape.seed > 1:
        text += f", a mesh of {shape}"
    elif shape.data > 1:
        text += f", {shape.data} devices"
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
    return NamedSharding(where, WHOLE) if isinstance(where, Mesh) else SingleDeviceSharding(where)


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


_ALONE = threading.RLock()


def run_alone(program: Callable[..., Result], *arguments: object) -> Result:
    """Calls a jitted program and waits until every device is done, one such call of this process at a time.

    Programs in which devices of a CPU exchange values must not overlap: they can wait for each other forever, since
    their threads come from one pool.
    """
    with _ALONE:
        return jax.block_until_ready(program(*arguments))


def divide(
    function: Callable[..., Result],
    where: Where,
    in_specs: PyTree = WHOLE,
    out_specs: PyTree = WHOLE,
    axes: Sequence[str] = (SEED, DATA),
) -> Callable[..., Result]:
    """Maps a function over the devices of a mesh; for one device returns the function itself.

    Args:
        function: function of positional arguments.
        where: a device, or a mesh.
        in_specs: the axis over which each argument is divided; by default every device gets the whole.
        out_specs: the same of the results, which are equal on all devices of an axis that is not named.
        axes: axes over which the function is mapped. Along the others XLA divides its operations, where
            `over_data` says so.
    """
    if not isinstance(where, Mesh):
        return function
    return jax.shard_map(
        function, mesh=where, in_specs=in_specs, out_specs=out_specs, axis_names=set(axes), check_vma=False
    )


def over_data(tree: PyTree) -> PyTree:
    """Lets XLA divide arrays along their first axis over the axis `data`, if the function is not mapped over it.

    XLA pads sizes that do not divide, and masks the padding.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if DATA not in mesh.axis_names or DATA in mesh.manual_axes:
        return tree
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, PartitionSpec(DATA)), tree)
