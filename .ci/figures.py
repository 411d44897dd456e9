"""Figures in the documents, from the files that they follow from: `python .ci/figures.py [--write]`.

Each is a piece of a document, a line of a table most often, as the files in `docs/results` say it. It is found in the
document by its words; without `--write` a piece with other numbers is named and the exit code is 1.
"""

import json
import re
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))

from jaxmnist.experiments.statistics import between_seeds  # noqa: E402
from jaxmnist.runs.published import PUBLISHED  # noqa: E402
from tests.lr_range_table import table as lr_range_table  # noqa: E402

RESULTS = ROOT / "docs" / "results"
STUDIES = RESULTS / "studies"
FRONTIER = ROOT / "jaxmnist" / "experiments" / "frontier.json"

_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")


class Figure(NamedTuple):
    """A piece of a document as the files say it. The first cells of a line of a table are its label."""

    document: str
    text: str
    label_cells: int = 1

    def find(self, document: str) -> str:
        """Finds the piece in a document, with whatever numbers."""
        label = re.match(rf"\|([^|]*\|){{{self.label_cells}}}", self.text)
        end = label.end() if label else 0
        pattern = f"(?m:^){re.escape(self.text[:end])}" if label else ""
        place = end
        for number in _NUMBER.finditer(self.text, end):
            pattern += re.escape(self.text[place : number.start()]) + _NUMBER.pattern
            place = number.end()
        pattern += re.escape(self.text[place:])
        found = re.findall(pattern.replace(r"\ ", r"\s+"), document)
        if len(found) != 1:
            sys.exit(f"{self.document} has {len(found)} times: {self.text}")
        return found[0]


def read(path: str) -> Any:
    """Reads a file of results."""
    return json.loads((RESULTS / path).read_text())


def study(name: str) -> dict[str, Any]:
    """Returns the figures of a study: of its last epochs, in percent, and of its network."""
    summary = read(f"studies/{name}/summary.json")
    return summary | summary["last_epoch"]


def accuracies(name: str) -> list[list[float]]:
    """Returns the accuracies of each seed of a study, epoch by epoch."""
    lines = (STUDIES / name / "results.jsonl").read_text().splitlines()
    return [json.loads(line)["accuracies"] for line in lines]


def last_epochs(name: str) -> list[float]:
    """Returns the accuracy of each seed of a study in its last epoch."""
    return [one[-1] for one in accuracies(name)]


def mean(values: Mapping[str, Any], digits: int = 3) -> str:
    """Returns a mean with its interval."""
    return "{mean:.{d}f} ({low:.{d}f} to {high:.{d}f})".format(**values, d=digits)


def difference(values: Mapping[str, Any]) -> str:
    """Returns a difference with its interval."""
    return "{mean:+.3f} ({low:+.3f} to {high:+.3f})".format(**values)


def ratio(values: Mapping[str, Any], digits: int = 2) -> str:
    """Returns a median with its range."""
    return "{median:.{d}f} ({min:.{d}f} to {max:.{d}f})".format(**values, d=digits)


def figures() -> Iterator[Figure]:
    """Yields all figures."""
    for document, pieces in (
        ("README.md", _readme()),
        ("docs/performance.md", _performance()),
        ("docs/accuracy.md", _published()),
        ("docs/accuracy.md", _accuracy()),
        ("docs/accuracy.md", _frontier()),
        ("docs/accuracy.md", _small()),
        ("docs/accuracy.md", _ladder()),
        ("docs/going-on.md", _going_on()),
    ):
        yield from (Figure(document, piece) for piece in pieces)
    for line in lr_range_table(read("lr_range/table.json")["lines"]).splitlines()[2:]:
        yield Figure("docs/going-on.md", line, label_cells=2)


