"""The report: the facts on a page, its escaping, its layout, and that it loads nothing."""

import dataclasses
import json
import math
import os
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import jax
import pytest

from jaxmnist.cli import main as cli
from jaxmnist.config import Averaging, Schedule, get_recipe
from jaxmnist.config.seal import sealed
from jaxmnist.experiments.statistics import mcnemar
from jaxmnist.inference.evaluate import Mistake
from jaxmnist.report.facts import pairs
from jaxmnist.report.gather import gather
from jaxmnist.report.html.charts import BOTTOM, Line, accuracy, draw, linear, logarithmic
from jaxmnist.report.html.page import page_of_run, page_of_runs
from jaxmnist.runs.folder import CONFIG, METRICS, RESULTS, read_metrics, write_json
from tests.chromium import EXECUTABLE, Chromium
from tests.resealed import reseal
from tests.runs.test_compare import KEPT_RESULTS, make_run

VOID = {"meta", "link", "img", "br"}
HOSTILE = "<script>alert(1)</script>&\"'"
DRAWN = os.environ.get("JAXMNIST_SCREENSHOTS")


class Page(HTMLParser):
    """A parsed page; asserts that its elements are closed in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.text, self.words, self.open = text, [], []
        self.tags, self.rows, self.headings = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag not in VOID:
            self.open.append((tag, given))
        if tag == "tr":
            self.rows.append((self.within("table"), []))
        if tag in ("th", "td"):
            self.rows[-1][1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        names = [tag for tag, _ in self.open]
        data = data.replace("\xa0", " ")
        if "style" not in names:
            self.words.append(data)
        if "th" in names or "td" in names:
            self.rows[-1][1][-1] += data
        if names[-1:] in (["h1"], ["h2"]):
            self.headings.append(data)

    def within(self, tag):
        return next((given.get("class") or "" for name, given in reversed(self.open) if name == tag), "")

    @property
    def said(self):
        return " ".join(" ".join(self.words).split())

    def table(self, class_):
        """Returns the rows of the tables of a class: cells by their row's heading."""
        return {cells[0]: cells[1:] for table, cells in self.rows if class_ in table.split()}


