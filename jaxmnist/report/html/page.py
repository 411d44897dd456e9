"""The page of a report: one HTML file that loads nothing and runs no script."""

import base64
import functools
import io
import itertools
from collections.abc import Sequence
from string import ascii_uppercase

import jinja2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from jaxmnist.errors import counted, escaped
from jaxmnist.report.facts import Pair, RunFacts
from jaxmnist.report.html import charts, evaluation, settings
from jaxmnist.report.plots.preview import changes_in_words
from jaxmnist.runs.compare import MISSING


def page_of_run(run: RunFacts) -> str:
    """Returns the page of one run; the same run gives the same page."""
    changes = changes_in_words(run.config.recipe) if run.config else []
    return _render(
        "run.html",
        found=[run],
        names=[""],
        charts=charts.run_charts(run),
        mistakes=evaluation.misclassified([run], [""]) if run.evaluation else [],
        changes="; ".join(changes),
        strips=evaluation.strips(run.samples) if run.samples else [],
        configuration=settings.configuration(run),
        published_recipe=run.config is not None and settings.published_settings(run.config) is not None,
        environment=settings.environment(run),
    )


def page_of_runs(found: Sequence[RunFacts], pairs: Sequence[Pair]) -> str:
    """Returns the page of several runs side by side.

    Args:
        found: the runs.
        pairs: errors of the runs that were evaluated on the same images.
    """
    letters = [*ascii_uppercase, *map("".join, itertools.product(ascii_uppercase, repeat=2))]
    names = letters[: len(found)]
    titles = [
        f"{name}: {run.figures.name}, seed {run.figures.seed}" for run, name in zip(found, names, strict=True)
    ]
    with_environment = [(run, name) for run, name in zip(found, names, strict=True) if run.environment]
    groups: dict[str, list[str]] = {}
    for run, name in zip(found, names, strict=True):
        groups.setdefault(repr(run.layers), []).append(name)
    same_images = len(pairs) == len(found) * (len(found) - 1) // 2
    return _render(
        "runs.html",
        found=found,
        names=names,
        titles=titles,
        lead=_lead(found, names),
        results=_results(found),
        configuration=settings.differing([run.settings() for run in found]),
        environment=settings.differing([run.environment for run, _ in with_environment]),
        environment_names=[name for _, name in with_environment],
        charts=charts.comparison_charts(found, titles),
        pairs=pairs,
        same_images=same_images,
        mistakes=evaluation.misclassified(found, names) if same_images else [],
        networks=groups.values(),
        styles=charts.STYLES,
    )


def _results(found: Sequence[RunFacts]) -> dict[str, list[str]]:
    """Rows of the table of results; those without any figure are left out."""
    columns = []
    for run in found:
        cells = run.figures.cells()
        if run.totals:  # an unfinished run has no results with its parameters
            cells["parameters"] = f"{run.totals.parameters:,}"
        interval, median = run.interval, run.median_seconds
        cells["95 % interval of selected"] = "{:.2f} to {:.2f}".format(*interval) if interval else MISSING
        cells["seconds of median epoch"] = f"{median:.1f}" if median is not None else MISSING
        columns.append(cells)
    rows = {heading: [column[heading] for column in columns] for heading in columns[0]}
    return {heading: cells for heading, cells in rows.items() if set(cells) != {MISSING}}


def _lead(found: Sequence[RunFacts], names: Sequence[str]) -> str:
    finished = [(run.figures, name) for run, name in zip(found, names, strict=True) if run.figures.finished]
    if len({figures.dataset for figures, _ in finished}) != 1:
        return "The runs have no common ranking: they are on different datasets, or none is finished."
    best, name = max(finished, key=lambda pair: pair[0].test_accuracy_of_best or 0.0)
    unfinished = len(found) - len(finished)
    rest = (
        f" {counted(unfinished, 'run')} {'is' if unfinished == 1 else 'are'} unfinished."
        if unfinished
        else ""
    )
    return (
        f"Highest test accuracy of a selected epoch on {best.dataset}: {_percent(best.test_accuracy_of_best)}, by "
        f"{name} ({best.name}, seed {best.seed}).{rest}"
    )


def _render(template: str, **context: object) -> str:
    return _environment().get_template(template).render(contents=[], shown=evaluation.SHOWN, **context)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__ or "", ""),
        autoescape=True,
        # A number stays on the line of its percent sign.
        finalize=lambda value: (
            _printable(value).replace(" %", "\N{NO-BREAK SPACE}%") if isinstance(value, str) else value
        ),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    environment.filters |= {
        "percent": _percent,
        "plural": counted,
        "duration": lambda seconds: f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min",
        "data_uri": _data_uri,
        "most_confused": evaluation.most_confused,
        "commonest_mistakes": evaluation.commonest_mistakes,
    }
    return environment


def _percent(share: float | None) -> str:
    return MISSING if share is None else f"{share:.2f} %"


def _printable(text: str) -> str:
    # Markup is made of texts that went through here.
    return escaped(text, "\n") if type(text) is str else text


def _data_uri(pixels: UInt8[np.ndarray, "..."]) -> str:
    """A grey image, `[height, width]`, or `[height, width, 2]` with its opacity, as a PNG within the page."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
