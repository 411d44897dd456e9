"""Tests of the benchmark: variants do equal work, nothing compiles while it is measured, results survive JSON.

A small network with every relevant kind of layer stands in for the published ones, whose primitives take half a minute
to compile un-jitted.
"""

import dataclasses
import importlib.util
import io
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import chex
import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from rich.console import Console

from jaxmnist.cli import main as cli
from jaxmnist.config import Augmentation, Recipe
from jaxmnist.diagnostics.benchmark import growth, inference, measure, profile, start, training, turns
from jaxmnist.diagnostics.benchmark.torch_process import TORCH_ARCHS, TorchProcess
from jaxmnist.errors import UsageError
from jaxmnist.models import ARCHS, create_model
from jaxmnist.report.plots import benchmark as benchmark_plots
from jaxmnist.report.plots.benchmark import save_benchmark_picture, save_growth_picture
from jaxmnist.report.terminal.benchmark import (
    growth_sentence,
    print_benchmark,
    print_growth,
    print_overview,
    print_profiles,
)
from jaxmnist.train import vmapped
from tests import small_network
from tests.small_network import Small

PARITY = Path(__file__).parents[1] / "fixtures" / "parity"
CPU = jax.devices("cpu")[0]
CACHE_OPTIONS = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)
RECIPE = Recipe(name="quick", batch_size=8, augmentation=Augmentation(translation=0.1))


def use_small_network(patch):
    for room in (measure, training, inference, vmapped, growth):
        patch.setattr(room, "create_model", lambda arch: Small())
    patch.setattr(turns, "RUN_IN_SECONDS", 0.001)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    use_small_network(monkeypatch)


@pytest.fixture(scope="module")
def measured():
    """Returns the results of 3 repeats of 3 steps, and the lines reported meanwhile."""
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        use_small_network(patch)
        options = {"repeats": 3, "steps": 3, "report": lines.append}
        return measure.benchmark("third", RECIPE, CPU, **options), lines


@pytest.fixture(scope="module")
def result(measured):
    return measured[0]


def test_every_variant_has_all_fields(result):
    counts = {"unjitted": (1, 8), "jitted": (3, 8), "chunked": (3, 8), "unaugmented": (3, 8)}
    assert list(result["train"]) == list(counts)
    rows = result["train"] | {task: result[task]["jax"] for task in ("evaluate", "predict")}
    counts |= {"evaluate": (10_000, 1), "predict": (measure.PREDICTIONS, 1)}
    for name, row in rows.items():
        count, images = counts[name]
        assert row["count"] == count
        assert len(row["seconds"]) == 3
        assert min(row["seconds"]) > 0
        rates = [count * images / seconds for seconds in row["seconds"]]
        assert row["images_per_second"] == pytest.approx(
            {"median": statistics.median(rates), "min": min(rates), "max": max(rates)}
        )
        milliseconds = row["milliseconds"]["median"]
        assert milliseconds == pytest.approx(images * 1e3 / row["images_per_second"]["median"])
        assert row["first_seconds"] > 0
        assert row["peak_memory_bytes"] > 50e6
        compiled = name not in ("unjitted", "evaluate", "predict")
        assert (row.get("trace_seconds") is not None) == (row.get("compile_seconds") is not None) == compiled
    assert result["parameters"] == 42
    assert result["recipe"]["batch_size"] == 8
    assert result["repeats"] == 3
    assert result["torch"] is None
    assert result["environment"]["packages"]["jax"] == jax.__version__
    assert result["load_average"] >= 0


def test_a_variant_works_for_a_while_before_it_is_measured(monkeypatch):
    monkeypatch.setattr(turns, "RUN_IN_SECONDS", 0.05)
    calls = []

    def work(count):
        calls.append(count)
        time.sleep(0.02)

    rows = turns.measure_in_turn({"only": turns.Turn(turns.timed(work), 7)}, repeats=2)
    assert calls == [1, 7, *[7] * (len(calls) - 2)]
    # In each of two repeats 0.05 s of untimed work, one to three times 0.02 s as measured in the warm-up, and one more.
    assert len(calls) - 2 in (4, 6, 8)
    assert rows["only"]["milliseconds"]["min"] >= 20 / 7