def _readme() -> Iterator[str]:
    flagship, third = study("flagship"), read("benchmark/third.json")["train"]["chunked"]
    interval = f"({flagship['low']:.3f} to {flagship['high']:.3f})"
    yield f"**{flagship['mean']:.3f} %** {interval} with {flagship['parameters']:,} parameters"
    pace = third["over_torch"]
    yield f"**{pace['median']:.1f} times** PyTorch ({pace['min']:.1f} to {pace['max']:.1f})"
    yield f"{third['over_best_torch']['median']:.1f} times the fastest of PyTorch's own variants"
    xeon = read("benchmark/xeon/third.json")["train"]["chunked"]["over_torch"]
    yield f"on a Xeon {xeon['median']:.1f} times ({xeon['min']:.1f} to {xeon['max']:.1f})"
    budgets = {
        "flagship": "8,000 parameters",
        "flagship_small": "5,340 parameters",
        "flagship_1000": "1,000 parameters",
        "fast": f"{statistics.median(_seconds()['fast']):.0f} seconds of training",
    }
    for name, label in budgets.items():
        found = study(name)
        yield f"| {label} | `{found['arch']}` | {found['parameters']:,} | `{found['recipe']}` | {mean(found)} |"


def _ratios(found: Mapping[str, Any]) -> str:
    step = found["train"]["chunked"]
    median, range_ = ratio(step["over_torch"]).split(" ", 1)
    others = (
        step["over_best_torch"],
        found["epoch"]["over_pipeline"],
        found["evaluate"]["jax"]["over_torch"],
    )
    return f"**{median}** {range_} | {' | '.join(map(ratio, others))}"


def _performance() -> Iterator[str]:
    peers = ("channels_last", "compiled", "processes")
    for name in ("first", "second", "third", "dilated"):
        found = read(f"benchmark/{name}.json")
        train = found["train"]
        times = [
            train[variant]["milliseconds"]["median"]
            for variant in ("chunked", "jitted", "torch", *(f"torch_{peer}" for peer in peers), "pipeline")
        ]
        yield f"| {name}, {found['recipe']['batch_size']} | {' | '.join(f'{time:.1f}' for time in times)} |"
        yield f"| {name} | {_ratios(found)} |"
        found = read(f"benchmark/xeon/{name}.json")
        time = found["train"]["chunked"]["milliseconds"]["median"]
        yield f"| {name}, on the Xeon | {time:.1f} | {_ratios(found)} |"
    earlier, names = (
        read("benchmark/earlier/third.json")["train"],
        {
            "un-jitted step": "unjitted",
            "jitted step, a call per step": "jitted",
            "chunked, as `train` runs": "chunked",
            "four seeds in one program, side by side": "at_once",
            "four seeds in one program, one after the other": "in_a_row",
            "PyTorch 2.13, eager, data in memory, no augmentation": "torch",
            "PyTorch 2.13, eager, the sources' pipeline: torchvision in a DataLoader": "pipeline",
        },
    )
    for label, variant in names.items():
        pace = earlier[variant]["images_per_second"]
        range_ = f"{pace['median']:,.0f} ({pace['min']:,.0f}-{pace['max']:,.0f})"
        yield f"| {label} | {range_} | {64_000 / pace['median']:.1f} |"  # ms of a step of 64 images
    for found in read("benchmark/all.json")["results"]:
        chunked, batch = found["train"]["chunked"], found["recipe"]["batch_size"]
        pace, time, gflops, share = (
            value["median"] if isinstance(value := chunked[name], dict) else value
            for name in ("images_per_second", "milliseconds", "gflops", "of_peak")
        )
        yield f"| {found['arch']} | {batch} | {pace:,.0f} | {time:.1f} | {gflops:.0f} | {100 * share:.0f} % |"
    for name in ("first", "second", "third"):
        found = read(f"benchmark/profile-{name}.json")
        times = {kind: sum(parts.values()) for kind, parts in found["kinds"].items()}
        shares = [times[kind] for kind in ("products", "loops", "stacking", "sums", "padding")]
        percents = (100 * time / sum(times.values()) for time in (*shares, found["layers"]["conv2"]))
        yield f"| {name} | {' | '.join(f'{percent:.0f}' for percent in percents)} |"
    start = read("benchmark/start.json")["start"]
    cold, warm = (
        ratio(start[name]["first_progress_seconds"], 1).replace(" (", " s (") for name in ("cold", "warm")
    )
    yield f"starts to show progress after {cold} when everything has to be compiled"
    yield f"and after {warm} with the compile cache of an earlier run"
    memory = {name: value / 1000 for name, value in start["cold"]["peak_megabytes"].items()}
    yield f"It takes {ratio(memory).replace(' (', ' GB (')} of memory at its peak"


