"""Where the time of a training step goes, from XLA's own trace of a chunk on the CPU."""

import re
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmnist import ops, train
from jaxmnist.config import Recipe
from jaxmnist.diagnostics.benchmark.training import IMAGES, random_dataset, shuffled
from jaxmnist.errors import UsageError
from jaxmnist.models import create_model
from jaxmnist.optim import make_optimizer
from jaxmnist.runtime.devices import Device

KINDS = {
    "products": {"dot", "convolution"},
    "sums": {"reduce", "reduce-window"},
    "stacking": {"concatenate"},
    "padding": {"pad"},
    "gathering": {"gather", "scatter"},
}
"""Kinds of operations by what stands in their fusion, the first that fits; all else are `loops`."""


class _Operation(NamedTuple):
    kind: str
    when: str
    """`forward`, `backward`, or `other` for augmentation, update and counting."""
    layer: str


def profile(arch: str, recipe: Recipe, device: Device, *, steps: int = 20) -> dict[str, Any]:
    """Traces training steps in a chunk, on random images.

    Args:
        arch: name of the network.
        recipe: batch size, augmentation and optimizer.
        device: a CPU.
        steps: steps to trace, after as many to warm up.

    Returns:
        Plain JSON values: `milliseconds` of a step while it was traced; `kinds`, milliseconds of each kind of
        operation forward, backward and otherwise; `layers`, milliseconds of each layer. Operations that run
        at the same time count fully, so their sum may exceed the step.

    Raises:
        UsageError: the device is no CPU, or its XLA has no such trace.
    """
    if device.platform != "cpu":
        raise UsageError(f"--profile reads XLA's trace of a CPU, not of {device.platform}; add --device cpu.")
    program, arguments = _compiled(arch, recipe, device, steps)
    operations = _operations(program.as_text() or "")
    state, metrics = jax.block_until_ready(program(*arguments()))
    del state, metrics
    with tempfile.TemporaryDirectory() as folder:
        values = arguments()
        with jax.profiler.trace(folder):
            jax.block_until_ready(program(*values))
        [file] = Path(folder).rglob("*.xplane.pb")
        times, whole = _times(jax.profiler.ProfileData.from_file(str(file)), operations)
    kinds: dict[str, dict[str, float]] = defaultdict(
        lambda: dict.fromkeys(("forward", "backward", "other"), 0.0)
    )
    by_layer: dict[str, float] = defaultdict(float)
    for name, nanoseconds in times.items():
        operation = operations[name]
        kinds[operation.kind][operation.when] += nanoseconds / steps / 1e6
        by_layer[operation.layer] += nanoseconds / steps / 1e6
    return {
        "arch": arch,
        "recipe": recipe.name,
        "batch_size": recipe.batch_size,
        "steps": steps,
        "milliseconds": whole / steps / 1e6,
        "kinds": dict(sorted(kinds.items(), key=lambda item: -sum(item[1].values()))),
        "layers": dict(sorted(by_layer.items(), key=lambda item: -item[1])),
    }


def _compiled(arch: str, recipe: Recipe, device: Device, steps: int) -> tuple[Any, Any]:
    total_steps = recipe.total_steps(IMAGES)
    model, optimizer = create_model(arch), make_optimizer(recipe, total_steps=total_steps)
    keys = jax.device_put(train.Keys.from_seed(0), device)
    images, labels = random_dataset(device)
    order = jax.device_put(shuffled(steps * recipe.batch_size), device)

    def arguments() -> tuple[Any, ...]:
        state = jax.jit(partial(train.create_state, model=model, optimizer=optimizer, recipe=recipe))(
            keys.init
        )
        state, metrics = jax.device_put((state, train.no_metrics()), device)
        return state, metrics, train.EpochData(images, labels, order), np.int32(0), np.int32(steps), keys.step

    options = ops.compiler_options(device) | {"xla_cpu_enable_xprof_traceme": True}
    chunk = partial(
        train.train_chunk, model=model, optimizer=optimizer, recipe=recipe, total_steps=total_steps
    )
    try:
        return jax.jit(chunk, compiler_options=options).lower(*arguments()).compile(), arguments
    except jax.errors.JaxRuntimeError as error:
        raise UsageError(f"--profile needs a newer JAX than {jax.__version__}: {error}.") from error


_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = .*? ([\w\-]+)\(.*$", re.MULTILINE)


def _operations(program: str) -> dict[str, _Operation]:
    """What each operation of a compiled program is, by its name."""
    bodies = {
        match[1]: set(re.findall(r" ([a-z\-]+)\(", match[2]))
        for match in re.finditer(r"^%?([\w.\-]+) \([^\n]*\{\n(.*?)^\}", program, re.MULTILINE | re.DOTALL)
    }
    operations = {}
    for match in _INSTRUCTION.finditer(program):
        line, name, opcode = match[0], match[1], match[2]
        called = re.search(r"calls=%?([\w.\-]+)", line)
        inside = bodies.get(called[1], set()) if called else {opcode}
        kind = next((kind for kind, names in KINDS.items() if names & inside), "loops")
        path = re.search(r'op_name="([^"]*)"', line)
        operations[name] = _Operation(kind, *_place(path[1] if path else ""))
    return operations


def _place(path: str) -> tuple[str, str]:
    """When an operation runs, and the layer it belongs to, from the path of names it was traced under."""
    layer = re.search(r"\.classify/([\w]+)/", path)
    if "transpose(jvp" in path:
        return "backward", layer[1] if layer else "other"
    if "jvp" in path:
        return "forward", layer[1] if layer else "other"
    return "other", "augmentation, update, counting"


def _times(data: Any, operations: Mapping[str, Any]) -> tuple[dict[str, float], float]:
    """Nanoseconds that each operation took in all, and from the first's beginning to the last's end."""
    events = [
        event
        for plane in data.planes
        if plane.name.startswith("/host:CPU")
        for line in plane.lines
        for event in line.events
        if event.name in operations
    ]
    times: dict[str, float] = defaultdict(float)
    for event in events:
        times[event.name] += event.duration_ns
    if not events:
        raise UsageError("--profile found no operation in XLA's trace; this JAX does not record them.")
    return times, max(event.end_ns for event in events) - min(event.start_ns for event in events)
