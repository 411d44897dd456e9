"""What a network got right and wrong, for a page: confusion matrix, classes, mistakes, augmentation."""

from collections.abc import Sequence

import numpy as np

from jaxmnist.inference.evaluate import Evaluation, Mistake
from jaxmnist.report.facts import RunFacts, Samples
from jaxmnist.report.html.elements import Html, element, joined, picture, scrolling, table, table_caption

_SHOWN = 40
_GAP = 2  # pixels of an image between two images
_NONE = "-"


def confusion(evaluation: Evaluation, classes: Sequence[str], caption: str) -> Html:
    """The confusion matrix as a table: the more often a mistake, the stronger its ground."""
    matrix = np.array(evaluation.confusion)
    most = max(1, (matrix - np.diag(np.diag(matrix))).max())
    numbers = [str(number) for number in range(len(matrix))]
    head = [element("th", "true", scope="col"), *(element("th", number, scope="col") for number in numbers)]
    rows = []
    for label, counts in enumerate(matrix.tolist()):
        cells = [_cell(count, label == column, count / most) for column, count in enumerate(counts)]
        rows.append(element("tr", element("th", classes[label], scope="row"), cells))
    content = (
        table_caption(caption, seen=True),
        element("thead", element("tr", head)),
        element("tbody", rows),
    )
    return scrolling(element("table", *content, class_="confusion"), caption)


def classes_of_run(evaluation: Evaluation, classes: Sequence[str]) -> Html:
    """Accuracy by class, with a bar for the errors: those differ, the accuracies hardly do."""
    matrix = np.array(evaluation.confusion)
    images, right = matrix.sum(1).tolist(), np.diag(matrix).tolist()
    errors = [total - hits for total, hits in zip(images, right, strict=True)]
    rows = [
        (name, f"{images[i]:,}", percent(share), f"{errors[i]:,}", _bar(errors[i], max(1, *errors)))
        for i, (name, share) in enumerate(zip(classes, evaluation.class_accuracies, strict=True))
    ]
    headings = ("class", "images", "correct", "errors", "")
    return table(headings, rows, caption="Accuracy of each class", class_="figures classes")


def classes_of_runs(found: Sequence[RunFacts], names: Sequence[str]) -> Html:
    """Accuracy by class of several runs, with the errors behind it."""
    columns = [facts.evaluation for facts in found]
    classes = next(facts.classes for facts in found if facts.evaluation)
    rows = []
    for label, name in enumerate(classes):
        cells = []
        for evaluation in columns:
            if evaluation is None:
                cells.append(_NONE)
                continue
            counts = evaluation.confusion[label]
            share = percent(evaluation.class_accuracies[label])
            errors = element("span", f" {plural(sum(counts) - counts[label], 'error')}", class_="quiet")
            cells.append(joined(share, errors))
        rows.append((name, *cells))
    return table(("class", *names), rows, caption="Accuracy of each class", class_="figures by-class")


def mistakes(facts: RunFacts) -> Html:
    """Pictures of the mistakes, the most confident first."""
    assert facts.evaluation is not None
    everything = facts.evaluation.mistakes
    if not everything:
        return element("p", "There is none.")
    shown = everything[:_SHOWN]
    which = (
        f"The {len(shown)} most confident of {len(everything):,}"
        if len(shown) < len(everything)
        else "All of them"
    )
    return joined(
        element(
            "p",
            f"{which}, the most confident first: true class, answer, its probability, #number of the image.",
        ),
        element("div", (_mistake(facts, mistake) for mistake in shown), class_="gallery"),
    )


def shared_mistakes(found: Sequence[RunFacts], names: Sequence[str]) -> Html:
    """Pictures of what every run gets wrong; all have classified the same images."""
    answers = [
        {mistake.index: mistake for mistake in facts.evaluation.mistakes}
        for facts in found
        if facts.evaluation
    ]
    common = set.intersection(*(set(answer) for answer in answers))
    if not common:
        return element("p", "There is no image that all of them get wrong.")
    ranked = sorted(common, key=lambda index: (-min(answer[index].confidence for answer in answers), index))
    classes, figures = found[0].classes, []
    for index in ranked[:_SHOWN]:
        label = classes[answers[0][index].label]
        said = [classes[answer[index].prediction] for answer in answers]
        alt = f"Test image {index}, a {label}, taken for {', '.join(said)}"
        agreed = len(set(said)) == 1
        text = (
            said[0]
            if agreed
            else ", ".join(f"{name} {answer}" for name, answer in zip(names, said, strict=True))
        )
        taken = (element("b", label), " taken for ", element("b", text) if agreed else text)
        caption = element("figcaption", *taken, element("span", f"#{index}"))
        figures.append(element("figure", picture(found[0].pictures[index], alt), caption))
    which = f"The first {_SHOWN} of {len(ranked):,}" if len(ranked) > _SHOWN else f"{len(ranked):,}"
    words = f"{which}, those that all are surest of first: true class, answer, #number of the image."
    return joined(element("p", words), element("div", figures, class_="gallery"))


def augmentation(samples: Samples, changes: Sequence[str]) -> Html:
    """Training images, and below them versions as training may see them."""
    versions = np.clip(np.rint(samples.versions), 0, 255).astype(np.uint8)
    words = f"{'; '.join(changes)}. Each step draws anew."
    return joined(
        element("p", words[0].upper() + words[1:]),
        _strip(samples.originals[None], "Originals", f"{len(samples.originals)} training images as they are"),
        _strip(
            versions, "As training may see them", f"{len(versions)} random versions of each of these images"
        ),
    )


def percent(share: float | None) -> str:
    """Two digits, or a dash for what there is none of."""
    return _NONE if share is None else f"{share:.2f} %"


def plural(count: int, noun: str) -> str:
    """A number with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _cell(count: int, right: bool, heat: float) -> Html:
    if right:
        return element("td", str(count), class_="right")
    if not count:
        return element("td", "·", class_="none")
    return element("td", str(count), class_="wrong", style=f"--heat:{heat:.2f}")


def _bar(value: int, most: int) -> Html:
    return element("span", class_="bar", style=f"--share:{value / most:.3f}", aria_hidden="true")


def _mistake(facts: RunFacts, mistake: Mistake) -> Html:
    label, answer = facts.classes[mistake.label], facts.classes[mistake.prediction]
    share, number = f"{100 * mistake.confidence:.1f} %", mistake.index
    alt = f"Test image {number}, a {label}, taken for {answer}"
    caption = (
        element("b", label),
        " taken for ",
        element("b", answer),
        element("span", f"{share} #{number}"),
    )
    return element("figure", picture(facts.pictures[number], alt), element("figcaption", *caption))


def _strip(images: np.ndarray, caption: str, alt: str) -> Html:
    """Rows of images in one picture, with gaps that the page shines through."""
    ink = np.stack([images, np.full_like(images, 255)], axis=-1)
    tiles = np.pad(ink, ((0, 0), (0, 0), (0, _GAP), (0, _GAP), (0, 0)))
    rows, _, side = tiles.shape[:3]
    mosaic = tiles.transpose(0, 2, 1, 3, 4).reshape(rows * side, -1, 2)[:-_GAP, :-_GAP]
    return element("figure", picture(mosaic, alt), element("figcaption", caption), class_="strip")
