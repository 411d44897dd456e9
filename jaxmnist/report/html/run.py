"""The page of one run."""

import math
import statistics
from collections.abc import Sequence

from jaxmnist.report.facts import RunFacts
from jaxmnist.report.html.charts import Series, accuracy, bar_chart, line_chart, logarithmic
from jaxmnist.report.html.elements import Html, Section, element, joined, page, table
from jaxmnist.report.html.evaluation import augmentation, classes_of_run, confusion, mistakes, percent, plural
from jaxmnist.report.html.settings import configuration, environment
from jaxmnist.report.plots.preview import changes_in_words

SPLITS = {
    "train": "train (augmented, while training)",
    "val": "val",
    "test": "test",
    "plain_val": "val, weights not averaged",
    "plain_test": "test, weights not averaged",
}
_NONE = "-"


def page_of_run(facts: RunFacts) -> Html:
    """All there is to say of one run; the same run gives the same page."""
    figures = facts.figures
    sections = [
        _section("results", "Results", _results(facts)),
        _section("network", "Network", network(facts)),
        _section("curves", "Curves", _curves(facts)),
        _section("confusion", "Confusion matrix", _confusion(facts)),
        _section("classes", "Classes", _classes(facts)),
        _section("mistakes", "Mistakes", mistakes(facts) if facts.evaluation else None),
        _section("augmentation", "Augmentation", _augmentation(facts)),
        _section("configuration", "Configuration", configuration(facts)),
        _section("environment", "Environment", environment(facts)),
    ]
    return page(
        "Run report",
        f"{figures.name} on {figures.dataset}",
        facts.verdict,
        joined(_facts(facts), notes([facts])),
        [section for section in sections if section is not None],
        footer([facts]),
    )


def notes(found: Sequence[RunFacts], names: Sequence[str] = ("",)) -> list[Html]:
    """Boxes with what is missing."""
    texts = [
        f"{name}: {note}" if name else note
        for name, facts in zip(names, found, strict=True)
        for note in facts.notes
    ]
    return [element("p", text, class_="notice") for text in texts]


def footer(found: Sequence[RunFacts]) -> str:
    """Where a page comes from."""
    return (
        f"Made by jaxmnist from {', '.join(facts.figures.run for facts in found)}. This page loads nothing."
    )


def network(facts: RunFacts, name: str = "") -> Html | None:
    """The layers and their sums."""
    if facts.totals is None:
        return None
    rows, classes = [], []
    for layer in facts.layers:
        numbers = (layer.parameters, layer.statistics, layer.multiply_adds, layer.receptive_field)
        shape = " x ".join(map(str, layer.output_shape))
        rows.append((layer.name, layer.kind, shape, *(f"{value:,}" if value else "" for value in numbers)))
        classes.append(None if layer.parameters else "quiet")
    sums = facts.totals
    rows.append(
        ("total", "", "", f"{sums.parameters:,}", f"{sums.statistics:,}", f"{sums.multiply_adds:,}", "")
    )
    headings = ("layer", "kind", "output", "parameters", "statistics", "multiply-adds", "field")
    caption = f"Layers of {name or facts.figures.arch}; multiply-adds of one image, field in pixels"
    return table(
        headings, rows, caption=caption, seen=True, class_="figures layers", row_classes=[*classes, "total"]
    )


def finite(values: Sequence[float]) -> bool:
    """Whether there is anything to draw."""
    return any(math.isfinite(value) for value in values)


def column(facts: RunFacts, key: str) -> list[float]:
    """A column of the metrics; not a number where an epoch has none."""
    return [float(row.get(key, math.nan)) for row in facts.rows]


def _section(anchor: str, title: str, content: Html | None) -> Section | None:
    return None if content is None else Section(anchor, title, content)


def _facts(facts: RunFacts) -> Html:
    figures = facts.figures
    values = {"parameters": None if facts.totals is None else f"{facts.totals.parameters:,}"}
    if figures.finished:
        values["last-five mean"] = percent(figures.last_five_mean_test_accuracy)
        theirs = figures.published and figures.published.last_five_mean
        values["published"] = percent(theirs) if theirs else None
    values["epochs"] = (
        str(figures.epochs) if figures.finished else f"{figures.epochs} of {figures.recipe_epochs}"
    )
    values["training"] = duration(figures.seconds)
    values["seed"] = str(figures.seed)
    pairs = (
        element("div", element("dt", name), element("dd", value)) for name, value in values.items() if value
    )
    return element("dl", pairs, class_="facts")


