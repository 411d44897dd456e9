"""The entry point: groups of commands, version, help, wrong usage, tracebacks, and the names of the package."""

import importlib.metadata
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import jax
import pytest

import jaxmnist
from jaxmnist.cli import COMMANDS, load_command
from jaxmnist.cli import main as cli
from jaxmnist.cli.options import Command
from jaxmnist.cli.summary import Summary
from jaxmnist.config import RECIPES
from jaxmnist.errors import UsageError
from jaxmnist.models import ARCHS

ROOT = Path(__file__).parents[2]
TRAIN = [sys.executable, str(ROOT / "scripts" / "train.py")]


def median_seconds(*command):
    times = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return sorted(times)[1]


def without_a_command(*arguments, columns=80):
    """Output of `python -m jaxmnist`."""
    command = [sys.executable, "-m", "jaxmnist", *arguments]
    environment = {**os.environ, "COLUMNS": str(columns)}
    return subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=ROOT, env=environment
    ).stdout


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_jaxmnist_alone_shows_every_command_in_its_group(columns):
    text = without_a_command(columns=columns)
    assert all(len(line) <= columns for line in text.splitlines())
    words = " ".join(text.split())
    for group, commands in COMMANDS.items():
        assert f"\n\n{group}\n" in text
        for name in commands:
            summary = (load_command(name).__doc__ or "").splitlines()[0]
            assert f" {name} {summary}" in words
    assert "jaxmnist COMMAND --help" in words


def test_help_without_a_command_shows_the_same(call):
    code, text, error = call(None)
    assert (code, error) == (0, "")
    assert call(None, "--help") == call(None, "-h") == (0, text, "")


def test_the_list_of_commands_loads_no_heavy_library():
    code = """
import sys
from jaxmnist.cli.main import main
sys.argv = ["jaxmnist", *sys.argv[1:]]
try:
    main()
finally:
    heavy = {"jax", "flax", "optax", "orbax", "matplotlib", "sklearn", "PIL", "rich", "tensorflow_datasets"}
    print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""
    for arguments in ([], ["--version"], ["train", "--help"], ["study", "--help"]):
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        assert done.stderr == "[]\n", arguments


def test_every_script_runs_a_command_and_every_command_has_a_script():
    calls = [re.search(r'main\("(\w+)"\)', script.read_text()) for script in (ROOT / "scripts").glob("*.py")]
    named = sorted(found[1] for found in calls if found)
    assert named == sorted(name for commands in COMMANDS.values() for name in commands)
    assert all(issubclass(load_command(name), Command) for name in named)


def test_a_command_with_an_underscore_is_found_with_a_hyphen_as_well(call):
    for name in ("find_lr", "find-lr"):
        code, text, _ = call(None, name, "--help")
        assert code == 0
        assert text.startswith(f"usage: jaxmnist {name} ")


def test_a_mistyped_command_is_answered_in_one_sentence_with_the_nearest(call):
    code, text, error = call(None, "trian", "--epochs", "1")
    assert (code, text) == (2, "")
    assert error.startswith(
        "error: there is no command 'trian' (did you mean 'train'?); choose one of train, "
    )
    assert error.count("\n") == 1


def test_the_version_is_that_of_the_installed_package(call, monkeypatch):
    installed = importlib.metadata.version("jaxmnist")
    assert jaxmnist.__version__ == installed
    assert call(None, "--version") == (0, f"jaxmnist {installed}\n", "")
    assert without_a_command("--version") == f"jaxmnist {installed}\n"

    def not_installed(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", not_installed)
    assert jaxmnist.__version__ == "0+unknown"


def test_the_installed_command_is_the_entry_point():
    with (ROOT / "pyproject.toml").open("rb") as file:
        scripts = tomllib.load(file)["project"]["scripts"]
    assert list(scripts) == ["jaxmnist"]
    entry = importlib.metadata.EntryPoint("jaxmnist", scripts["jaxmnist"], "console_scripts")
    assert entry.load() is cli.main


@pytest.mark.parametrize(
    ("failure", "code", "line"),
    [
        (UsageError("no such thing."), 2, "error: no such thing."),
        (ValueError("broken"), 1, "error: ValueError: broken (--debug shows where)"),
        (KeyboardInterrupt(), 130, "error: interrupted."),
    ],
)
def test_debug_shows_the_whole_traceback_before_the_error(call, monkeypatch, failure, code, line):
    def innermost():
        return {}["cause"]

    def fail(_):
        try:
            innermost()
        except KeyError as cause:
            raise failure from cause

    monkeypatch.setattr(Summary, "run", fail)
    monkeypatch.setattr(cli, "_end_at_once", sys.exit)  # it would end the tests, too
    assert call("summary") == (code, "", line + "\n")
    ended, _, error = call("summary", "--debug")
    *trace, last = error.splitlines()
    assert ended == code
    assert last == line
    assert sum(text == "Traceback (most recent call last):" for text in trace) == 2
    for function in ("innermost", "fail", "_exit_code"):
        assert any(text.endswith(f", in {function}") for text in trace), function
    assert "KeyError: 'cause'" in trace
    assert trace[-1].startswith((f"jaxmnist.errors.{type(failure).__name__}", type(failure).__name__))


def test_help_is_quick_and_lists_the_names():
    assert median_seconds(*TRAIN, "--help") < 2.5
    text = subprocess.run([*TRAIN, "--help"], check=True, capture_output=True, text=True).stdout
    for name in (*ARCHS, *RECIPES, "--resume", "--select-on"):
        assert name in text


def test_importing_the_package_costs_little_beyond_jax():
    code = "import jax, time; t = time.perf_counter(); import jaxmnist; print(time.perf_counter() - t)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert float(out) < 0.5


def test_the_public_names_are_there():
    import jaxmnist

    for name in jaxmnist.__all__:
        assert getattr(jaxmnist, name) is not None
    assert set(jaxmnist.__all__) <= set(dir(jaxmnist))
    assert jaxmnist.interop.from_torch
    assert jaxmnist.optim.reduce_on_plateau
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = jaxmnist.nothing


def test_an_unknown_name_is_answered_with_the_known_ones(call):
    code, _, error = call("train", "--arch", "forth")
    assert code == 2
    assert "there is no arch 'forth'" in error
    assert ", ".join(ARCHS) in error
    code, _, error = call("train", "--recipe", "thrid")
    assert code == 2
    assert "did you mean 'third'" in error
    code, _, error = call("train", "--dataset", "minst")
    assert code == 2
    assert "there is no dataset 'minst' (did you mean 'mnist'?)" in error
    code, _, error = call("train", "--epochs", "0")
    assert code == 2
    assert "epochs=0, which must be above 0" in error


def test_an_unknown_option_is_wrong_usage(call):
    assert call("train", "--archh", "third")[0] == 2


def test_a_missing_device_is_answered_with_those_that_exist(call):
    if jax.default_backend() != "cpu":
        pytest.skip("this machine has an accelerator")
    code, _, error = call("train", "--dataset", "digits", "--device", "tpu")
    assert code == 2
    assert "no tpu device is available to JAX, only cpu" in error


def test_every_command_that_reads_a_run_refuses_another_folder(call, tmp_path):
    for command, arguments in (
        ("train", ("--resume", tmp_path)),
        ("evaluate", (tmp_path,)),
        ("predict", (tmp_path, "a.png")),
        ("report", (tmp_path,)),
    ):
        code, _, error = call(command, *arguments)
        assert code == 4, command
        assert f"{tmp_path} is not a run folder" in error
        assert error.count("\n") == 1
