"""Tests of summaries: every published figure, and the printed table."""

import functools
import io
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from jaxmnist.cli import main as cli
from jaxmnist.cli.summary import Summary
from jaxmnist.errors import UsageError
from jaxmnist.models import ARCHS, create_model
from jaxmnist.models.structure import layers, totals
from jaxmnist.report.terminal.summary import print_network, print_summary
from tests.sizes import SIZES

SCRIPT = Path(__file__).parents[2] / "scripts" / "summary.py"

MULTIPLY_ADDS = {
    "first": 3_393_376,
    "second": 1_038_360,
    "third": 1_227_392,
    "dilated": 1_390_290,
    "evolution_v1": 2_468_192,
    "evolution_v2": 2_374_112,
    "evolution_v3": 2_431_184,
    "challenge_ll": 663_016,
    "challenge_gap": 1_043_376,
    "challenge_final": 1_042_656,
    "step1": 62_663_040,
    "step3": 1_166_232,
    # Of the project's own, by hand: maps of 26, 24, 10, 8, 6 and 4 pixels a side; the first has a classifier.
    "flagship": 26**2 * 90 + 24**2 * 1_170 + 100 * 1_638 + (64 + 36) * 1_764 + 16 * 1_260,
    "flagship_small": 26**2 * 72 + 24**2 * 792 + (100 + 64 + 36) * 1_089 + 16 * 990,
    "flagship_2500": 26**2 * 54 + 24**2 * 378 + (100 + 64 + 36) * 441 + 16 * 630,
    "flagship_1500": 26**2 * 72 + 24**2 * 576 + 100 * 576 + 64 * 576 + 36 * 576 + 16 * 720,
    "flagship_1000": 26**2 * 54 + 24**2 * 324 + 100 * 324 + 64 * 324 + 36 * 378 + 16 * 630,
    "flagship_850": 26**2 * 45 + 24**2 * 225 + 100 * 270 + 64 * 324 + 36 * 324 + 16 * 540,
    "flagship_500": 26**2 * 36 + 24**2 * 144 + 100 * 144 + 64 * 144 + 36 * 144 + 16 * 360,
}
# Activations, parameters and their sum with the input, in MB of 1,048,576 bytes.
EVERY_LAYER = {
    "dilated": "0.70 0.02 0.73",
    "evolution_v3": "0.83 0.03 0.86",
    "challenge_ll": "0.40 0.04 0.44",
    "challenge_gap": "0.54 0.03 0.57",
    "challenge_final": "0.41 0.03 0.44",
    "step1": "2.35 0.98 3.33",
    "step3": "0.66 0.03 0.69",
}
LAYERS_WITH_PARAMETERS = {
    "evolution_v1": "0.32 0.02 0.35",
    "evolution_v2": "0.54 0.03 0.57",
}
# As published, 1x1 convolutions of evolution, challenge and step3 left out.
RECEPTIVE_FIELDS = {
    "first": "3, 5, 5, pool 6 (2), 10, 14, 18, 22, average pool 32",
    "second": "3, 5, 5, pool 6 (2), 10, 14, 18, average pool 32",
    "third": "3, 5, 5, pool 6 (2), 10, 14, 18, 22, average pool 32",
    "dilated": "3, 5, 7, pool 8 (2), 8, 16, 24, 32, average pool 40",
    "evolution_v1": "3, 5, 7, pool 8 (2), 12, 16, 20, pool 22 (4), 30, average pool 54",
    "evolution_v2": "3, 5, 7, pool 8 (2), 12, 16, 20, pool 22 (4), 30, average pool 54",
    "evolution_v3": "3, 5, 7, pool 8 (2), 12, 16, 20, pool 22 (4), 30, 38, 46, average pool 70",
    "challenge_ll": "3, 5, pool 6 (2), 10, 14, pool 16 (4), 24, average pool 28",
    "challenge_gap": "3, 5, pool 6 (2), 10, 14, pool 16 (4), 24, average pool 28",
    "challenge_final": "3, 5, pool 6 (2), 10, 14, pool 16 (4), 24, average pool 28",
    "step1": "3, 5, 7, 9, pool 10 (2), 14, 18, pool 20 (4), 28, average pool 44",
    "step3": "3, 5, pool 6 (2), 10, 14, 18, pool 20 (4), 28, 36, average pool 44",
    "flagship": "3, 5, pool 6 (2), 10, 18, 26, 34, average pool 40",
    "flagship_small": "3, 5, pool 6 (2), 10, 18, 26, 34, average pool 40",
    **dict.fromkeys(SIZES, "3, 5, pool 6 (2), 10, 18, 26, 34, average pool 40"),
}
LEFT_OUT = {
    **dict.fromkeys(("evolution_v1", "evolution_v2"), ("trans1", "trans2")),
    "evolution_v3": ("trans1", "trans2", "head"),
    **dict.fromkeys(("challenge_ll", "challenge_gap"), ("head",)),
    "step3": ("trans1",),
}


