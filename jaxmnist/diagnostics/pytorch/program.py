"""The program: reads tasks from standard input, one a line, and says how long each took.

A line is a JSON list of a task, a count, and how often to do that beforehand without timing it, `["train", 100, 1]`;
the answer is a JSON object with the `seconds` it took. What is measured of a network on random images:

- `train`: steps on batches gathered from images in memory, normalised beforehand and never augmented;
- `pipeline`: the same steps on batches of a DataLoader that augments image by image, as the sources do;
- `evaluate`: images in evaluation mode, their loss and hits summed up;
- `pipeline_evaluate`: the same with such a DataLoader, in the batches of training;
- `predict`: images classified one at a time.
"""

import itertools
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]

from jaxmnist.diagnostics.pytorch.networks import NETWORKS
from jaxmnist.diagnostics.pytorch.pipeline import TRANSFORMS, loader

_OPTIMIZERS = {
    "sgd": lambda parameters, setup: torch.optim.SGD(
        parameters, lr=setup["learning_rate"], momentum=setup["momentum"], weight_decay=setup["weight_decay"]
    ),
    "adam": lambda parameters, setup: torch.optim.Adam(
        parameters, lr=setup["learning_rate"], weight_decay=setup["weight_decay"]
    ),
    "adamw": lambda parameters, setup: torch.optim.AdamW(
        parameters, lr=setup["learning_rate"], weight_decay=setup["weight_decay"]
    ),
}

TASKS = ("train", "pipeline", "evaluate", "pipeline_evaluate", "predict")

EVALUATION_BATCHES = (64, 250, 1000)
"""Images at once in evaluation; the fastest on the machine is taken."""

WORKERS = (0, os.cpu_count() or 1)
"""Processes of a DataLoader; the faster number is taken."""


class Benchmark:
    """A network on random images.

    Args:
        setup: `arch`, `images` (how many), and of the recipe `batch_size`, `optimizer`, `learning_rate`,
            `momentum`, `weight_decay`, `mean`, `std` and `augmentation`.
    """

    def __init__(self, setup: dict[str, Any]) -> None:
        torch.manual_seed(0)
        self.setup = setup
        self.raw = torch.randint(0, 256, (setup["images"], 28, 28), dtype=torch.uint8)
        self.images = (self.raw[:, None].float() / 255 - setup["mean"]) / setup["std"]
        self.labels = torch.randint(0, 10, (setup["images"],))
        whole = setup["images"] // setup["batch_size"] * setup["batch_size"]
        self.batches = itertools.cycle(torch.randperm(setup["images"])[:whole].split(setup["batch_size"]))
        self.network = NETWORKS[setup["arch"]]()
        self.optimizer = _OPTIMIZERS[setup["optimizer"]](self.network.parameters(), setup)
        self.loss_sum, self.correct = torch.zeros(()), torch.zeros((), dtype=torch.long)
        self.choices: dict[str, int] = {}
        """What was found to be the fastest: `workers` and `evaluation_workers` of the pipeline, `evaluation_batch`."""

    @property
    def tasks(self) -> dict[str, Callable[[int], None]]:
        return {name: getattr(self, name) for name in TASKS}

    def train(self, steps: int) -> None:
        for index in itertools.islice(self.batches, steps):
            self._step(self.images[index], self.labels[index])

    def pipeline(self, steps: int) -> None:
        if "workers" not in self.choices:
            self.loaded = self._fastest("workers", WORKERS, partial(self._load, True), self._advance)
        self._advance(self.loaded, steps)

    def evaluate(self, images: int) -> None:
        if "evaluation_batch" not in self.choices:
            self._fastest(
                "evaluation_batch",
                EVALUATION_BATCHES,
                make=lambda size: size,
                use=lambda size, _: self._evaluate(size, 2 * max(EVALUATION_BATCHES)),
            )
        self._evaluate(self.choices["evaluation_batch"], images)

    def pipeline_evaluate(self, images: int) -> None:
        if "evaluation_workers" not in self.choices:
            made = self._fastest(
                "evaluation_workers", WORKERS, partial(self._load, False), self._evaluate_loaded
            )
            self.loaded_for_evaluation = made
        # Whole batches: what is left out of the last one is in PyTorch's favour.
        self._evaluate_loaded(self.loaded_for_evaluation, max(1, images // self.setup["batch_size"]))

    def predict(self, images: int) -> None:
        self.network.eval()
        with torch.inference_mode():
            for number in range(images):
                self.network(self.images[number : number + 1]).argmax(1).item()

    def _step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Forward, backward, update, and the sums that jaxmnist keeps, too."""
        self.network.train()
        self.optimizer.zero_grad()
        log_probs = self.network(images)
        loss = F.nll_loss(log_probs, labels)
        loss.backward()
        self.optimizer.step()
        self._count(loss.detach() * len(labels), log_probs, labels)

    def _evaluate(self, batch: int, images: int) -> None:
        self.network.eval()
        with torch.inference_mode():
            for start in range(0, images, batch):
                index = torch.arange(start, min(start + batch, images)) % len(self.images)
                self._judge(self.images[index], self.labels[index])

    def _evaluate_loaded(self, batches: Iterator[Any], count: int) -> None:
        self.network.eval()
        with torch.inference_mode():
            for images, labels in itertools.islice(batches, count):
                self._judge(images, labels)

    def _judge(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        log_probs = self.network(images)
        self._count(F.nll_loss(log_probs, labels, reduction="sum"), log_probs, labels)

    def _count(self, loss_sum: torch.Tensor, log_probs: torch.Tensor, labels: torch.Tensor) -> None:
        self.loss_sum = self.loss_sum + loss_sum
        self.correct = self.correct + (log_probs.argmax(1) == labels).sum()

    def _load(self, training: bool, workers: int) -> Iterator[Any]:
        batches = loader(self.raw, self.labels, self.setup, workers, training)
        return itertools.chain.from_iterable(itertools.repeat(batches))

    def _advance(self, batches: Iterator[Any], steps: int) -> None:
        for images, labels in itertools.islice(batches, steps):
            self._step(images, labels)

    def _fastest(
        self, name: str, values: tuple[int, ...], make: Callable[[int], Any], use: Callable[[Any, int], None]
    ) -> Any:
        """What `make` gives for the value with which `use` is fastest; its first use is a warm-up."""
        made = {value: make(value) for value in values}
        seconds = {}
        for value, thing in made.items():
            use(thing, 5)
            began = time.perf_counter()
            use(thing, 20)
            seconds[value] = time.perf_counter() - began
        self.choices[name] = min(seconds, key=seconds.__getitem__)
        return made[self.choices[name]]


def main() -> None:
    """Says who answers, then answers until standard input ends."""
    benchmark = Benchmark(json.loads(sys.argv[1]))
    facts = {
        "version": torch.__version__,
        "threads": torch.get_num_threads(),
        "parameters": sum(parameter.numel() for parameter in benchmark.network.parameters()),
        "transforms": TRANSFORMS,
    }
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        task, count, untimed = json.loads(line)
        for _ in range(untimed):
            benchmark.tasks[task](count)
        began = time.perf_counter()
        benchmark.tasks[task](count)
        seconds = time.perf_counter() - began
        answer = {"seconds": seconds, "peak_memory_bytes": _peak_memory(), "choices": benchmark.choices}
        print(json.dumps(answer), flush=True)


def _peak_memory() -> int:
    # In kilobytes, except on a Mac. On Linux the process that started this one sets a lower bound.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
