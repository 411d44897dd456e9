"""Training with one process a core: every process takes its part of a batch, and gloo averages the gradients.

Batch normalisation sees only a part of the batch, as PyTorch normalises across processes on GPUs alone: less work than
the step of one process, in PyTorch's favour. `python -m jaxmnist.diagnostics.pytorch.processes SETUP RANK SIZE PORT` is
one of the other processes; it takes as many steps as each line of its standard input says.
"""

import copy
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
import torch.distributed  # pyright: ignore[reportMissingImports]

Train = Callable[[int], None]
"""Takes a number of steps."""


def count_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Processes:
    """The processes of a training, of which this one is the first.

    Args:
        setup: as for `jaxmnist.diagnostics.pytorch.program.Benchmark`.
        size: number of processes.
    """

    def __init__(self, setup: dict[str, Any], size: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._others = [
            subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, json.dumps(setup), *map(str, (rank, size, port))],
                stdin=subprocess.PIPE,
                text=True,
            )
            for rank in range(1, size)
        ]
        self._train = join(setup, 0, size, port)

    def train(self, steps: int) -> None:
        """Takes steps in all processes."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        for other in self._others:
            print(steps, file=other.stdin, flush=True)
        self._train(steps)
        torch.set_num_threads(threads)


def join(setup: dict[str, Any], rank: int, size: int, port: int) -> Train:
    """Joins the processes of a training, and returns this one's share of it."""
    from jaxmnist.diagnostics.pytorch.program import Benchmark

    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    benchmark = Benchmark(setup)
    network = torch.nn.parallel.DistributedDataParallel(copy.deepcopy(benchmark.network))
    share = setup["batch_size"] // size
    parts = (index[rank * share : (rank + 1) * share] for index in benchmark.indices)
    batches = ((benchmark.images[part], benchmark.labels[part]) for part in parts)
    return benchmark.training(network, batches)


def main() -> None:
    """Takes steps until standard input ends."""
    setup, *numbers = sys.argv[1:]
    torch.set_num_threads(1)
    train = join(json.loads(setup), *map(int, numbers))
    for line in sys.stdin:
        train(int(line))


if __name__ == "__main__":
    main()
