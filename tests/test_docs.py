"""The documentation agrees with the code: tables of networks and recipes, names of the API, examples, the tutorial."""

import doctest
import importlib
import importlib.util
import inspect
import os
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import jaxmnist
from jaxmnist.config import Recipe, get_recipe, recipe_of
from jaxmnist.models import create_model
from jaxmnist.models.structure import layers, totals
from jaxmnist.runs.published import PUBLISHED

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TUTORIAL = DOCS / "tutorial.ipynb"
WITH_EXAMPLES = (
    "train_run",
    "load",
    "load_dataset",
    "Classifier.predict",
    "Classifier.read",
    "Classifier.evaluate",
    "create_model",
    "count_params",
    "get_recipe",
    "interop.to_torch",
    "interop.from_torch",
)


def network_row(arch: str) -> str:
    """A network's line in docs/networks.md."""
    sums = totals(layers(create_model(arch)))
    own = recipe_of(arch).name
    best = next(
        (f"{one.best_test_accuracy:.2f}" for one in PUBLISHED if (one.arch, one.recipe) == (arch, own)), "-"
    )
    return f"| `{arch}` | {sums.parameters:,} | {sums.multiply_adds / 1e6:.2f} | `{own}` | {best} |"


def recipe_row(recipe: Recipe) -> str:
    """A recipe's line in docs/networks.md."""
    course = "constant"
    if (plateau := recipe.plateau) is not None:
        course = f"plateau of the {plateau.monitor}: x {plateau.factor:g} after {plateau.patience + 1}"
    elif recipe.schedule is not None:
        course = recipe.schedule.kind
    changes = recipe.augmentation.in_effect
    shown = [f"{name} {changes[name]:g}" for name in changes if name in _CHANGES] or ["none"]
    decay = f"{recipe.weight_decay:g}" if recipe.weight_decay else "-"
    values = (recipe.epochs, recipe.batch_size, recipe.optimizer, f"{recipe.learning_rate:g}", course, decay)
    return f"| `{recipe.name}` | {' | '.join(map(str, values))} | {', '.join(shown)} |"


_CHANGES = ("perspective", "rotation", "translation", "scale", "shear", "elastic")


def test_the_table_of_networks_has_the_figures_of_the_code():
    found = re.findall(
        r"^\| `\w+` \| [\d,]+ \| \d+\.\d\d \|.*$", (DOCS / "networks.md").read_text(), re.MULTILINE
    )
    assert found == [network_row(arch) for arch in jaxmnist.ARCHS]


def test_the_table_of_recipes_has_the_values_of_the_code():
    found = re.findall(r"^\| `\w+` \| \d+ \| \d+ \|.*$", (DOCS / "networks.md").read_text(), re.MULTILINE)
    assert found == [recipe_row(get_recipe(name)) for name in jaxmnist.RECIPES]


def test_every_public_name_has_an_entry_in_the_api():
    public = {f"jaxmnist.{name}" for name in jaxmnist.__all__}
    for package in ("interop", "optim", "train"):
        names = importlib.import_module(f"jaxmnist.{package}").__all__
        public |= {f"jaxmnist.{package}.{name}" for name in names}
    pages = "".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    entries = re.findall(r"^::: (.+)$", pages, re.MULTILINE)
    assert len(entries) == len(set(entries))
    assert public - set(entries) == set()


def test_every_page_is_in_the_navigation():
    named = set(re.findall(r"[\w/-]+\.(?:md|ipynb)", (ROOT / "mkdocs.yml").read_text()))
    pages = {str(page.relative_to(DOCS)) for page in (*DOCS.rglob("*.md"), *DOCS.glob("*.ipynb"))}
    assert {page for page in pages if not page.startswith("results/")} == named


def test_the_examples_of_the_api_print_what_they_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner, shared = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS), {"jaxmnist": jaxmnist}
    for name in WITH_EXAMPLES:
        thing = jaxmnist
        for part in name.split("."):
            thing = getattr(thing, part)
        text = inspect.getdoc(thing) or ""
        example = doctest.DocTestParser().get_doctest(text, shared, name, None, None)
        assert example.examples, f"{name} has no example"
        runner.run(example, clear_globs=False)
        shared |= example.globs
    assert runner.summarize(verbose=False).failed == 0


def test_the_tutorial_keeps_the_outputs_of_a_whole_run():
    cells = [cell for cell in nbformat.read(TUTORIAL, 4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} == {"stream"}
    assert sum("largest difference from PyTorch" in output.text for output in outputs) == 7


@pytest.mark.slow
def test_the_tutorial_runs_from_top_to_bottom(tmp_path, monkeypatch):
    # XLA's own convolutions, which the tutorial starts with, need LLVM's optimisation to be fast.
    monkeypatch.setenv("XLA_FLAGS", os.environ["XLA_FLAGS"].replace("--xla_backend_optimization_level=0", ""))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))))
    NotebookClient(
        nbformat.read(TUTORIAL, 4),
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()


def test_a_changed_digit_in_a_document_is_named(tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("figures_of_documents", ROOT / ".ci" / "figures.py")
    assert spec is not None
    assert spec.loader is not None
    figures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(figures)
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    shutil.copy(ROOT / "README.md", tmp_path)
    shutil.copytree(DOCS, tmp_path / "docs", ignore=shutil.ignore_patterns("*.png", "results"))
    monkeypatch.setattr("sys.argv", ["figures.py"])
    page = tmp_path / "docs" / "accuracy.md"
    whole = page.read_text()
    page.write_text(whole.replace("99.545 to 99.603", "99.545 to 99.604", 1))
    with pytest.raises(SystemExit) as end:
        figures.main()
    assert end.value.code == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert "99.604" in line
    monkeypatch.setattr("sys.argv", ["figures.py", "--write"])
    with pytest.raises(SystemExit) as end:
        figures.main()
    assert not end.value.code
    assert page.read_text() == whole