def test_seeds_together_take_the_steps_of_each():
    turns_of = training.seeds_together("third", RECIPE, CPU, 2, seeds=2)
    assert list(turns_of) == ["at_once", "in_a_row"]
    for variant in turns_of.values():
        assert variant(2, 0).seconds > 0
        np.testing.assert_array_equal(variant.state.step, [2, 2])
        np.testing.assert_array_equal(variant.metrics.examples, [16, 16])


def test_arithmetic_is_counted_as_three_forward_passes_and_set_beside_the_peak(result):
    for row in result["train"].values():
        flop = 3 * 2 * result["multiply_adds"] * row["images"] * row["count"]
        assert row["gflops"]["max"] == pytest.approx(flop / min(row["seconds"]) / 1e9)
        assert 0 < row["of_peak"]["min"] <= row["of_peak"]["median"] < 1
    # Every processor that JAX runs on reaches the lower bound, and none the upper one.
    assert 0.5 < result["peak_gflops"]["median"] < 100_000


def test_ratios_are_taken_repeat_by_repeat(result):
    unjitted, chunked = (result["train"][name]["seconds"] for name in ("unjitted", "chunked"))
    ratios = [slow * 3 / fast for slow, fast in zip(unjitted, chunked, strict=True)]
    ratio = result["train"]["chunked"]["over_unjitted"]
    assert ratio["median"] == pytest.approx(statistics.median(ratios))
    assert (ratio["min"], ratio["max"]) == pytest.approx((min(ratios), max(ratios)))
    assert result["train"]["unjitted"]["over_unjitted"] == {"median": 1, "min": 1, "max": 1}


def test_the_share_of_augmentation_is_taken_repeat_by_repeat(result):
    whole, plain = (result["train"][name]["seconds"] for name in ("chunked", "unaugmented"))
    shares = [1 - fast / slow for slow, fast in zip(whole, plain, strict=True)]
    assert result["train"]["chunked"]["augmentation_share"]["median"] == pytest.approx(
        statistics.median(shares)
    )
    assert f"Augmentation takes {100 * statistics.median(shares):.1f} %" in " ".join(printed(result).split())


def test_a_recipe_without_augmentation_has_no_variant_without_it():
    plain = dataclasses.replace(RECIPE, augmentation=Augmentation())
    assert list(training.trainings("third", plain, CPU, 1)) == ["unjitted", "jitted", "chunked"]
    assert list(training.trainings("third", plain, CPU, 1, unjitted=False)) == ["jitted", "chunked"]


def test_results_survive_json(result):
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_progress_is_reported_for_every_repeat(measured):
    for prefix in ("", "evaluate: ", "predict: "):
        repeats = [line for line in measured[1] if line.startswith(f"{prefix}repeat")]
        assert [line.split(" ms")[0].count(f"repeat {i}/3") for i, line in enumerate(repeats, 1)] == [1] * 3


