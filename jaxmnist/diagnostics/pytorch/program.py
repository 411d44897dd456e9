"""Program that performs tasks with PyTorch and reports the time of each.

It reads one task a line from standard input: a JSON list of the task's name, a count, and the number of untimed runs
before the timed one, such as `["train", 100, 1]`. Each answer is a JSON object with `seconds` and the
`peak_memory_bytes` of the process, and `workers`, the fastest number of DataLoader processes, once it is known. The
tasks run a network on random images:

- `train`: steps on batches gathered from normalised images in memory, without augmentation;
- `compiled`, `channels_last`, `processes`: the same steps with `torch.compile`, with maps in the order that its
  convolutions prefer, and with one process a core;
- `pipeline`: the same steps on batches of a DataLoader that augments image by image, as the sources do;
- `evaluate`: images in evaluation mode, with the sums of loss and hits;
- `pipeline_evaluate`: the same with such a DataLoader, in batches of the training size;
- `predict`: images classified one at a time.
"""

import copy
import functools
import itertools
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]

from jaxmnist.diagnostics.pytorch.networks import NETWORKS
from jaxmnist.diagnostics.pytorch.processes import Processes, Train, count_cores, follow

try:
    from jaxmnist.diagnostics.pytorch.pipeline import loader
except Exception as error:  # torchvision is missing, or does not fit this PyTorch
    loader, PIPELINE_FAULT = None, f"{type(error).__name__}: {error}".splitlines()[0]
else:
    PIPELINE_FAULT = None

EVALUATION_BATCH = 250
"""Images at once in evaluation: of 64, 250 and 1,000 the fastest for `third` and `dilated` on 2 cores."""

PEERS = ("channels_last", "compiled", "processes")
"""Tasks that train otherwise than PyTorch does by default."""

WORKERS = (0, os.cpu_count() or 1)
"""Numbers of DataLoader processes tried."""

Batch = tuple[torch.Tensor, torch.Tensor]


