"""Communication between devices in a step, and its cost: `python -m tests.scaling ARCH DEVICES ...`.

The devices are simulated and share this machine's cores, so times show the cost of dividing, not its gain. The
communication is read from the compiled program and is the same on any devices.
"""

import sys
import time

import jax
import numpy as np

from jaxmnist import train
from jaxmnist.config import get_recipe
from jaxmnist.data import load_dataset
from jaxmnist.models import create_model
from jaxmnist.runtime.devices import select_device, set_cpu_devices, use_compile_cache
from jaxmnist.runtime.mesh import Where, everywhere, parse_mesh, put, select_mesh
from jaxmnist.train.jit import build_programs
from tests.on_meshes import collectives

STEPS, REPEATS = 10, 5


def main() -> None:
    """Prints a line for each number of devices."""
    arch, *counts = sys.argv[1:]
    set_cpu_devices(8)
    device = select_device("cpu")
    use_compile_cache()
    print(
        f"{arch}, batch {get_recipe(arch).batch_size}: ms a step (fastest of {REPEATS} times {STEPS} steps)"
    )
    for count in map(int, counts):
        where = device if count == 1 else select_mesh(jax.devices(), parse_mesh(f"data={count}"))
        milliseconds, program, temporary = measured(arch, where)
        kinds = collectives(program)
        number = {kind: program.count(f" {kind}(") for kind in kinds}
        parts = ", ".join(f"{number[kind]} {kind} {size:,} bytes" for kind, size in kinds.items())
        print(
            f"{count} devices  {milliseconds:.1f} ms  {temporary / 2**20:.1f} MiB a device  {parts}",
            flush=True,
        )


def measured(arch: str, where: Where) -> tuple[float, str, int]:
    """Returns milliseconds a step, the compiled program, and its temporary bytes on each device."""
    digits, recipe = load_dataset("digits"), get_recipe(arch)
    split = put(np.arange(len(digits.train_labels), dtype=np.int32), everywhere(where))
    programs = build_programs(create_model(arch), recipe, where, recipe.total_steps(len(split)))
    keys = put(train.Keys.from_seed(1), everywhere(where))
    state, metrics = programs.create_state(keys.init), put(train.no_metrics(), everywhere(where))
    data = put((digits.train_images, digits.train_labels), everywhere(where))
    order = programs.epoch_order(keys.order, np.int32(0), split)
    images, labels = data
    chunk = train.EpochData(images, labels, order), np.int32(0), np.int32(STEPS), keys.step
    compiled = programs.train_chunk.lower(state, metrics, *chunk).compile()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        state, metrics = jax.block_until_ready(programs.train_chunk(state, metrics, *chunk))
        times.append(time.perf_counter() - began)
    return 1000 * min(times) / STEPS, compiled.as_text(), compiled.memory_analysis().temp_size_in_bytes


if __name__ == "__main__":
    main()