def _published() -> Iterator[str]:
    for theirs in PUBLISHED:
        runs = accuracies(f"published/{theirs.system}")
        means, bests = [statistics.fmean(run[-5:]) for run in runs], [max(run) for run in runs]
        log = theirs.last_five_mean
        cells = (
            f"**{statistics.fmean(means):.2f}**{_spread(means)}",
            "-" if log is None else f"{log:.2f}",
            f"{statistics.fmean(bests):.2f}{_spread(bests)}",
            f"{theirs.best_test_accuracy:.2f}",
        )
        yield f"| {theirs.system} | {theirs.parameters:,} | {len(runs)} | {' | '.join(cells)} |"


def _spread(values: Sequence[float]) -> str:
    return f" ({min(values):.2f} to {max(values):.2f})"


def _seconds() -> dict[str, list[float]]:
    """Returns the seconds of trainings by recipe."""
    seconds: dict[str, list[float]] = {}
    for run in read("timing/comparison.json")["runs"]:
        seconds.setdefault(run["recipe"], []).append(run["seconds"])
    return seconds


def _accuracy() -> Iterator[str]:
    for name in ("flagship", "flagship_small", "fast"):
        found = study(name)
        settled = f"{round(found['share_settled'] * found['count'])} of {found['count']}"
        yield f"{_row(found)} {found['standard_deviation']:.3f} | {_range(found)} | {settled} |"
    tilts = read("tilts.json")["networks"]
    for tilt in tilts["flagship_small"]:
        counts = (tilts[name][tilt] for name in ("flagship_small", "flagship_2500"))
        cells = (f"{one['errors']} ({one['mended']}, {one['made']})" for one in counts)
        yield f"| {tilt} | {' | '.join(cells)} |"
    for name in ("flagship", "third", "flagship_small", "second", "flagship_2500"):
        found = study(f"without_tilt/{name}")
        yield f"| {name} | {mean(found)} | {_gain(name, 'without_tilt')} |"
    tried = study("frontier/tilt-8")
    yield f"{tried['count']} seeds of `flagship_small` with it had been seen on the test images ({tried['mean']:.3f})"
    for name in ("flagship", "fast", "third", "flagship_small", "second"):
        found = study(name if name == "fast" else f"without_tilt/{name}")
        plain = found["plain_last_epoch"]
        gain = f"{found['mean'] - plain['mean']:+.3f}"
        yield f"| {found['arch']} | {found['recipe']} | {mean(plain)} | {gain} |"
    for name in ("third", "flagship_small", "second", "dilated", "first"):
        found = study(f"without_deskew/{name}")
        gain = _gain(f"without_tilt/{name}", "without_deskew")
        yield f"| {name} | {found['parameters']:,} | {mean(found)} | {gain} |"
    yield f"`dilated` only together with three views: that has {mean(study('dilated'))}"
    for name in ("challenge_gap", "challenge_final", "step3"):
        found = study(f"without_tilt/{name}")
        mean_ = f"**{found['mean']:.3f}** | {found['low']:.3f} to {found['high']:.3f}"
        yield f"| {name} | {found['parameters']:,} | {found['count']} | {mean_} | {_range(found)} |"
    found = study("without_tilt/fashion_mnist")
    median, interval = mean(found).split(" ", 1)
    low, high = f"{found['minimum']:.2f}", f"{found['maximum']:.2f}"
    yield f"images seen once, has **{median}** {interval}, ten seeds between {low} and {high}"