@functools.cache
def network(arch):
    return layers(create_model(arch))


@pytest.mark.parametrize("arch", ARCHS)
def test_multiply_adds_are_the_published_ones(arch):
    assert totals(network(arch)).multiply_adds == MULTIPLY_ADDS[arch]


def megabytes(*sizes):
    return " ".join(f"{size / 2**20:.2f}" for size in sizes)


@pytest.mark.parametrize("arch", EVERY_LAYER)
def test_memory_is_the_published_one_where_every_layer_was_counted(arch):
    sums = totals(network(arch))
    assert megabytes(sums.activation_bytes, sums.parameter_bytes, sums.total_bytes) == EVERY_LAYER[arch]


@pytest.mark.parametrize("arch", LAYERS_WITH_PARAMETERS)
def test_memory_is_the_published_one_where_layers_with_parameters_were_counted(arch):
    sums = totals(network(arch))
    activations = sums.weight_layer_activation_bytes
    total = sums.input_bytes + activations + sums.parameter_bytes
    assert megabytes(activations, sums.parameter_bytes, total) == LAYERS_WITH_PARAMETERS[arch]


@pytest.mark.parametrize(("arch", "published"), [("evolution_v1", "2.47"), ("evolution_v2", "2.38")])
def test_the_mult_adds_of_tree_summaries_are_ours_and_parameter_counts(arch, published):
    # The source adds the parameters of norms, and those of every block of layers; each layer of these networks
    # is in one block, so the blocks add all parameters once.
    norms = sum(layer.parameters for layer in network(arch) if layer.kind == "BatchNorm")
    sums = totals(network(arch))
    assert f"{(sums.multiply_adds + norms + sums.parameters) / 1e6:.2f}" == published


def stage(layer):
    if layer.kind == "MaxPool":
        return f"pool {layer.receptive_field} ({layer.jump})"
    return f"{'average pool ' if layer.kind == 'GlobalAverage' else ''}{layer.receptive_field}"


@pytest.mark.parametrize("arch", ARCHS)
def test_receptive_fields_are_the_published_sequence(arch):
    stages = [
        layer
        for layer in network(arch)
        if layer.kind in ("Conv", "MaxPool", "GlobalAverage") and layer.receptive_field
    ]
    shown = [layer for layer in stages if layer.name not in LEFT_OUT.get(arch, ())]
    assert ", ".join(map(stage, shown)) == RECEPTIVE_FIELDS[arch]
    sums = totals(network(arch))
    assert [sums.receptive_field, sums.receptive_field_of_average] == [
        layer.receptive_field for layer in shown[-2:]
    ]
    for before, layer in itertools.pairwise(stages):
        if layer not in shown:  # a 1x1 convolution: nothing to see
            assert layer[-2:] == before[-2:]


def test_off_the_main_path_and_after_the_global_average_there_is_no_receptive_field():
    without = [layer.name for layer in network("third") if layer.receptive_field is None]
    assert without == ["skip1", "skip2", "head"]
    without = [layer.name for layer in network("challenge_ll") if layer.receptive_field is None]
    assert without == ["fc1", "relu7", "fc2"]


@pytest.mark.parametrize("arch", ARCHS)
def test_layers_have_names_of_their_own(arch):
    names = [layer.name for layer in network(arch)]
    assert len(set(names)) == len(names)
    assert "average" in names


