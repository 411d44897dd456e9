"""Training with one process a core: every process takes its part of a batch, and gloo averages the gradients.

Batch normalisation sees only a part of the batch, as PyTorch normalises across processes on GPUs alone: less work than
the step of one process, in PyTorch's favour.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Callable

import torch  # pyright: ignore[reportMissingImports]
import torch.distributed  # pyright: ignore[reportMissingImports]

Train = Callable[[int], None]
"""Takes a number of steps."""

Share = Callable[[int, int], Train]
"""(rank, size) -> the training of a process, on its part of each batch"""


def count_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Processes:
    """The processes of a training, of which this one is the first.

    Args:
        share: gives this process its part.
        follower: a module that calls `follow` with the arguments RANK SIZE PORT after those in `arguments`.
        arguments: the first arguments of the module.
        size: number of processes.
    """

    def __init__(self, share: Share, follower: str, arguments: list[str], size: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._others = [
            subprocess.Popen(
                [sys.executable, "-P", "-m", follower, *arguments, *map(str, (rank, size, port))],
                stdin=subprocess.PIPE,
                text=True,
            )
            for rank in range(1, size)
        ]
        self._train = _join(share, 0, size, port)

    def train(self, steps: int) -> None:
        """Takes steps in all processes."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        for other in self._others:
            print(steps, file=other.stdin, flush=True)
        self._train(steps)
        torch.set_num_threads(threads)


def follow(share: Share, rank: int, size: int, port: int) -> None:
    """Joins the processes of a training, and takes as many steps as each line of standard input says."""
    train = _join(share, rank, size, port)
    for line in sys.stdin:
        train(int(line))


def _join(share: Share, rank: int, size: int, port: int) -> Train:
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    return share(rank, size)