def _gain(name: str, without: str) -> str:
    """Returns the difference of a study from the one of its network in another folder; nothing where one is missing."""
    other = f"{without}/{name.rpartition('/')[2]}"
    if not all((STUDIES / one / "results.jsonl").is_file() for one in (name, other)):
        return ""
    return difference(vars(between_seeds(last_epochs(name), last_epochs(other))))


def _row(found: Mapping[str, Any]) -> str:
    """Returns the beginning of a line on a study with its mean."""
    cells = f"{found['parameters']:,} | {found['recipe']} | {found['epochs']} | {found['count']}"
    return (
        f"| {found['arch']} | {cells} | **{found['mean']:.3f}** | {found['low']:.3f} to {found['high']:.3f} |"
    )


def _range(found: Mapping[str, Any]) -> str:
    return f"{found['minimum']:.2f} to {found['maximum']:.2f}"


def _frontier() -> Iterator[str]:
    choices = json.loads(FRONTIER.read_text())["choices"]
    studies = [study(path.parent.name) for path in STUDIES.glob("*/summary.json")]
    by_names = {(one["arch"], one["recipe"]): one for one in studies if one["dataset"] == "mnist"}
    for choice in choices:
        if choice["arch"].startswith("flagship"):
            found = by_names[choice["arch"], choice["recipe"]]
            yield f"{_row(found)} {_range(found)} |"
    for name, most, goal in (
        ("flagship", "below 8,000", 99.6),
        ("flagship_small", "at most 5,340", 99.55),
        ("flagship_2500", "at most 2,500", 99.4),
        ("flagship_1000", "at most 1,000", 99.15),
        ("flagship_500", "at most 500", 98.4),
    ):
        yield f"| {most} parameters | {goal:.2f} | {_verdict(study(name), goal)} |"
    fewest = min((one for one in choices if one["accuracy"] >= 99), key=lambda one: one["parameters"])
    found = f"{fewest['parameters']} with {mean(fewest | {'mean': fewest['accuracy']})}"
    yield f"| fewest parameters with 99.00 | 850 | {'reached' if fewest['parameters'] <= 850 else 'missed'}: {found} |"
    for name, goal in (("third", 99.56), ("second", 99.42), ("dilated", 99.53)):
        yield f"| `{name}` by `flagship` | {goal:.2f} | {_verdict(study(name), goal)} |"
    shorter = {
        "sprint": "flagship_small | 3 | once | `sprint`",
        "two": "flagship_small | 2 | three views | ",
        "two_weaker": "flagship_small | 2 | three views | weaker augmentation",
        "two_batch_128": "flagship_small | 2 | three views | batch 128, rate 0.2",
        "two_weaker_batch_128": "flagship_small | 2 | three views | both",
        "dash": "flagship_small | 1 | once | `dash`",
        "dash_2500": "flagship_2500 | 1 | three views | ",
        "dash_2500_weaker": "flagship_2500 | 1 | three views | weaker augmentation",
    }
    for name, cells in shorter.items():
        yield f"| {cells} | {mean(study(f'seconds/{name}'))} |"
    seconds = _seconds()
    for recipe, arch, most, goal in (
        ("dash", "flagship_small", 5, 99.0),
        ("sprint", "flagship_small", 10, 99.4),
        ("fast", "flagship", 25, 0.0),
    ):
        values = sorted(seconds[recipe])
        median = statistics.median(values)
        range_ = ratio({"median": median, "min": values[0], "max": values[-1]}, 1)
        reached = "missed" if median > most else "reached"
        yield f"| {recipe} | {arch} | {len(values)} | {range_} | {most}: {reached} |"
        if goal:
            yield (
                f"| {median:.1f} s of training on two cores | {goal:.2f} in {most} s | "
                f"{reached}: {mean(study(recipe))} |"
            )
    for name, phrase in (
        ("frontier/dash-val", "has {} on `val`, four seeds; two have"),
        ("frontier/two-epochs-val", "four seeds; two have {}."),
        ("frontier/dense_1000", "985 parameters had {}."),
        ("frontier/levers/2473-tiny", "2,473 parameters have {}."),
        ("frontier/levers/val-distilled", "(weight 0.5, temperature 4) {}, without it"),
        ("frontier/levers/val-tiny", ", without it {}."),
    ):
        yield phrase.format(mean(study(name)))
    interval = mean(study("frontier/two-epochs")).removesuffix(")")
    yield f"two epochs have {interval}, six seeds;"