@pytest.mark.parametrize("arch", ARCHS)
def test_the_table_fits_into_80_columns(arch):
    text = io.StringIO()
    console = Console(file=text, width=80)
    print_network(console, arch, network(arch), totals(network(arch)))
    print_summary(console, arch, layers(create_model(arch), operations=True), totals(network(arch)), 8_000)
    assert max(map(len, text.getvalue().splitlines())) <= 80
    assert "…" not in text.getvalue()


def test_an_unknown_receptive_field_is_called_that():
    text = io.StringIO()
    sums = totals(network("third"))._replace(receptive_field=None, receptive_field_of_average=None)
    print_summary(Console(file=text, width=80), "net.py:Net", network("third"), sums, 8_000)
    assert "receptive field  not known\n" in text.getvalue()


@pytest.fixture
def summary(monkeypatch, capsys):
    """Runs the command in this process; returns exit code, standard output, standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["summary", *arguments])
        monkeypatch.setenv("COLUMNS", "80")
        with pytest.raises(SystemExit) as end:
            cli.main("summary")
        return end.value.code, *capsys.readouterr()

    return run


def test_the_command_prints_layers_and_sums(summary):
    code, text, error = summary("--arch", "dilated")
    assert (code, error) == (0, "")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "conv5 Conv 3x3 p1 d2 10x9x9 10x7x7 900 44,100 24 2" in lines
    assert "bn5 BatchNorm 10x7x7 10x7x7 20 20 24 2" in lines
    assert "total 5,340 150 1,390,290" in lines
    assert "parameters 5,340 trainable, 150 running statistics" in lines
    assert "budget 66.8 % of 8,000" in lines
    assert "receptive field 32 pixels wide, 40 with the global average" in lines
    assert "activations 0.70 MiB for one image, forward and backward" in lines


def test_resizes_sums_and_attention_are_listed_with_their_inputs(summary):
    lines = [" ".join(line.split()) for line in summary("--arch", "third")[1].splitlines()]
    assert "resize1 Resize of pool 10x12x12 10x10x10" in lines
    assert "add1 Add to dropout3 14x10x10 14x10x10 10 2" in lines
    assert "attention Attention 12x1x1 12x1x1" in lines
    assert any(line.startswith("pool MaxPool 2x2 s2 ") for line in lines)


def test_a_network_over_the_budget_is_marked(summary):
    assert "over the budget: 3,217 % of 8,000" in summary("--arch", "step1")[1]
    assert "over the budget: 100.0 % of 7,901" in summary("--arch", "third", "--budget", "7901")[1]
    assert "budget           100.0 % of 7,902" in summary("--arch", "third", "--budget", "7902")[1]


def test_json_holds_layers_and_sums(summary):
    code, text, _ = summary("--arch", "evolution_v3", "--norm", "group", "--json")
    assert code == 0
    result = json.loads(text)
    assert result["totals"]["parameters"] == sum(layer["parameters"] for layer in result["layers"]) == 7_820
    assert result["totals"]["statistics"] == 0
    assert result["layers"][1]["kind"] == "GroupNorm"
    assert result["budget_percent"] == 97.75


def test_wrong_usage_is_exit_code_2_with_a_remedy(summary):
    code, _, error = summary("--arch", "thrid")
    assert code == 2
    assert "did you mean 'third'?" in error
    code, _, error = summary("--arch", "third", "--norm", "group")
    assert code == 2
    assert "arch 'third' has no field 'norm'" in error
    with pytest.raises(UsageError, match="--budget 0"):
        Summary(budget=0).run()


def test_no_device_is_started():
    # A missing platform: JAX would fail as soon as it computed anything.
    environment = os.environ | {"JAX_PLATFORMS": "tpu", "COLUMNS": "80"}
    command = [sys.executable, str(SCRIPT), "--arch", "third"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "98.8 % of 8,000" in done.stdout


def test_the_table_before_a_training_ends_in_a_line_of_its_own_and_an_empty_one():
    output, network = io.StringIO(), layers(create_model("second"))
    print_network(Console(width=80, file=output), "second", network, totals(network))
    assert output.getvalue().endswith("5,048 trainable parameters, 120 running statistics\n\n")