class Benchmark:
    """Tasks of a network on random images; each takes the count of steps or images.

    Args:
        setup: `arch`, `images` (their number), and the fields `batch_size`, `optimizer`, `learning_rate`,
            `momentum`, `weight_decay`, `mean`, `std` and `augmentation` of a recipe.
    """

    def __init__(self, setup: dict[str, Any]) -> None:
        torch.manual_seed(0)
        self.setup = setup
        self.raw = torch.randint(0, 256, (setup["images"], 28, 28), dtype=torch.uint8)
        self.images = (self.raw[:, None].float() / 255 - setup["mean"]) / setup["std"]
        self.labels = torch.randint(0, 10, (setup["images"],))
        whole = setup["images"] // setup["batch_size"] * setup["batch_size"]
        self.indices = itertools.cycle(torch.randperm(setup["images"])[:whole].split(setup["batch_size"]))
        self.network = NETWORKS[setup["arch"]]()
        self.optimizer = _optimizer(self.network.parameters(), setup)
        self.loss_sum, self.correct = torch.zeros(()), torch.zeros((), dtype=torch.long)
        self.workers: int | None = None
        """Number of DataLoader processes, found by the first `pipeline` or `pipeline_evaluate`."""
        self._loaders: dict[bool, Iterator[Batch]] = {}

    def train(self, steps: int) -> None:
        """Takes steps on images in memory."""
        self._train(self._in_memory(), steps, self.network, self.optimizer)

    def training(self, network: torch.nn.Module, batches: Iterator[Batch]) -> Train:
        """Returns a function that takes steps with another network, by an optimizer of its own."""
        optimizer = _optimizer(network.parameters(), self.setup)
        return lambda steps: self._train(batches, steps, network, optimizer)

    def _in_memory(self) -> Iterator[Batch]:
        return ((self.images[index], self.labels[index]) for index in self.indices)

    @functools.cached_property
    def compiled(self) -> Train:
        """Takes steps with a compiled network."""
        return self.training(torch.compile(copy.deepcopy(self.network)), self._in_memory())

    @functools.cached_property
    def channels_last(self) -> Train:
        """Takes steps with the channels of a pixel side by side."""
        network = copy.deepcopy(self.network).to(memory_format=torch.channels_last)
        batches = (
            (images.to(memory_format=torch.channels_last), labels) for images, labels in self._in_memory()
        )
        return self.training(network, batches)

    @functools.cached_property
    def processes(self) -> Train:
        """Takes steps with one process a core."""
        # From the same beginning as the other processes, so that their parts are of the same batches.
        share, setup = Benchmark(self.setup).share, [json.dumps(self.setup)]
        return Processes(share, "jaxmnist.diagnostics.pytorch.program", setup, count_cores()).train

    def share(self, rank: int, size: int) -> Train:
        """Returns the training of one of several processes that have joined, on its part of each batch."""
        network = torch.nn.parallel.DistributedDataParallel(copy.deepcopy(self.network))
        count = self.setup["batch_size"] // size
        parts = (index[rank * count : (rank + 1) * count] for index in self.indices)
        return self.training(network, ((self.images[part], self.labels[part]) for part in parts))

    def pipeline(self, steps: int) -> None:
        """Takes steps on augmented batches of a DataLoader."""
        self._train(self._loader(training=True), steps, self.network, self.optimizer)

    def evaluate(self, images: int) -> None:
        """Evaluates images in memory."""
        indices = (torch.arange(images) % len(self.images)).split(EVALUATION_BATCH)
        self._evaluate(((self.images[index], self.labels[index]) for index in indices), len(indices))

    def pipeline_evaluate(self, images: int) -> None:
        """Evaluates images of a DataLoader."""
        # Full batches only: the rest of the last one is left out, in PyTorch's favour.
        self._evaluate(self._loader(training=False), max(1, images // self.setup["batch_size"]))

    def predict(self, images: int) -> None:
        """Classifies images one at a time."""
        self.network.eval()
        with torch.inference_mode():
            for number in range(images):
                self.network(self.images[number : number + 1]).argmax(1).item()

    def _train(
        self,
        batches: Iterable[Batch],
        steps: int,
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Forward, backward, update, and the sums that jaxmnist computes in training as well."""
        network.train()
        for images, labels in itertools.islice(batches, steps):
            optimizer.zero_grad()
            log_probs = network(images)
            loss = F.nll_loss(log_probs, labels)
            loss.backward()
            optimizer.step()
            self._count(loss.detach() * len(labels), log_probs, labels)

    def _evaluate(self, batches: Iterable[Batch], count: int) -> None:
        self.network.eval()
        with torch.inference_mode():
            for images, labels in itertools.islice(batches, count):
                log_probs = self.network(images)
                self._count(F.nll_loss(log_probs, labels, reduction="sum"), log_probs, labels)

    def _count(self, loss_sum: torch.Tensor, log_probs: torch.Tensor, labels: torch.Tensor) -> None:
        self.loss_sum = self.loss_sum + loss_sum
        self.correct = self.correct + (log_probs.argmax(1) == labels).sum()

    def _loader(self, training: bool) -> Iterator[Batch]:
        """Endless batches of a DataLoader."""
        if self.workers is None:
            seconds = {workers: self._seconds_of_steps(workers) for workers in WORKERS}
            self.workers = min(seconds, key=seconds.__getitem__)
        if training not in self._loaders:
            self._loaders[training] = self._load(training, self.workers)
        return self._loaders[training]

    def _seconds_of_steps(self, workers: int) -> float:
        batches = self._load(True, workers)
        self._train(batches, 5, self.network, self.optimizer)
        began = time.perf_counter()
        self._train(batches, 20, self.network, self.optimizer)
        return time.perf_counter() - began

    def _load(self, training: bool, workers: int) -> Iterator[Batch]:
        assert loader is not None
        batches = loader(self.raw, self.labels, self.setup, workers, training)
        return itertools.chain.from_iterable(itertools.repeat(batches))


def _optimizer(parameters: Iterator[torch.nn.Parameter], setup: dict[str, Any]) -> torch.optim.Optimizer:
    options = {"lr": setup["learning_rate"], "weight_decay": setup["weight_decay"]}
    if setup["optimizer"] == "sgd":
        return torch.optim.SGD(parameters, momentum=setup["momentum"], **options)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[setup["optimizer"]](parameters, **options)


def _peers(benchmark: Benchmark) -> dict[str, str | None]:
    """Tries the other ways to train, and returns why each cannot be used; None if it can."""
    faults: dict[str, str | None] = {}
    for name in PEERS:
        try:
            if name == "processes" and count_cores() == 1:
                raise ValueError("there is one core")
            if name == "compiled" and shutil.which(os.environ.get("CXX", "g++")) is None:
                raise ValueError("there is no C++ compiler")
            getattr(benchmark, name)(1)
        except Exception as error:
            faults[name] = f"{type(error).__name__}: {error}".splitlines()[0]
        else:
            faults[name] = None
    return faults


def main() -> None:
    """Prints the facts about this process, then answers tasks until standard input ends.

    With RANK SIZE PORT after the setup it is one of the other processes of `Benchmark.processes` instead.
    """
    setup, *numbers = sys.argv[1:]
    if numbers:
        torch.set_num_threads(1)  # before anything is computed
        follow(Benchmark(json.loads(setup)).share, *map(int, numbers))
        return
    benchmark = Benchmark(json.loads(setup))
    facts = {
        "version": torch.__version__,
        "threads": torch.get_num_threads(),
        "pipeline_fault": PIPELINE_FAULT,
        "peers": _peers(benchmark),
        "parameters": sum(parameter.numel() for parameter in benchmark.network.parameters()),
    }
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        name, count, untimed = json.loads(line)
        task = getattr(benchmark, name)
        for _ in range(untimed):
            task(count)
        began = time.perf_counter()
        task(count)
        seconds = time.perf_counter() - began
        # In kilobytes, except on a Mac. On Linux the process that started this one sets a lower bound.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        answer = {"seconds": seconds, "peak_memory_bytes": peak, "workers": benchmark.workers}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