def duration(seconds: float) -> str:
    """A time, in seconds or minutes."""
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _results(facts: RunFacts) -> Html | None:
    if facts.results is None:
        return None
    figures, results = facts.figures, facts.results
    theirs = figures.published
    kept = _KEPT.get(figures.select_on, "")
    best = results.get("best_train_accuracy")
    final = results.get("final_test_accuracy")
    rows = [
        (
            f"test accuracy of epoch {figures.best_epoch}{kept}",
            percent(figures.test_accuracy_of_best),
            None,
        ),
        (
            "test accuracy, mean of the last five epochs",
            percent(figures.last_five_mean_test_accuracy),
            theirs and theirs.last_five_mean,
        ),
        (
            f"best test accuracy of any epoch ({figures.best_test_epoch})",
            percent(figures.best_test_accuracy),
            theirs and theirs.best_test_accuracy,
        ),
        ("test accuracy of the last epoch", percent(final if isinstance(final, float | int) else None), None),
        (
            "best train accuracy, on augmented images",
            percent(best if isinstance(best, float | int) else None),
            theirs and theirs.best_train_accuracy,
        ),
    ]
    if figures.select_on == "last":
        del rows[3]
    if theirs is None:
        return table(("figure", "this run"), [row[:2] for row in rows], caption="Results", class_="figures")
    cells = [(name, ours, percent(published)) for name, ours, published in rows]
    body = table(
        ("figure", "this run", "published"),
        cells,
        caption="Results beside the published ones",
        class_="figures",
    )
    note = (
        "The published run picked its best epoch on the test images; the mean of the last five is the fairer figure. "
        "One accuracy on 10,000 images has a standard error of about 0.07 points."
    )
    return joined(body, element("p", note, class_="small"))


_KEPT = {
    "val": ", picked on held-out training images (val)",
    "test": ", picked on the test images",
    "last": ", the last one, which is kept; nothing was picked",
}


def _curves(facts: RunFacts) -> Html | None:
    if not facts.rows:
        return None
    charts: list[Html] = []
    loss = [Series(name, split, column(facts, f"{split}_loss")) for split, name in SPLITS.items()]
    share = [Series(name, split, column(facts, f"{split}_accuracy")) for split, name in SPLITS.items()]
    loss, share = ([line for line in lines if finite(line.values)] for lines in (loss, share))
    theirs = facts.figures.published
    if share and theirs is not None and theirs.correct:
        share.append(Series("test, published run", "published", theirs.test_accuracies, theirs.first_epoch))
    if share:
        scale = accuracy(_all(share))
        charts.append(line_chart("Accuracy", "percent, log scale of the error", share, scale))
    if loss:
        label = "mean negative log-likelihood, log scale"
        charts.append(line_chart("Loss", label, loss, logarithmic(_all(loss))))
    rates = [Series("learning rate", "rate", column(facts, "learning_rate"))]
    if finite(rates[0].values):
        label, steps = rate_label([facts])
        charts.append(line_chart("Learning rate", label, rates, logarithmic(rates[0].values), steps))
    seconds = column(facts, "seconds")
    words = ""
    if finite(seconds):
        charts.append(bar_chart("Time", "seconds of each epoch, its evaluation included", seconds))
        known = [value for value in seconds if math.isfinite(value)]
        words = f"{duration(math.fsum(known))} in all, {statistics.median(known):.1f} s for the median epoch."
    drawn = element("div", charts, class_="charts")
    return joined(drawn, element("p", words, class_="small") if words else "", _every_epoch(facts))


def rate_label(found: Sequence[RunFacts]) -> tuple[str, bool]:
    """How learning rates are drawn: as what holds for an epoch, unless a schedule changes them at every step."""
    if any(facts.config is not None and facts.config.recipe.schedule is not None for facts in found):
        return "at the end of each epoch, log scale", False
    return "log scale", True


def _all(lines: Sequence[Series]) -> list[float]:
    return [value for line in lines for value in line.values]


def _every_epoch(facts: RunFacts) -> Html:
    splits = [split for split in SPLITS if finite(column(facts, f"{split}_accuracy"))]
    keys = [f"{split}_{metric}" for metric in ("accuracy", "loss") for split in splits]
    formats = {"accuracy": "{:.2f}", "loss": "{:.4f}"}
    rows = [
        (
            str(row.get("epoch", _NONE)),
            *(formats[key.rsplit("_", 1)[1]].format(row.get(key, math.nan)) for key in keys),
            f"{row.get('learning_rate', math.nan):.4g}",
            f"{row.get('seconds', math.nan):.1f}",
        )
        for row in facts.rows
    ]
    headings = ("epoch", *(key.replace("_", " ") for key in keys), "learning rate", "seconds")
    body = table(headings, rows, caption="Every epoch", class_="figures")
    return element("details", element("summary", "Every epoch in figures"), body)


def _confusion(facts: RunFacts) -> Html | None:
    evaluation = facts.evaluation
    if evaluation is None:
        return None
    when = f"step {evaluation.step}" if evaluation.epoch is None else f"epoch {evaluation.epoch}"
    caption = f"True class (row), predicted class (column); best checkpoint, of {when}"
    errors = f"{plural(evaluation.errors, 'error')} among {evaluation.examples:,} test images"
    return joined(element("p", f"{errors}."), confusion(evaluation, facts.classes, caption))


def _classes(facts: RunFacts) -> Html | None:
    return classes_of_run(facts.evaluation, facts.classes) if facts.evaluation else None


def _augmentation(facts: RunFacts) -> Html | None:
    if facts.config is None:
        return None
    changes = changes_in_words(facts.config.recipe)
    if not changes:
        return element("p", "The recipe does not augment: training sees its images as they are.")
    if facts.samples is None:
        return element("p", f"{'; '.join(changes)}.")
    return augmentation(facts.samples, changes)