def _verdict(found: Mapping[str, Any], goal: float) -> str:
    return f"{'reached' if found['mean'] >= goal else 'missed'}: {mean(found)}"


def _small() -> Iterator[str]:
    at_500 = _members("kernels/at-500")
    kernels = {
        "four at 500: mean, two slopes, spot": study("frontier/kernels/four-492"),
        "six at 500: the polynomials of second degree": study("frontier/kernels/six-490"),
        "two factors at 500: a filter for each input, a mix of inputs": at_500["B490"],
        "two factors at 500, one layer fewer": at_500["B458"],
        "nine at 500": at_500["Dense496"],
        "four at 1,000": study("frontier/kernels/four-920"),
        "six at 1,000": study("frontier/kernels/six-962"),
        "nine at 1,000": study("frontier/levers/tiny"),
        "four at 2,500": study("frontier/kernels/four-2414"),
        "nine at 2,500": study("frontier/kernels/nine-2473"),
    }
    channels = (
        *("4, 4, 4, 4, 4", "4, 3, 3, 3, 3", "3, 4, 6, 6, 6", "3, 5, 7, 7", "4, 3, 2, 2, 2", "6, 6, 6, 6, 6"),
        *("4, 5, 5, 5, 5", "3, 4, 4, 4, 4", "10, 11, 11, 11, 10", "6, 7, 7, 7, 7"),
    )
    for (label, found), of in zip(kernels.items(), channels, strict=True):
        yield f"| {label} | {of} | {found['parameters']:,} | {mean(found)} |"
    for label, recipe, without, name in (
        ("920 parameters, four numbers a kernel", "tiny", "kernels/four-920", "four-920"),
        ("985 parameters, nine", "tiny", "levers/tiny", "nine-985"),
        ("2,473 parameters, nine", "flagship", "kernels/nine-2473", "nine-2473"),
    ):
        pair = mean(study(f"frontier/{without}")), mean(study(f"frontier/rescale/{name}"))
        yield f"| {label} | {recipe} | {' | '.join(pair)} |"
    for name, label in (
        ("A985", "3, 4, pooling, 4, 4d, 4d, 3x3 to 10 d"),
        ("B953", "3, 5, pooling, 5, 5d, 5d, 1x1 to 10"),
        ("C864", "4, 4, pooling, 4, 4d, 4d, 4d, 1x1 to 10"),
        ("A505", "3, 3, pooling, 3, 2d, 2d, 3x3 to 10 d"),
        ("B496", "2, 3, pooling, 3, 4d, 4d, 1x1 to 10"),
    ):
        found = _members("forms")[name]
        yield f"| {label} | {found['parameters']:,} | {mean(found)} |"
    for name, label in (
        ("Twos", "2, 2, 2 | maximum"),
        ("Smoothed", "2, 2, 2 | maximum, smoothed by 1, 2, 1"),
        ("OneTwoThree", "1, 2, 3 | maximum"),
    ):
        yield f"| {label} | {mean(study(f'frontier/windows/{name}'))} |"
    for name, label, of in (
        ("A985", "a, b, c, d", 4),
        ("C998", "a, a, a, a, wide", 6),
        ("R841", "a, b, c, c", 4),
        ("C790", "a, a, a, a", 5),
        ("D744", "a, a, c, c", 4),
        ("R849x3", "a, b, c, c, c", 4),
        ("C600", "a, a, a, a, narrow", 4),
        ("C428", "a, a, a, a, narrowest", 3),
    ):
        found = _members("shared")[name]
        yield f"| {label} | {of} | {found['parameters']} | {mean(found)} |"
    for name, label in (
        ("tiny", "none"),
        ("average-0.9995", "average 0.9995"),
        ("decay-1e-4", "weight decay 1e-4"),
        ("adamw", "AdamW, rate 0.02"),
        ("rate-0.4", "rate 0.4"),
        ("elastic", "elastic change 8, sigma 4"),
        ("batch-128", "batch 128, rate 0.28"),
        ("he", "He initialisation"),
        ("no-augmentation", "no augmentation"),
        ("rate-0.1", "rate 0.1"),
        ("batch-32", "batch 32, rate 0.14"),
    ):
        yield f"| {label} | {mean(study(f'frontier/levers/{name}'))} |"


