"""JAX as the user set it: what is set aside, and what changes numbers."""

import hashlib
import json
import os
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmnist
from jaxmnist.errors import JaxmnistWarning
from jaxmnist.runs.environment import warn_of_settings
from jaxmnist.runtime.jax_settings import number_settings, own_settings, settings_difference

CONFIG: Any = jax.config
OPTIONS: dict[str, Any] = {"recipe": {"epochs": 1}, "dataset": "digits", "device": "cpu", "progress": False}


def trained(runs):
    """Everything that a short training gives: its figures, and the bytes of weights and of predictions."""
    images = jaxmnist.load_dataset("digits").test_images[:40]
    classifier = jaxmnist.train_run("second", runs=runs, **OPTIONS)
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in classifier.metrics]
    arrays = [
        *jax.tree.leaves(jax.device_get(classifier.network.variables)),
        classifier.predict(images).probabilities,
    ]
    digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
    return sorted({str(array.dtype) for array in arrays}), digest, json.loads(json.dumps(rows))


def test_a_context_of_the_user_changes_no_number(tmp_path):
    usual = trained(tmp_path)
    assert usual[0] == ["float32"]
    with jax.enable_x64(True), jax.transfer_guard("disallow"):
        assert trained(tmp_path) == usual
        assert CONFIG.jax_enable_x64


def test_resuming_under_other_settings_is_warned_of(tmp_path):
    run = jaxmnist.train_run("second", runs=tmp_path, **OPTIONS).path
    with (
        jax.threefry_partitionable(False),
        pytest.warns(JaxmnistWarning, match="partitionable was True and is False"),
    ):
        jaxmnist.resume_run(run, device="cpu", progress=False)


@pytest.mark.slow
def test_neither_does_the_environment_or_the_configuration(tmp_path):
    program = """
import json, sys
import jax
from tests.runtime.test_jax_settings import trained
if sys.argv[2] == "config":
    jax.config.update("jax_enable_x64", True)
print(json.dumps(trained(sys.argv[1])))
print(jax.config.jax_enable_x64)
"""
    usual = list(trained(tmp_path))
    names = ("JAX_ENABLE_X64", "JAX_DEBUG_NANS", "JAX_CHECK_TRACER_LEAKS")
    settings = {"JAX_TRANSFER_GUARD": "disallow", **dict.fromkeys(names, "1")}
    for how, variables in (("config", {}), ("environment", settings)):
        done = subprocess.run(
            [sys.executable, "-c", program, tmp_path, how],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        found, is_on = done.stdout.splitlines()
        assert (json.loads(found), is_on) == (usual, "True")


def test_networks_are_float32_also_with_x64():
    with jax.enable_x64(True):
        images = jnp.zeros((2, 28, 28, 1), jnp.float32)
        for arch in ("third", "evolution_v2", "challenge_final", "flagship"):
            model = jaxmnist.create_model(arch)
            variables = jax.eval_shape(model.init, jax.random.key(0), images)

            def loss(variables, model=model):
                rngs = {"dropout": jax.random.key(1)}
                outputs, updates = model.apply(
                    variables, images, train=True, rngs=rngs, mutable=["batch_stats"]
                )
                return outputs.sum(), updates

            both = jax.eval_shape(
                lambda variables: jax.value_and_grad(loss, has_aux=True)(variables), variables
            )
            dtypes = {leaf.dtype for leaf in jax.tree.leaves((variables, both))}
            assert dtypes == {np.dtype(np.float32)}, arch


def test_a_model_draws_the_same_weights_with_x64():
    def drawn():
        model = jaxmnist.create_model("second")
        return jax.device_get(jax.jit(model.init)(jax.random.key(0), np.zeros((1, 28, 28, 1), np.float32)))

    usual = drawn()
    with jax.enable_x64(True):
        jax.tree.map(np.testing.assert_array_equal, usual, drawn())


def test_settings_of_the_user_are_in_force_again_afterwards():
    with jax.enable_x64(True), jax.transfer_guard("log"):
        with own_settings():
            assert jnp.ones(1).dtype == np.float32
            assert CONFIG.jax_transfer_guard_host_to_device == "allow"
        assert jnp.ones(1).dtype == np.float64
        assert CONFIG.jax_transfer_guard_host_to_device == "log"


def test_settings_that_change_numbers_are_recorded_and_said_on_resume(tmp_path, monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    assert number_settings() == {}
    (tmp_path / "config.json").write_text(json.dumps({"environment": {"settings": {}}}))
    warn_of_settings(tmp_path)  # nothing to say
    with jax.threefry_partitionable(False), jax.default_prng_impl("rbg"):
        assert number_settings() == {"jax_default_prng_impl": "rbg", "jax_threefry_partitionable": False}
        with pytest.warns(
            JaxmnistWarning, match=r"jax_default_prng_impl was 'threefry2x32' and is 'rbg', .*partition"
        ):
            warn_of_settings(tmp_path)
    (tmp_path / "config.json").write_text(
        json.dumps({"environment": {}})
    )  # a run from before they were recorded
    warn_of_settings(tmp_path)


def test_compiler_flags_count_as_well(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    flags = number_settings()
    assert flags == {"XLA_FLAGS": "--xla_cpu_enable_fast_math=true"}
    assert settings_difference({}, flags) == "XLA_FLAGS was '' and is '--xla_cpu_enable_fast_math=true'"