def test_variants_compute_the_same_and_nothing_compiles_when_warm():
    variants = training.trainings("third", RECIPE, CPU, 4)
    compilations = []

    def listen(event, duration_secs, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            compilations.append(details)

    variants["unjitted"](1, 0)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        variants["unjitted"](2, 0)
        for name in ("jitted", "chunked"):
            variants[name](1, 0)
            variants[name](2, 0)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert compilations == []

    def outcome(name):
        return jax.tree.map(np.asarray, (variants[name].state, variants[name].metrics))

    # The jitted step and the body of the chunk are the same operations compiled twice. On the machines tried they
    # agree bit for bit; 1e-6, some units in the last place, allows for other fusions. Un-jitted nothing is fused, so
    # sums round differently; from the fourth step of `third` on that grows, as a maximum may be another element.
    jitted = outcome("jitted")
    assert jitted[0].step == 3
    assert jitted[1].examples == 24
    chex.assert_trees_all_close(outcome("chunked"), jitted, rtol=1e-6, atol=1e-7)
    chex.assert_trees_all_close(outcome("unjitted"), jitted, rtol=1e-4, atol=1e-7)


def test_compile_cache_is_neither_used_nor_filled_and_comes_back(tmp_path):
    def compiled_afresh(text):
        return jax.jit(lambda x: x * 2 + len(text)).lower(1.0).compile()

    before = {name: jax.config.values[name] for name in CACHE_OPTIONS}
    try:
        for name, value in zip(CACHE_OPTIONS, (str(tmp_path), 0, -1), strict=True):
            jax.config.update(name, value)
        with turns.no_compile_cache():
            compiled_afresh("first")
            assert list(tmp_path.iterdir()) == []
        compiled_afresh("second")
        assert list(tmp_path.iterdir()) != []
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


def test_table_fits_80_columns_and_says_what_was_measured(result):
    text = printed(result)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for part in ("un-jitted step", "jitted step", "call per 3 steps", "random", "JAX", "42 parameters"):
        assert part in text
    assert "PyTorch" not in text


@pytest.mark.parametrize(("load", "warned"), [(0.1, False), (3.0, True)])
def test_table_warns_of_a_busy_machine(result, load, warned):
    environment = result["environment"] | {"cpu_count": 2}
    text = printed(result | {"load_average": load, "environment": environment})
    assert ("The machine was busy" in text) == warned


@pytest.fixture
def beside_torch(result):
    """Returns the results as if PyTorch had been measured as well."""
    ratio = {"median": 2.0, "min": 1.8, "max": 2.25}
    row = result["train"]["jitted"] | {"trace_seconds": None, "compile_seconds": None}
    ours = result["train"]["chunked"] | {"over_torch": ratio, "over_pipeline": ratio}
    facts = {"version": "2.0", "threads": 2, "parameters": 42, "workers": 0}
    jax_row = result["evaluate"]["jax"]
    evaluate = {"jax": jax_row | {"over_torch": ratio}, "torch": jax_row, "pipeline": jax_row}
    train = result["train"] | {"chunked": ours, "torch": row, "pipeline": row}
    epoch = {name: ratio for name in ("jax", "torch", "pipeline", "over_torch", "over_pipeline")}
    epoch |= {"images": 60_000, "evaluated": 10_000}
    return result | {"train": train, "evaluate": evaluate, "torch": facts, "epoch": epoch}


def test_table_compares_with_torch(beside_torch):
    text = printed(beside_torch)
    assert "Chunked against PyTorch, in memory, plain: 2.00x (1.80-2.25)." in text
    assert "Chunked against PyTorch, Pillow in a DataLoader: 2.00x (1.80-2.25)." in text
    assert "PyTorch, eager" in text
    assert "Pillow in a DataLoader 2.0 s, 2.00x (1.80-2.25)." in " ".join(text.split())
    assert "DataLoader workers 0 (the fastest)" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


def test_epoch_is_put_together_from_steps_and_an_evaluation():
    train = {
        name: {"count": 10, "seconds": [ours, 2 * ours]} for name, ours in (("chunked", 1.0), ("torch", 3.0))
    }
    train["pipeline"] = {"count": 5, "seconds": [2.0, 5.0]}
    evaluate = {name: {"seconds": [10.0, 20.0]} for name in ("jax", "torch", "pipeline")}
    epoch = measure._epoch(train, evaluate, steps=100)
    assert epoch["jax"] == {"median": 30.0, "min": 20.0, "max": 40.0}
    assert epoch["over_torch"] == {"median": 2.0, "min": 2.0, "max": 2.0}
    assert epoch["over_pipeline"] == {"median": 2.75, "min": 2.5, "max": 3.0}


def test_a_ratio_of_speeds_is_that_of_images():
    row, other = (
        {"images": images, "count": 2, "seconds": [1.0, seconds]} for images, seconds in ((10, 2.0), (5, 1.0))
    )
    assert turns.speed_ratio(row, other) == {"median": 1.5, "min": 1.0, "max": 2.0}


def test_overview_has_a_line_for_each_case_and_fits_80_columns(beside_torch):
    text = printed([beside_torch, beside_torch | {"arch": "/of/mine/net.py:Net"}], print_overview)
    lines = [line.split() for line in text.splitlines()]
    cases = [line[:2] for line in lines if line[:1] in (["third"], ["net.py:Net"])]
    assert cases == [["third", "8"], ["net.py:Net", "8"]]
    assert max(map(len, text.splitlines())) <= 80


def test_pictures_show_what_was_measured(beside_torch, tmp_path):
    larger = beside_torch | {"recipe": beside_torch["recipe"] | {"batch_size": 16}}
    cases = ([beside_torch], [beside_torch, larger], [beside_torch, beside_torch | {"arch": "second"}])
    for number, results in enumerate(cases):
        path = save_benchmark_picture(tmp_path / f"{number}.png", results)
        assert path is not None
        assert path.stat().st_size > 10_000
    assert save_benchmark_picture(tmp_path / "none.png", [{"evaluate": {}}]) is None


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"repeats": 0}, "--repeats 0 of --steps 100 measure nothing"),
        ({"steps": -1}, "--steps -1 measure nothing"),
        ({"recipe": dataclasses.replace(RECIPE, batch_size=6401)}, "--batch-size 6401 exceeds the 6,400"),
    ],
)
def test_impossible_numbers_are_refused(values, sentence):
    with pytest.raises(UsageError, match=sentence):
        measure.benchmark(**{"arch": "third", "recipe": RECIPE, "device": CPU} | values)


