"""Profile of a training step by kind of operation and by layer, from XLA's own trace of a chunk on the CPU."""

import re
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmnist import train
from jaxmnist.config import Recipe
from jaxmnist.diagnostics.benchmark.training import prepare, shuffled
from jaxmnist.errors import UsageError
from jaxmnist.runtime.devices import Device

KINDS = {
    "products": {"dot", "convolution"},
    "sums": {"reduce", "reduce-window"},
    "stacking": {"concatenate"},
    "padding": {"pad"},
    "gathering": {"gather", "scatter"},
}
"""Kinds of operations by the opcodes in their fusion, the first that fits; all others are `loops`."""


class _Operation(NamedTuple):
    kind: str
    when: str
    """`forward`, `backward`, or `other` for augmentation, update and counting."""
    layer: str


def profile(arch: str, recipe: Recipe, device: Device, *, steps: int = 20) -> dict[str, Any]:
    """Traces the training steps of a chunk on random images.

    Args:
        arch: name of the network.
        recipe: batch size, augmentation and optimizer.
        device: a CPU.
        steps: number of steps to trace, after as many to warm up.

    Returns:
        JSON values: `milliseconds` of a step while it was traced; `kinds`, milliseconds of each kind of operation
        forward, backward and otherwise; `layers`, milliseconds of each layer. Operations that run at the same time
        count fully, so their sum may exceed the step.

    Raises:
        UsageError: the device is not a CPU, or XLA records no such trace.
    """
    if device.platform != "cpu":
        raise UsageError(f"--profile reads XLA's trace of a CPU, not of {device.platform}; add --device cpu.")
    programs, keys, data = prepare(arch, recipe, device, shuffled(steps * recipe.batch_size))

    def arguments() -> tuple[object, ...]:
        state, metrics = jax.device_put((programs.create_state(keys.init), train.no_metrics()), device)
        return state, metrics, data, np.int32(0), np.int32(steps), keys.step

    try:
        lowered = programs.train_chunk.lower(*arguments())
        program = lowered.compile({"xla_cpu_enable_xprof_traceme": True})
    except jax.errors.JaxRuntimeError as error:
        raise UsageError(f"--profile needs a newer JAX than {jax.__version__}: {error}.") from error
    operations = _operations(program.as_text() or "")
    jax.block_until_ready(program(*arguments()))
    values = arguments()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(program(*values))
        [file] = Path(folder).rglob("*.xplane.pb")
        times, whole = _times(file, operations)
    kinds: dict[str, dict[str, float]] = {}
    by_layer: dict[str, float] = defaultdict(float)
    for name, nanoseconds in times.items():
        kind, when, layer = operations[name]
        kinds.setdefault(kind, dict.fromkeys(("forward", "backward", "other"), 0.0))
        kinds[kind][when] += nanoseconds / steps / 1e6
        by_layer[layer] += nanoseconds / steps / 1e6
    return {
        "arch": arch,
        "recipe": recipe.name,
        "batch_size": recipe.batch_size,
        "steps": steps,
        "milliseconds": whole / steps / 1e6,
        "kinds": dict(sorted(kinds.items(), key=lambda item: -sum(item[1].values()))),
        "layers": dict(sorted(by_layer.items(), key=lambda item: -item[1])),
    }


def _operations(program: str) -> dict[str, _Operation]:
    """Operations of a compiled program by name."""
    bodies = {
        match[1]: set(re.findall(r" ([a-z\-]+)\(", match[2]))
        for match in re.finditer(r"^%?([\w.\-]+) \([^\n]*\{\n(.*?)^\}", program, re.MULTILINE | re.DOTALL)
    }
    operations = {}
    instruction = r"^\s+(?:ROOT )?%?([\w.\-]+) = .*? ([\w\-]+)\(.*$"
    for match in re.finditer(instruction, program, re.MULTILINE):
        line, name, opcode = match[0], match[1], match[2]
        called = re.search(r"calls=%?([\w.\-]+)", line)
        inside = bodies.get(called[1], set()) if called else {opcode}
        kind = next((kind for kind, names in KINDS.items() if names & inside), "loops")
        path = re.search(r'op_name="([^"]*)"', line)
        operations[name] = _Operation(kind, *_place(path[1] if path else ""))
    return operations


def _place(path: str) -> tuple[str, str]:
    """Phase and layer of an operation, from the path of names under which it was traced."""
    if "jvp" not in path:
        return "other", "augmentation, update, counting"
    # ... jvp(Network)/Network.method/layer/operation
    layer = re.search(r"jvp\((\w+)\)+/(?:\1\.\w+/)?(\w+)/", path)
    return "backward" if "transpose(jvp" in path else "forward", layer[2] if layer else "other"


def _times(trace: Path, operations: Mapping[str, object]) -> tuple[dict[str, float], float]:
    """Nanoseconds of each operation in total, and from the start of the first to the end of the last."""
    data = jax.profiler.ProfileData.from_file(str(trace))
    events = [
        event
        for plane in data.planes
        if plane.name.startswith("/host:CPU")
        for line in plane.lines
        for event in line.events
        if event.name in operations
    ]
    if not events:
        raise UsageError("--profile found no operation in XLA's trace; this JAX does not record them.")
    times: dict[str, float] = defaultdict(float)
    for event in events:
        times[event.name] += event.duration_ns
    return times, max(event.end_ns for event in events) - min(event.start_ns for event in events)
