"""The page of several runs, side by side."""

import statistics
from collections.abc import Sequence
from string import ascii_uppercase

from jaxmnist.report.facts import Pair, RunFacts
from jaxmnist.report.html.charts import Series, accuracy, line_chart, logarithmic
from jaxmnist.report.html.elements import Html, Section, element, joined, page, table
from jaxmnist.report.html.evaluation import classes_of_runs, confusion, percent, plural, shared_mistakes
from jaxmnist.report.html.run import column, duration, finite, footer, network, notes, rate_label
from jaxmnist.report.html.settings import what_differs

_STYLES = 8
_NONE = "-"


def page_of_runs(found: Sequence[RunFacts], pairs: Sequence[Pair]) -> Html:
    """Several runs: what differs in them, and in what they reached.

    Args:
        found: the runs.
        pairs: the errors of those that can be compared.
    """
    names = _letters(len(found))
    sections = [
        Section("results", "Results", _results(found, names)),
        Section("differences", "What differs", what_differs(found, names)),
        _section("curves", "Curves", _curves(found, names)),
        _section("pairs", "Errors on the same images", _pairs(found, names, pairs)),
        _section("shared", "Wrong in every run", _shared(found, names, pairs)),
        _section("classes", "Classes", _classes(found, names)),
        _section("confusion", "Confusion matrices", _confusions(found, names)),
        _section("networks", "Networks", _networks(found, names)),
    ]
    return page(
        "Run report",
        f"{len(found)} runs side by side",
        _lead(found, names),
        joined(_key(found, names), notes(found, names)),
        [section for section in sections if section is not None],
        footer(found),
    )


def _letters(count: int) -> list[str]:
    """A, B, ..., Z, AA, AB, ..."""
    letters = list(ascii_uppercase)
    while len(letters) < count:
        letters += [first + second for first in letters[-26:] for second in ascii_uppercase]
    return letters[:count]


def _section(anchor: str, title: str, content: Html | None) -> Section | None:
    return None if content is None else Section(anchor, title, content)


def _named(facts: RunFacts, name: str) -> str:
    return f"{name}: {facts.figures.name}, seed {facts.figures.seed}"


def _lead(found: Sequence[RunFacts], names: Sequence[str]) -> str:
    finished = [
        (facts.figures, name) for facts, name in zip(found, names, strict=True) if facts.figures.finished
    ]
    if len({figures.dataset for figures, _ in finished}) != 1:
        return "These runs are on different data, or none of them is finished."
    ranked = sorted(finished, key=lambda pair: -(pair[0].test_accuracy_of_best or 0.0))
    best, name = ranked[0]
    unfinished = len(found) - len(finished)
    rest = (
        f" {plural(unfinished, 'run')} of these {'is' if unfinished == 1 else 'are'} unfinished."
        if unfinished
        else ""
    )
    return (
        f"{name}, {best.name} with seed {best.seed}, has the highest test accuracy of a kept epoch: "
        f"{percent(best.test_accuracy_of_best)} on {best.dataset}.{rest}"
    )


def _key(found: Sequence[RunFacts], names: Sequence[str]) -> Html:
    """Which letter is which run, with what is said of it."""
    parts = [
        element(
            "div",
            element(
                "dt",
                element("span", name, class_=f"letter s{number % _STYLES}"),
                f" {facts.figures.name}, seed {facts.figures.seed}",
            ),
            element("dd", facts.verdict, element("code", facts.figures.run, class_="path")),
        )
        for number, (facts, name) in enumerate(zip(found, names, strict=True))
    ]
    return element("dl", parts, class_="runs")


def _results(found: Sequence[RunFacts], names: Sequence[str]) -> Html:
    columns = [_result_column(facts) for facts in found]
    # What no run has, as the published figures of a network that nobody published, would be a row of dashes.
    kept = [name for name in columns[0] if any(column[name] != _NONE for column in columns)]
    rows = [(name, *(column[name] for column in columns)) for name in kept]
    published = any(facts.figures.published for facts in found)
    caption = "Results" + (" beside the published ones" if published else "")
    body = table(("", *names), rows, caption=caption, class_="figures")
    words = "Points: last-five mean minus the published one; a single run has a standard error of about 0.07."
    return joined(body, element("p", words, class_="small")) if published else body


