"""PyTorch's side of `jaxmnist benchmark --torch`: the same networks and step, eager, on the CPU.

A program of its own, started by `jaxmnist.torch_process`, and the only place that needs PyTorch. It reads
numbers of steps from standard input, one a line, and answers each with a JSON line: the seconds they took.
Its step does what jaxmnist's does, except that images are normalised beforehand and never augmented.
"""

import json
import resource
import sys
import time
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]


class _Network(nn.Module):
    """What the three share: blocks of `conv<i>`, activation, `bn<i>`, dropout."""

    activation = staticmethod(F.relu)
    dropout = 0.03

    def add_block(self, index: int, c_in: int, c_out: int, padding: int = 0) -> None:
        setattr(self, f"conv{index}", _conv(c_in, c_out, 3, padding))
        setattr(self, f"bn{index}", nn.BatchNorm2d(c_out))

    def block(self, index: int, x: torch.Tensor) -> torch.Tensor:
        x = self.activation(getattr(self, f"conv{index}")(x))
        return F.dropout(getattr(self, f"bn{index}")(x), self.dropout, self.training)


class First(_Network):
    """13,808 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.add_block(1, 1, 16)
        self.add_block(2, 16, 32)
        self.trans1 = _conv(32, 10, 1)
        self.add_block(3, 10, 16)
        self.add_block(4, 16, 16)
        self.add_block(5, 16, 16)
        self.add_block(6, 16, 16, padding=1)
        self.head = _conv(16, 10, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.block(2, self.block(1, x))
        x = F.max_pool2d(self.trans1(x), 2)
        for index in (3, 4, 5, 6):
            x = self.block(index, x)
        return _log_probs(self.head(F.avg_pool2d(x, 6)))


class Second(_Network):
    """5,048 parameters."""

    dropout = 0.1

    def __init__(self) -> None:
        super().__init__()
        self.add_block(1, 1, 8)
        self.add_block(2, 8, 16)
        self.trans1 = _conv(16, 8, 1)
        self.add_block(3, 8, 12)
        self.add_block(4, 12, 12)
        self.add_block(5, 12, 12, padding=1)
        self.head = _conv(12, 10, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.block(2, self.block(1, x))
        x = F.max_pool2d(self.trans1(x), 2)
        for index in (3, 4, 5):
            x = self.block(index, x)
        return _log_probs(self.head(F.avg_pool2d(x, 8)))


class Third(_Network):
    """7,902 parameters."""

    activation = staticmethod(F.gelu)

    def __init__(self) -> None:
        super().__init__()
        self.add_block(1, 1, 10)
        self.add_block(2, 10, 14)
        self.trans1 = _conv(14, 10, 1)
        self.add_block(3, 10, 14)
        self.skip1 = _conv(10, 14, 1)
        self.add_block(4, 14, 14)
        self.add_block(5, 14, 12)
        self.skip2 = _conv(14, 12, 1)
        self.add_block(6, 12, 12, padding=1)
        self.head = _conv(12, 10, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.block(2, self.block(1, x))
        pooled = F.max_pool2d(self.trans1(x), 2)
        x = self.block(3, pooled)
        joined = x + self.skip1(F.interpolate(pooled, size=x.shape[2:], mode="nearest"))
        x = self.block(5, self.block(4, joined))
        x = x + self.skip2(F.interpolate(joined, size=x.shape[2:], mode="nearest"))
        x = self.block(6, x)
        x = x * torch.sigmoid(x.mean((2, 3), keepdim=True))
        return _log_probs(self.head(F.avg_pool2d(x, 6)))


NETWORKS = {"first": First, "second": Second, "third": Third}


class Training:
    """A network in training on random images.

    Args:
        setup: `arch`, `images` (how many), `batch_size`, `learning_rate`, `momentum`, `mean` and `std`.
    """

    def __init__(self, setup: dict[str, Any]) -> None:
        torch.manual_seed(0)
        images = torch.randint(0, 256, (setup["images"], 1, 28, 28)).float()
        self.images = (images / 255 - setup["mean"]) / setup["std"]
        self.labels = torch.randint(0, 10, (setup["images"],))
        whole = setup["images"] // setup["batch_size"] * setup["batch_size"]
        self.batches = torch.randperm(setup["images"])[:whole].split(setup["batch_size"])
        self.network = NETWORKS[setup["arch"]]()
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), lr=setup["learning_rate"], momentum=setup["momentum"]
        )
        self.loss_sum, self.correct = torch.zeros(()), torch.zeros((), dtype=torch.long)

    def run(self, steps: int) -> None:
        """Takes so many steps: gather, forward, backward, update, and the sums that jaxmnist keeps, too."""
        for step in range(steps):
            index = self.batches[step % len(self.batches)]
            images, labels = self.images[index], self.labels[index]
            self.optimizer.zero_grad()
            log_probs = self.network(images)
            loss = F.nll_loss(log_probs, labels)
            loss.backward()
            self.optimizer.step()
            self.loss_sum += loss.detach() * len(labels)
            self.correct += (log_probs.argmax(1) == labels).sum()


def main() -> None:
    """Tells who answers, then answers until standard input ends."""
    training = Training(json.loads(sys.argv[1]))
    facts = {
        "version": torch.__version__,
        "threads": torch.get_num_threads(),
        "parameters": sum(parameter.numel() for parameter in training.network.parameters()),
        "data": f"{len(training.images)} random images in memory, normalised beforehand, not augmented",
    }
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        training.run(int(line))
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "peak_memory_bytes": _peak_memory()}), flush=True)


def _conv(c_in: int, c_out: int, kernel_size: int, padding: int = 0) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel_size, padding=padding, bias=False)


def _log_probs(x: torch.Tensor) -> torch.Tensor:
    return F.log_softmax(x.flatten(1), dim=1)


def _peak_memory() -> int:
    # In kilobytes, except on a Mac. On Linux the process that started this one sets a lower bound.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
