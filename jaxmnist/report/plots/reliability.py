"""Reliability diagram of an evaluation."""

import numpy as np
from matplotlib.figure import Figure

from jaxmnist.inference.calibration import BINS
from jaxmnist.inference.evaluate import Evaluation
from jaxmnist.report.terminal.evaluation import describe_calibration, describe_split


def reliability_figure(evaluation: Evaluation, network: str) -> Figure:
    """Draws the accuracy of predictions over their confidence, and below it their number."""
    figure = Figure(figsize=(5.6, 6.2), layout="constrained")
    above, below = figure.subplots(2, height_ratios=(3, 1), sharex=True)
    lows, counts, confidences, accuracies = np.array(evaluation.reliability).T
    above.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle="--")
    above.bar(lows, accuracies, 1 / BINS, align="edge", color="#9db9dd", edgecolor="white")
    above.plot(confidences, accuracies, "o", markersize=4, color="#1f4e8c")
    above.set(ylabel="share of right predictions", ylim=(0, 1.02), xlim=(0, 1))
    below.bar(lows, counts, 1 / BINS, align="edge", color="#9db9dd", edgecolor="white")
    below.set(xlabel="confidence", ylabel="predictions", yscale="log")
    split = f"{describe_split(evaluation)} images of {evaluation.dataset}"
    title = f"Reliability\n{network}\n{split}: {describe_calibration(evaluation)}"
    figure.suptitle(title, fontsize=9)
    return figure
