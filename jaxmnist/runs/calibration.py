"""Calibration of a run's probabilities, fitted on its held-out images and kept in `calibration.json`.

A single temperature divides the logits (Guo et al., On Calibration of Modern Neural Networks, 2017).
"""

import dataclasses
import math
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32

from jaxmnist.config.seal import opened, sealed
from jaxmnist.data import Dataset
from jaxmnist.runs.folder import naming_damage, read_metrics, write_json
from jaxmnist.runs.weights import save_best
from jaxmnist.runtime.reading import parse_json
from jaxmnist.train.network import Network

CALIBRATION = "calibration.json"

_LIMITS = 0.2, 5.0
"""Range of the temperature; outside of it there were too few errors to fit it on."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A temperature for the logits, and the step whose weights it belongs to."""

    temperature: float
    """Divisor of the logits; above 1 the probabilities were too confident."""
    step: int
    """Training steps of the weights."""
    examples: int
    """Number of held-out images it was fitted on."""


def calibrate_run(run: Path, network: Network, dataset: Dataset) -> Calibration | None:
    """Fits the temperature of a run's best weights on its held-out images; None if it held none out.

    It is written to `calibration.json` and to the weights file beside it.
    """
    config = network.config
    if config is None or network.step is None or config.select_on != "val":
        return None
    index = config.splits(len(dataset.train_labels), len(dataset.test_labels))["val"]
    _, log_probs = network.predict(dataset.train_images[index])
    temperature = fit_temperature(log_probs, dataset.train_labels[index])
    found = Calibration(temperature, network.step, len(index))
    write_json(run / CALIBRATION, sealed(dataclasses.asdict(found)))
    for row in read_metrics(run):
        if row["epoch"] == network.epoch:
            save_best(run, config, network.variables, row, temperature)
    return found


def read_temperature(run: Path, step: int) -> float:
    """Returns the temperature of the weights of a step; 1 if the run has none for them.

    Raises:
        CheckpointError: the file is damaged.
    """
    file = run / CALIBRATION
    if not file.is_file():
        return 1.0
    with naming_damage(file, "delete it, or restore it from a copy"):
        found = Calibration(**opened(parse_json(file.read_bytes())))
        if not (math.isfinite(found.temperature) and found.temperature > 0):
            raise ValueError(f"the temperature is {found.temperature}")
    return found.temperature if found.step == step else 1.0


def fit_temperature(log_probs: Float32[np.ndarray, "n classes"], labels: Int32[np.ndarray, " n"]) -> float:
    """Returns the temperature with the least negative log-likelihood of the labels, to four digits."""
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    logits, rows = log_probs.astype(np.float64), np.arange(len(labels))

    def loss(logarithm: float) -> float:
        scaled = logits / np.exp(logarithm)
        return float((logsumexp(scaled, axis=1) - scaled[rows, labels]).mean())

    found = minimize_scalar(loss, bounds=np.log(_LIMITS), method="bounded", options={"xatol": 1e-5})
    return float(f"{np.exp(found.x):.4g}")