def _result_column(facts: RunFacts) -> dict[str, str]:
    figures, theirs = facts.figures, facts.figures.published
    last = next(iter(figures.test_accuracies[-1:]), None)
    seconds = [value for value in column(facts, "seconds") if finite([value])]
    return {
        "network": figures.name,
        "seed": str(figures.seed),
        "parameters": _NONE if facts.totals is None else f"{facts.totals.parameters:,}",
        "test accuracy": percent(figures.test_accuracy_of_best if figures.finished else last),
        "95 % interval": _NONE if facts.interval is None else "{:.2f} to {:.2f}".format(*facts.interval),
        "of epoch": str(figures.best_epoch) if figures.finished else f"{figures.epochs}, unfinished",
        "picked on": "nothing: the last" if figures.select_on == "last" else figures.select_on,
        "last-five mean": percent(figures.last_five_mean_test_accuracy),
        "published last-five mean": percent(theirs and theirs.last_five_mean),
        "points": _NONE if figures.difference is None else f"{figures.difference:+.2f}",
        "best of any epoch": percent(figures.best_test_accuracy),
        "published best": percent(theirs and theirs.best_test_accuracy),
        "training": duration(figures.seconds),
        "median epoch": f"{statistics.median(seconds):.1f} s" if seconds else _NONE,
    }


def _curves(found: Sequence[RunFacts], names: Sequence[str]) -> Html | None:
    charts = []
    rates, steps_of_rates = rate_label(found)
    for title, label, key, scale, steps in (
        ("Test accuracy", "percent, log scale of the error", "test_accuracy", accuracy, False),
        ("Test loss", "mean negative log-likelihood, log scale", "test_loss", logarithmic, False),
        ("Training loss", "on augmented images, log scale", "train_loss", logarithmic, False),
        ("Learning rate", rates, "learning_rate", logarithmic, steps_of_rates),
    ):
        lines = [
            Series(_named(facts, name), f"s{number % _STYLES}", column(facts, key))
            for number, (facts, name) in enumerate(zip(found, names, strict=True))
        ]
        lines = [line for line in lines if finite(line.values)]
        if lines:
            values = [value for line in lines for value in line.values]
            charts.append(line_chart(title, label, lines, scale(values), steps))
    return element("div", charts, class_="charts") if charts else None


def _pairs(found: Sequence[RunFacts], names: Sequence[str], pairs: Sequence[Pair]) -> Html | None:
    if not pairs:
        return None
    rows = []
    for pair in pairs:
        first, second = names[pair.first], names[pair.second]
        rows.append(
            (
                f"{first} and {second}",
                f"{pair.both_right:,}",
                f"{pair.both_wrong:,}",
                joined(f"{pair.only_first:,}", element("span", f" {first}", class_="quiet")),
                joined(f"{pair.only_second:,}", element("span", f" {second}", class_="quiet")),
                _p_value(pair.p_value),
                _conclusion(pair, first, second),
            )
        )
    headings = ("runs", "both right", "both wrong", "only first wrong", "only second wrong", "p", "")
    words = (
        "Of the best checkpoints. The images that only one of two runs gets wrong tell them apart. p is the "
        "probability of a split at least as uneven if both were equally good (McNemar's exact test); it knows these "
        "images and these two runs, not what another seed would give."
    )
    body = table(headings, rows, caption="Errors of each two runs on the same test images", class_="figures")
    return joined(element("p", words), body)


def _p_value(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"


def _conclusion(pair: Pair, first: str, second: str) -> str:
    if pair.p_value >= 0.05:
        return "no difference shown"
    return f"{first if pair.only_first < pair.only_second else second} is better"


def _shared(found: Sequence[RunFacts], names: Sequence[str], pairs: Sequence[Pair]) -> Html | None:
    everyone = len(pairs) == len(found) * (len(found) - 1) // 2
    return shared_mistakes(found, names) if everyone else None


def _classes(found: Sequence[RunFacts], names: Sequence[str]) -> Html | None:
    return classes_of_runs(found, names) if any(facts.evaluation for facts in found) else None


def _confusions(found: Sequence[RunFacts], names: Sequence[str]) -> Html | None:
    tables = [
        confusion(
            facts.evaluation, facts.classes, f"{_named(facts, name)}: true class (row), predicted (column)"
        )
        for facts, name in zip(found, names, strict=True)
        if facts.evaluation
    ]
    return element("div", tables, class_="matrices") if tables else None


def _networks(found: Sequence[RunFacts], names: Sequence[str]) -> Html | None:
    """Each network once."""
    groups: dict[str, list[int]] = {}
    for number, facts in enumerate(found):
        groups.setdefault(repr(facts.layers), []).append(number)
    tables = []
    for numbers in groups.values():
        who = ", ".join(names[number] for number in numbers)
        tables.append(network(found[numbers[0]], f"{found[numbers[0]].figures.arch} ({who})"))
    kept = [made for made in tables if made is not None]
    return joined(kept) if kept else None