@pytest.fixture
def call(monkeypatch, capsys):
    """Runs the command in this process; returns its exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main("report")
        return end.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """Hides all data except the embedded ones."""
    monkeypatch.delenv("JAXMNIST_DATA_DIR", raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))


@pytest.fixture(scope="session")
def hostile_run(tiny_run, tmp_path_factory):
    """Copies the run to a folder whose path is markup."""
    run = tmp_path_factory.mktemp("runs") / HOSTILE
    shutil.copytree(tiny_run, run)
    return run


@pytest.fixture(scope="session")
def facts(hostile_run):
    (found,) = gather([hostile_run], None, jax.devices()[0])
    return found


@pytest.fixture
def page(call, facts, hostile_run, monkeypatch):
    """Writes the page of that run, which is evaluated once for all tests."""
    monkeypatch.setattr("jaxmnist.report.gather.gather", lambda *arguments: [facts])
    code, out, error = call(hostile_run)
    assert (code, error) == (0, "")
    assert out.endswith(f"Written: {hostile_run / 'report.html'}\n")
    return Page((hostile_run / "report.html").read_text())


def test_the_page_has_the_figures_of_the_run(page, facts, hostile_run):
    results = json.loads((hostile_run / RESULTS).read_text())
    best = read_metrics(hostile_run)[results["best_epoch"] - 1]
    assert f"test accuracy on digits: {best['test_correct']} of 297 images" in page.said
    for key in (
        "test_accuracy_of_best",
        "last_five_mean_test_accuracy",
        "best_test_accuracy",
        "final_test_accuracy",
    ):
        assert f"{results[key]:.2f} %" in page.said
    low, high = facts.interval
    assert f"(95 % interval {low:.2f} to {high:.2f} %)" in page.said
    assert f"Epoch {results['best_epoch']} was selected on held-out training images." in page.said
    assert "These are scikit-learn's digits, not MNIST." in page.said
    assert page.table("layers")["total"][2] == "5,048"
    confusion = page.table("confusion")
    assert facts.evaluation is not None
    assert [
        [0 if cell == "·" else int(cell) for cell in confusion[str(label)]] for label in range(10)
    ] == facts.evaluation.confusion
    pictures = [given["alt"] for tag, given in page.tags if tag == "img"]
    worst = facts.evaluation.mistakes[0]
    assert pictures[0] == f"Test image {worst.index} of class {worst.label}, taken for {worst.prediction}"
    assert len(pictures) == min(40, len(facts.evaluation.mistakes)) + 2


def test_the_page_asks_for_nothing_and_its_contents_lead_to_its_sections(page):
    for tag, given in page.tags:
        for name in ("src", "srcset", "href", "action", "data", "poster"):
            assert given.get(name, "data:").startswith(("data:", "#")), (tag, given)
        assert not any(name.startswith("on") for name in given)
    assert "script" not in {tag for tag, _ in page.tags}
    assert "url(" not in page.text
    assert "@import" not in page.text
    assert "default-src 'none'" in page.text
    anchors = [given["href"][1:] for tag, given in page.tags if tag == "a"]
    sections = [given["id"] for tag, given in page.tags if tag == "section"]
    assert anchors == sections
    assert {"network", "curves", "confusion", "mistakes", "augmentation", "configuration"} <= set(sections)
    assert all(given["alt"] for tag, given in page.tags if tag == "img")
    assert all(given["aria-label"] for tag, given in page.tags if given.get("role") == "img")
    assert len(page.text) < 1_500_000


def test_marks_of_direction_in_a_name_are_shown_escaped(call, tiny_run, tmp_path):
    run = tmp_path / "a\u202eb"
    shutil.copytree(tiny_run, run)
    assert call(run)[0] == 0
    page = (run / "report.html").read_text()
    assert "\u202e" not in page
    assert r"a\u202eb" in page


def test_a_path_that_is_markup_is_text_on_the_page(page, hostile_run):
    assert "<script>alert" not in page.text
    assert f"Made by jaxmnist from {hostile_run}." in page.said


def test_names_in_files_that_are_markup_are_text_on_the_page(call, tmp_path):
    run, other = make_run(tmp_path), make_run(tmp_path, seed=2)
    results = json.loads((run / RESULTS).read_text())
    del results["seal"]
    write_json(run / RESULTS, sealed(results | dict.fromkeys(("arch", "recipe", "dataset"), HOSTILE)))
    reseal(run, {"environment": {HOSTILE: HOSTILE, "command": [HOSTILE]}})
    for folders in ([run], [run, other]):
        code, _, _ = call(*folders, "--out", tmp_path / "page.html")
        assert code == 0
        page = Page((tmp_path / "page.html").read_text())
        assert "<script" not in page.text
        assert page.said.count(HOSTILE) > 4
        assert not [tag for tag, given in page.tags if "alert(1)" in given]


def test_settings_that_are_not_as_published_are_marked_and_no_others(page):
    changed = {
        name: cells[0]
        for name, cells in page.table("settings").items()
        if cells and "published: " in cells[0]
    }
    assert changed == {"epochs": "2published: 15", "select on": "valpublished: test"}
    assert "2 settings differ from the published recipe and protocol." in page.said
    assert "augmentation: rotation" in page.table("settings")
    assert "augmentation: elastic sigma" not in page.table("settings")


@pytest.mark.usefixtures("nowhere")
def test_a_run_that_keeps_its_last_epoch_says_so_and_no_word_of_picking(call, tmp_path):
    run = make_run(tmp_path, "second", "second", [98.0, 99.1, 98.5], select_on="last")
    code, out, _ = call(run, "--out", tmp_path / "page.html")
    assert code == 0
    assert "98.50 % test accuracy on mnist. Epoch 3 was kept because it is the last one" in out
    page = Page((tmp_path / "page.html").read_text())
    assert "was selected" not in page.said.replace("none was selected", "")
    results = page.table("figures")
    assert results["test accuracy of epoch 3, the last one"][0] == "98.50 %"
    assert "test accuracy of the last epoch" not in results


def changed_run(facts, **recipe):
    """Changes the recipe of the run and adds curves of weights that are not averaged."""
    config = dataclasses.replace(facts.config, recipe=dataclasses.replace(facts.config.recipe, **recipe))
    plain = [row | {f"plain_{key}": row[key] for key in ("test_loss", "test_accuracy")} for row in facts.rows]
    return dataclasses.replace(facts, config=config, rows=plain)


def test_levers_stand_on_the_page_as_parts_that_the_published_recipe_has_not(facts):
    levers = {"plateau": None, "schedule": Schedule(), "averaging": Averaging(0.9), "nesterov": True}
    run = changed_run(facts, **levers)
    said = Page(page_of_run(run))
    rows = said.table("settings")
    assert rows["schedule"] == [
        "kind one_cycle, warm up 0.2, start divisor 25, end divisor -published: -",
    ]
    assert rows["averaging"] == ["decay 0.9, start epoch 0published: -"]
    assert rows["nesterov"] == ["yespublished: no"]
    assert "test, weights not averaged" in said.said
    assert "at the end of each epoch" in said.said
    third = dataclasses.replace(get_recipe("third"), plateau=None)
    rows = Page(page_of_run(changed_run(facts, **vars(third)))).table("settings")
    assert rows["plateau"] == [
        "-published: monitor loss, factor 0.5, patience 3, threshold 0.0001, min lr 0",
    ]
    # What has no effect is not said.
    assert not {"decay on", "augmentation: fade to", "augmentation: elastic sigma"} & rows.keys()


def test_json_says_what_the_page_says(call, facts, tmp_path, monkeypatch):
    monkeypatch.setattr("jaxmnist.report.gather.gather", lambda *arguments: [facts])
    code, out, _ = call("run", "--json", "--out", tmp_path / "page.html")
    said = json.loads(out)
    assert (code, said["file"], said["differences"], said["pairs"]) == (
        0,
        str(tmp_path / "page.html"),
        {},
        [],
    )
    (run,) = said["runs"]
    assert run["verdict"] == facts.verdict
    assert run["evaluation"] == facts.evaluation.as_json()
    assert run["metrics"] == facts.rows
    assert Page((tmp_path / "page.html").read_text()).headings[0] == "second on digits"


def test_a_figure_that_an_epoch_lacks_is_no_zero(facts):
    assert facts.column("val_loss") == [row["val_loss"] for row in facts.rows]
    assert all(map(math.isnan, facts.column("plain_val_loss")))


def with_mistakes(facts, indices, **changes):
    """Changes the run to one that is wrong on these images."""
    mistakes = [Mistake(index, label=3, prediction=5, confidence=0.9) for index in indices]
    evaluation = dataclasses.replace(facts.evaluation, mistakes=mistakes, errors=len(mistakes))
    pictures = dict.fromkeys(indices, facts.samples.originals[0])
    return dataclasses.replace(facts, evaluation=evaluation, pictures=pictures, **changes)


def test_errors_on_the_same_images_are_counted_for_each_run(facts):
    one, other = with_mistakes(facts, [4, 10]), with_mistakes(facts, [10, *range(100, 107)])
    (pair,) = pairs([one, other])
    assert pair[2:] == (297 - 9, 1, 1, 7, mcnemar(1, 7))
    page = Page(page_of_runs([one, other], [pair]))
    assert page.table("figures")["A and B"] == ["288", "1", "1 A", "7 B", "0.070", "no difference shown"]
    alts = [given["alt"] for tag, given in page.tags if tag == "img"]
    assert alts == ["Test image 10 of class 3, taken for 5, 5"]
    assert facts.config is not None
    elsewhere = dataclasses.replace(other, config=dataclasses.replace(facts.config, data_fingerprint="other"))
    assert pairs([one, elsewhere]) == pairs([one, dataclasses.replace(other, evaluation=None)]) == []


def test_a_page_of_several_runs_lists_what_differs_and_nothing_else(call, tmp_path):
    one, other = make_run(tmp_path, seed=1), make_run(tmp_path, seed=7)
    recipe = json.loads((other / CONFIG).read_text())["recipe"]
    recipe["plateau"] |= {"patience": 9}
    reseal(other, {"recipe": recipe})
    code, out, _ = call(one, other, one, "--out", tmp_path / "page.html", "--json")
    assert code == 0
    assert json.loads(out)["differences"] == {"recipe.plateau.patience": [3, 9], "seed": [1, 7]}
    page = Page((tmp_path / "page.html").read_text())
    rows = page.table("differences")
    assert rows.pop("configuration") == ["A", "B"]
    assert rows == {"plateau: patience": ["3", "9"], "seed": ["1", "7"]}
    assert page.headings[0] == "2 runs side by side"
    assert page.table("figures")["published"] == ["99.37", "99.37"]
    assert "Highest test accuracy of a selected epoch on mnist: 99.40 %, by A (third, seed 1)." in page.said


def test_an_unfinished_run_says_how_far_it_is_and_has_no_results(call, tmp_path):
    run = make_run(tmp_path, accuracies=(98.0, 99.0), finished=False)
    shutil.rmtree(run / "checkpoints")
    code, out, error = call(run, "--out", tmp_path / "page")
    assert code == 0
    assert "metrics.jsonl cannot be confirmed, as the run has no checkpoint and no results.json" in error
    assert "Unfinished: after 2 of 15 epochs, 99.00 % test accuracy on mnist." in out
    assert "no checkpoint, so confusion matrix and mistakes are left out" in error
    page = Page((tmp_path / "page").read_text())
    assert "Results" not in page.headings
    assert "Curves" in page.headings
    run = make_run(tmp_path, accuracies=(), finished=False)
    code, out, _ = call(run)
    assert code == 0
    assert "Unfinished: none of 15 epochs is complete." in Page((run / "report.html").read_text()).said


def test_a_network_of_the_users_own_that_is_gone_is_a_note(call, tmp_path):
    run = make_run(tmp_path, f"{tmp_path / 'gone.py'}:Net")
    code, _, error = call(run, "--out", tmp_path / "page.html")
    assert code == 0
    assert "The network is gone, so layers, confusion matrix and mistakes are left out" in error
    page = Page((tmp_path / "page.html").read_text())
    assert page.headings[0] == "gone.py:Net, recipe third on mnist"
    assert "Network" not in page.headings


@pytest.mark.usefixtures("nowhere")
def test_without_the_data_the_page_says_so_and_leaves_the_pictures_out(call, tmp_path):
    run = make_run(tmp_path / "runs")
    code, _, error = call(run)
    assert code == 0
    assert "warning: " in error
    page = Page((run / "report.html").read_text())
    assert "The run's data were not found" in page.said
    assert "mnist is not on this machine" in page.said
    assert not {"Confusion matrix", "Mistakes"} & set(page.headings)
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert "Rotation ±8°" in page.said
    code, _, error = call(run, "--data-dir", tmp_path / "nothing")
    assert code == 3
    assert error.startswith(f"error: --data-dir {tmp_path / 'nothing'} has no mnist")


def test_other_data_than_the_runs_are_not_used(facts, hostile_run, tmp_path):
    shutil.copytree(hostile_run, tmp_path / "run")
    reseal(tmp_path / "run", {"data_fingerprint": "f" * 64})
    (tmp_path / "run" / RESULTS).unlink()
    (found,) = gather([tmp_path / "run"], None, jax.devices()[0])
    assert (found.evaluation, found.samples, found.pictures) == (None, None, {})
    assert "was trained on other data than" in found.notes[0]


def test_kept_figures_alone_make_a_page(call, tmp_path):
    code, out, _ = call(KEPT_RESULTS / "third" / "s1", "--out", tmp_path / "page.html")
    assert code == 0
    assert "99.37 % test accuracy on mnist: 9,937 of 10,000 images (95 % interval 99.19 to 99.51 %)" in out
    page = Page((tmp_path / "page.html").read_text())
    assert "The run folder has no config.json" in page.said
    assert "test, published run" in page.said
    assert page.table("layers")["total"][2] == "7,902"


def test_what_is_no_run_or_damaged_is_one_sentence_with_its_exit_code(call, tmp_path):
    code, _, error = call(tmp_path / "nothing")
    assert (code, error.count("\n")) == (4, 1)
    assert f"{tmp_path / 'nothing'} is not a run folder" in error
    run = make_run(tmp_path)
    whole = (run / METRICS).read_text()
    (run / METRICS).write_text(whole.replace('"train_accuracy": 97.5', '"train_accuracy": "high"'))
    code, _, error = call(run)
    assert code == 4
    assert "metrics.jsonl is damaged (train_accuracy is 'high')" in error
    (run / METRICS).write_text(whole)
    config = json.loads((run / CONFIG).read_text())
    write_json(run / CONFIG, config | {"of_a_later_version": 1})
    code, _, error = call(run)
    assert code == 4
    assert "config.json is damaged (" in error
    assert "has no key 'of_a_later_version'" in error
    assert call()[0] == 2
    code, _, error = call(make_run(tmp_path), "--out", tmp_path / "no" / "page.html")
    assert code == 2
    assert "page.html cannot be written (No such file or directory); name another file with --out." in error


def test_a_chart_has_its_values_between_its_ticks_and_gaps_where_there_is_none():
    values = [98.0, math.nan, 99.0, 99.5, 100.0]
    scale = accuracy([value for value in values if math.isfinite(value)])
    places = [scale.place(value) for value in (98.0, 99.0, 99.5)]
    assert places == sorted(places)
    assert scale.place(99.5) - scale.place(99.0) == pytest.approx(scale.place(99.0) - scale.place(98.0))
    assert all(0 <= scale.place(tick) <= 1 for tick in scale.ticks)
    assert 99.0 in scale.ticks
    chart = draw(
        "Accuracy", "percent", [Line("test", "test", values), Line("none", "val", [math.nan])], accuracy
    )
    assert chart is not None
    (line,) = chart.lines
    assert line.path.count("M") == 2
    assert "nan" not in line.path
    assert len(line.points) == 4
    assert "test: 100 in epoch 5" in chart.description
    constant = logarithmic([0.01] * 3)
    assert constant.place(0.01) == pytest.approx(0.5)
    assert 0.01 in constant.ticks


def test_bars_stand_on_zero_and_a_chart_without_values_is_none():
    chart = draw("Time", "seconds", [Line("seconds", "bars", [2.0, 4.0])], linear, "bars")
    assert chart is not None
    assert chart.bar_width
    (_, zero), *_ = [(text, y) for y, text in chart.y_ticks if text == "0"]
    heights = [zero - y for _, y, _ in chart.lines[0].points]
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.2)
    assert zero == BOTTOM
    assert draw("Time", "seconds", [Line("seconds", "bars", [math.nan])], linear, "bars") is None


@pytest.mark.skipif(EXECUTABLE is None, reason="there is no Chromium to open pages with")
def test_in_a_browser_nothing_is_asked_for_and_nothing_is_wider_than_a_phone(page, hostile_run, tmp_path):
    with Chromium(tmp_path / "profile") as browser:
        browser.resize(390, 800, dark=True, touch=True)
        file = tmp_path / "page.html"
        shutil.copy(hostile_run / "report.html", file)
        browser.open(file.as_uri())
        asked = [
            event["params"]["request"]["url"]
            for event in browser.events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
        assert [url for url in asked if url.startswith("file")] == [file.as_uri()]
        assert [
            event
            for event in browser.events
            if event.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown")
        ] == []
        assert browser.run("document.documentElement.scrollWidth") == 390
        assert browser.run("[...document.images].every(image => image.naturalWidth > 0)")
        if DRAWN:
            browser.screenshot(Path(DRAWN) / "report.png")