def test_command_prints_json_and_writes_it(monkeypatch, capsys, tmp_path, result):
    calls = []

    def fake(arch, recipe, device, **options):
        calls.append((arch, recipe.name, recipe.batch_size, device.platform))
        options.pop("report")("one line")
        return result | {"options": options}

    monkeypatch.setattr(measure, "benchmark", fake)
    out = tmp_path / "out.json"
    arguments = "--arch second --batch-size 32 --repeats 5 --steps 9 --device cpu --json --out"
    assert run_command(monkeypatch, *arguments.split(), str(out)) == 0
    output = capsys.readouterr()
    assert calls == [("second", "second-modified", 32, "cpu")]
    assert out.with_suffix(".png").stat().st_size > 10_000
    assert json.loads(output.out) == json.loads(out.read_text())
    tasks = ["train", "evaluate", "predict"]
    assert json.loads(output.out)["options"] == {
        "tasks": tasks,
        "repeats": 5,
        "steps": 9,
        "unjitted": True,
        "seeds": 0,
        "with_torch": False,
    }
    assert "one line" in output.err
    assert run_command(monkeypatch, "--device", "cpu") == 0
    assert "un-jitted step" in capsys.readouterr().out


def test_command_measures_every_network_and_batch_size_asked_for(monkeypatch, capsys, tmp_path, result):
    calls = []

    def fake(arch, recipe, device, **options):
        calls.append((arch, recipe.batch_size, options["unjitted"]))
        return result | {"arch": arch}

    monkeypatch.setattr(measure, "benchmark", fake)
    out = tmp_path / "out.json"
    monkeypatch.setattr(benchmark_plots, "save_benchmark_picture", lambda path, results: path)
    assert run_command(monkeypatch, "--arch", "all", "--batch-size", "8", "16", "--out", str(out)) == 0
    assert calls == [(arch, size, False) for arch in ARCHS for size in (8, 16)]
    assert len(json.loads(out.read_text())["results"]) == len(calls)
    assert "evolution_v3" in capsys.readouterr().out


