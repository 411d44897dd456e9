"""Evaluations of many named classes: the terminal, the picture and the page stay readable."""

import io
import itertools
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from jaxmnist.inference.calibration import Bin
from jaxmnist.inference.evaluate import Evaluation
from jaxmnist.report.html.evaluation import commonest_mistakes
from jaxmnist.report.plots.mistakes import confusion_figure
from jaxmnist.report.terminal.evaluation import print_evaluations


def evaluation(names: list[str], wrong: dict[tuple[int, int], int]) -> Evaluation:
    """Twenty images of each class, of which some are taken for another."""
    matrix = 20 * np.eye(len(names), dtype=int)
    for (label, predicted), count in wrong.items():
        matrix[label, predicted] += count
        matrix[label, label] -= count
    return Evaluation(
        arch="third",
        recipe="third",
        seed=1,
        epoch=3,
        step=3,
        trained_on="own",
        dataset="own",
        classes=names,
        data_source="here",
        data_of_run=True,
        split="test",
        shifts=0,
        loss=0.1,
        correct=int(np.trace(matrix)),
        errors=int(matrix.sum() - np.trace(matrix)),
        examples=int(matrix.sum()),
        accuracy=100 * float(np.trace(matrix) / matrix.sum()),
        class_accuracies=[5.0 * int(matrix[label, label]) for label in range(len(names))],
        confusion=matrix.tolist(),
        mistakes=[],
        augmentation_seed=None,
        temperature=1.0,
        expected_calibration_error=0.01,
        reliability=[Bin(0.9, 100, 0.95, 0.94)],
    )


def printed(found: Evaluation) -> list[str]:
    out = io.StringIO()
    print_evaluations(Console(file=out, width=80), "a network", [found], [])
    return out.getvalue().splitlines()


def test_few_classes_are_a_matrix_with_their_names():
    lines = printed(evaluation(["cat", "[red]dog", "cow"], {(1, 2): 3}))
    row = next(line for line in lines if "[red]dog" in line)
    assert row.split() == ["1", "[red]dog", "·", "17", "3", "85.00", "%"]


@pytest.mark.parametrize("data_of_run", [True, False, None])
def test_a_warning_says_that_the_run_was_trained_on_other_data(data_of_run):
    found = replace(evaluation(["cat", "dog"], {}), data_of_run=data_of_run, trained_on="mnist")
    text = " ".join(" ".join(printed(found)).split())
    assert ("trained on other data (mnist) than these (own)" in text) == (data_of_run is False)


def test_more_classes_than_fit_are_listed_with_their_commonest_mistakes():
    names = [f"kind {number}" for number in range(40)]
    lines = printed(evaluation(names, {(7, 3): 2, (7, 30): 4}))
    row = next(line for line in lines if line.strip().startswith("kind 7 "))
    assert row.split() == ["kind", "7", "20", "70.00", "%", "kind", "30", "(4),", "kind", "3", "(2)"]
    assert max(map(len, lines)) <= 80
    assert any(line.strip().startswith("kind 39") for line in lines)


def test_of_a_thousand_classes_the_worst_are_shown():
    names = [f"k{number}" for number in range(1000)]
    lines = printed(evaluation(names, {(number, 0): number % 19 for number in range(900, 1000)}))
    assert "The 62 worst classes" in "\n".join(lines)
    shown = [line.split()[0] for line in lines if line.strip().startswith("k")]
    assert shown[0] == "k911"  # the first with 18 of 20 wrong
    assert len(shown) == 62


@pytest.mark.parametrize("count", [2, 10, 47, 300])
def test_the_names_of_the_picture_do_not_cover_each_other(count):
    figure = confusion_figure(evaluation([f"${number}" for number in range(count)], {(1, 0): 2}), "a network")
    figure.draw_without_rendering()
    axes = figure.axes[0]
    labels = [label for label in axes.get_yticklabels() if label.get_text()]
    assert labels[0].get_text() == r"\$0"
    boxes = [label.get_window_extent() for label in labels]
    assert all(not one.overlaps(other) for one, other in itertools.pairwise(boxes))
    assert boxes[0].x0 >= 0
    numbers = {text.get_text() for text in axes.texts}
    assert ("18" in numbers) == (count < 300)


def test_a_page_lists_the_commonest_mistakes_of_many_classes():
    matrix = evaluation(list(map(str, range(40))), {(7, 3): 2, (7, 30): 4, (1, 2): 4}).confusion
    assert commonest_mistakes(matrix) == [(1, 2, 4), (7, 30, 4), (7, 3, 2)]