def _members(name: str) -> dict[str, dict[str, Any]]:
    """Returns the figures of a sweep's members by the class of their network."""
    lines = (STUDIES / "frontier" / name / "results.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return {one["values"]["arch"].rpartition(":")[2]: one | one["last_epoch"] for one in found}


def _ladder() -> Iterator[str]:
    steps = (
        "the recipe `third`: SGD at 0.01, a plateau schedule, rotation 8 degrees, shifts 10 %",
        "one-cycle to 0.1 instead",
        "Nesterov, weight decay 1e-4 on kernels",
        "weights and statistics averaged at 0.999",
        "rotation 10 degrees, shifts 4 %, scale 10 %, bilinear",
    )
    changes = {
        "nearest pixel": "augmentation reads the nearest pixel",
        "no Nesterov": "plain momentum instead of Nesterov's",
        "recipe fast": "recipe `fast`",
    }
    for number, found in enumerate(read("studies/ladder/steps/comparison.json")["studies"]):
        yield _compared(steps[number], found)
    for found in read("studies/ladder/changes/comparison.json")["studies"]:
        yield _compared(changes.get(found["study"], found["study"]), found)


def _compared(label: str, found: Mapping[str, Any]) -> str:
    last, gain = found["last_epoch"], found["difference"]
    cells = f"{last['count']} | {mean(last)} | {found['last_loss']['mean']:.4f}"
    return f"| {label} | {cells} | {difference(gain) if gain else ''} |"


def _going_on() -> Iterator[str]:
    found = read("fine_tuning.json")
    for data, label in (
        ("letters", "letters B, R, K"),
        ("clothes", "pullover, coat, shirt of Fashion-MNIST"),
    ):
        values = found[data]["fine-tuned"]
        yield f"| {label}: fine-tuned | {values['mean']:.1f} | {values['low']:.1f} to {values['high']:.1f} |"
    yield f"after one epoch of MNIST ({found['source']['test accuracy']:.2f} % on its test images)"


def differences() -> Iterator[tuple[Figure, str]]:
    """Yields the figures whose text in the document is not that of the files, with the text there."""
    for figure in figures():
        found = figure.find((ROOT / figure.document).read_text())
        if " ".join(found.split()) != " ".join(figure.text.split()):
            yield figure, found


def main() -> None:
    """Compares every figure with its file, and with `--write` corrects the documents."""
    different = list(differences())
    for figure, found in different:
        print(f"{figure.document}: {' '.join(found.split())!r} is now {figure.text!r}")
        if "--write" in sys.argv:
            document = ROOT / figure.document
            document.write_text(document.read_text().replace(found, figure.text))
    sys.exit(bool(different) and "--write" not in sys.argv)


if __name__ == "__main__":
    main()