@pytest.fixture(scope="module")
def grown():
    """Returns the growth of tiny epochs on two of the simulated devices of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        use_small_network(patch)
        for name, value in {"IMAGES": (8, 16), "BATCH_SIZES": (4, 8), "SEEDS": (1, 2), "EPOCH": 16}.items():
            patch.setattr(growth, name, value)
        patch.setattr(growth, "ARCHS", ("second", "first"))
        return growth.growth("third", RECIPE, jax.devices("cpu")[:2], repeats=2)


def test_growth_measures_every_axis(grown):
    sizes = {name: axis["sizes"] for name, axis in grown["axes"].items()}
    devices = [1, 2][: len(jax.devices("cpu"))]
    expected = {
        "images": [8, 16],
        "batch size": [4, 8],
        "parameters": [42, 42],
        "seeds": [1, 2],
        "devices": devices,
    }
    assert sizes == expected
    assert grown["axes"]["parameters"]["names"] == ["second", "first"]
    assert grown["axes"]["parameters"]["exponent"] is None
    for axis in grown["axes"].values():
        assert all(0 < time["min"] <= time["median"] <= time["max"] for time in axis["milliseconds"])
    assert json.loads(json.dumps(grown, allow_nan=False)) == grown


@pytest.mark.parametrize(("power", "expected"), [(0, 0.0), (1, 1.0), (2, 2.0)])
def test_growth_is_the_power_of_the_size(power, expected):
    assert growth._exponent([1, 2, 8], [3.0 * size**power for size in (1, 2, 8)]) == pytest.approx(expected)


def test_growth_is_printed_as_a_sentence_for_each_axis_and_drawn(grown, tmp_path):
    axis = {"sizes": [1, 8], "milliseconds": [{"median": 10.0}, {"median": 80.0}], "exponent": 1.0}
    sentence = "Seeds from 1 to 8: 10.0 to 80.0 ms, 8.00 times; time goes as seeds to the power of 1.00."
    assert growth_sentence("seeds", axis) == sentence
    text = printed(grown, print_growth)
    for name in ("Images from 8 to 16", "Batch size from", "Seeds from"):
        assert name in text
    assert save_growth_picture(tmp_path / "growth.png", grown).stat().st_size > 10_000


def test_a_profile_has_kinds_of_operations_and_layers(monkeypatch):
    monkeypatch.setattr(training, "create_model", create_model)
    # Many steps: with two, a wait of milliseconds in one was most of the time. And again if other processes held
    # some operations up for longer than they ran.
    result = {}
    for _ in range(3):
        result = profile.profile("second", RECIPE, CPU, steps=40)
        products = result["kinds"]["products"]
        together = sum(sum(times.values()) for times in result["kinds"].values())
        # The operations fill the step except for gaps; two threads may double their sum.
        fills = 0.3 * result["milliseconds"] < together < 2.5 * result["milliseconds"]
        if fills and products["backward"] > products["forward"] > 0:
            break
    else:
        pytest.fail("in none of three profiles the operations filled the step, most of them backward")
    assert {"products", "loops", "sums", "stacking"} <= result["kinds"].keys()
    assert {"conv1", "conv2", "bn1", "other"} <= result["layers"].keys()
    assert together == pytest.approx(sum(result["layers"].values()))
    text = printed([result], print_profiles)
    assert "products" in text
    assert "By layer: " in text


def test_growth_starts_from_one_network(monkeypatch, capsys):
    assert run_command(monkeypatch, "--growth", "--arch", "all") == 2
    assert "one network" in capsys.readouterr().err


def test_command_refuses_a_missing_folder_before_it_measures(monkeypatch, capsys, tmp_path):
    assert run_command(monkeypatch, "--out", str(tmp_path / "none" / "out.json")) == 2
    assert "make the folder" in capsys.readouterr().err


def test_starts_are_measured_in_processes_with_and_without_a_compile_cache(monkeypatch):
    monkeypatch.setattr(start, "IMAGES", {"train": 960, "t10k": 100})
    lines = []
    network = f"{small_network.__file__}:Small"
    measured = measure.benchmark(network, RECIPE, CPU, tasks=("start",), repeats=1, report=lines.append)
    cold, warm = measured["start"]["cold"], measured["start"]["warm"]
    assert 0.5 < warm["seconds"][0] < cold["seconds"][0] == cold["first_progress_seconds"]["median"]
    assert 100e6 < warm["peak_memory_bytes"][0] < 4e9
    assert [line.rsplit(" ", 4)[0] for line in lines] == [
        "start: repeat 1/1: cold",
        "start: repeat 1/1: warm",
    ]
    text = printed(json.loads(json.dumps(measured)))
    assert f"first progress after {cold['seconds'][0]:.2f} s" in " ".join(text.split())


def test_a_failed_start_is_reported_with_its_last_line(monkeypatch):
    monkeypatch.setattr(start, "IMAGES", {"train": 1, "t10k": 1})
    monkeypatch.setattr(start, "_TRAIN", "raise SystemExit('nothing here')")
    with pytest.raises(UsageError, match=r"failed \(nothing here\); run it by itself"):
        start.starts("third", RECIPE, "cpu", 1)


def test_without_torch_the_comparison_ends_with_a_sentence(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert run_command(monkeypatch, "--torch", "--device", "cpu") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --torch needs PyTorch")
    assert error.count("\n") == 1


def test_a_broken_torch_is_named(monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("raise OSError('no library for this processor')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UsageError, match="no library for this processor"):
        TorchProcess("third", RECIPE, 64, "cpu")


@pytest.mark.parametrize(
    ("arch", "platform", "sentence"),
    [("step3", "cpu", "only the archs first, second, third, dilated"), ("third", "gpu", "add --device cpu")],
)
def test_torch_refuses_what_it_cannot_compare(monkeypatch, tmp_path, arch, platform, sentence):
    (tmp_path / "torch.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=sentence):
        TorchProcess(arch, RECIPE, 64, platform)


def test_torch_networks_match_the_fixtures():
    torch = pytest.importorskip("torch")
    from jaxmnist.diagnostics.pytorch.networks import NETWORKS

    assert tuple(NETWORKS) == TORCH_ARCHS
    for arch, parameters in zip(TORCH_ARCHS, (13_808, 5_048, 7_902, 5_340), strict=True):
        network = NETWORKS[arch](dropout=0.0)
        assert sum(parameter.numel() for parameter in network.parameters()) == parameters
        with np.load(PARITY / f"{arch}.npz") as fixture:
            wanted = [name for name in network.state_dict() if "num_batches" not in name]
            network.load_state_dict({name: torch.tensor(fixture[name]) for name in wanted}, strict=False)
            images = torch.tensor(fixture["x"])
            np.testing.assert_allclose(network.eval()(images).detach(), fixture["eval_out"], atol=2e-5)
            np.testing.assert_allclose(network.train()(images).detach(), fixture["train_out"], atol=2e-5)


def test_torch_process_takes_turns():
    pytest.importorskip("torchvision")
    with TorchProcess("second", RECIPE, 64, "cpu") as torch:
        assert torch.facts["parameters"] == 5_048
        for task in ("train", "pipeline", "evaluate", "pipeline_evaluate", "predict"):
            assert torch.task(task)(2, 0).seconds > 0
            assert torch.task(task)(1, 2).seconds > 0
        assert torch.facts["workers"] is not None
        assert torch.task("train")(1, 0).peak_memory_bytes > 50e6


def test_without_torchvision_the_pipeline_alone_is_left_out(monkeypatch, tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with TorchProcess("second", RECIPE, 64, "cpu") as torch:
        assert torch.facts["pipeline_fault"] == "RuntimeError: operator torchvision::nms does not exist"
        assert torch.task("train")(2, 0).seconds > 0


def printed(result, show=print_benchmark):
    console = Console(width=80, record=True, file=io.StringIO())
    show(console, result)
    return console.export_text()


def run_command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main("benchmark")
    return end.value.code


def test_the_memory_of_the_process_that_starts_a_measurement_does_not_count():
    measured = "from jaxmnist.diagnostics.benchmark.turns import peak_memory; print(peak_memory())"
    start = f"subprocess.run([sys.executable, '-c', {measured!r}], check=True)"
    parent = f"import subprocess, sys; large = b'1' * 10**9; {start}"
    done = subprocess.run([sys.executable, "-c", parent], check=True, capture_output=True, text=True)
    assert 50e6 < int(done.stdout) < 800e6
