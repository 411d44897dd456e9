"""PyTorch's weights: exact in both directions, faults are named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmnist
from jaxmnist.errors import CheckpointError
from jaxmnist.interop.torch import find_num_classes, from_torch, to_torch
from jaxmnist.models import create_model
from tests.conftest import FIXTURES
from tests.sizes import FORMS


def weights_of(arch):
    archive = np.load(FIXTURES / "parity" / f"{arch}.npz")
    return {
        key: archive[key]
        for key in archive.files
        if key.split(".")[-1] in ("weight", "bias", "running_mean", "running_var") and "/" not in key
    }


@pytest.mark.parametrize("arch", FORMS)
def test_from_torch_and_to_torch_are_exact_inverses(arch):
    weights = weights_of(arch)
    back = jaxmnist.interop.to_torch(arch, jaxmnist.interop.from_torch(arch, weights))
    assert back.keys() == weights.keys()
    for key, value in weights.items():
        np.testing.assert_array_equal(back[key], value, err_msg=key)
        assert back[key].dtype == np.float32


@pytest.mark.parametrize("arch", FORMS)
@pytest.mark.parametrize("num_classes", [2, 26])
def test_the_number_of_classes_follows_from_the_arrays(arch, num_classes):
    model, rng = create_model(arch, num_classes=num_classes), np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    variables = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), shapes)
    arrays = to_torch(arch, variables)
    assert find_num_classes(arch, arrays) == num_classes
    jax.tree.map(np.testing.assert_array_equal, from_torch(arch, arrays), variables)


def test_kernels_become_hwio_under_the_name_of_their_layer():
    weights = weights_of("third")
    variables = jaxmnist.interop.from_torch("third", weights)
    kernel = variables["params"]["conv2"]["kernel"]
    assert kernel.shape == (3, 3, 10, 14)
    assert kernel[2, 1, 7, 5] == weights["conv2.weight"][5, 7, 2, 1]
    assert set(variables["params"]) >= {"conv1", "bn1", "trans1", "skip1", "skip2", "head"}
    np.testing.assert_array_equal(variables["batch_stats"]["bn3"]["var"], weights["bn3.running_var"])


def test_a_state_dict_s_batch_counters_are_passed_over():
    weights = weights_of("second") | {"bn1.num_batches_tracked": np.array(469)}
    jaxmnist.interop.from_torch("second", weights)


def test_every_missing_left_over_and_misshapen_array_is_named():
    weights = weights_of("second")
    del weights["bn2.bias"]
    weights["fc.weight"] = np.zeros((10, 12), np.float32)
    weights["conv1.weight"] = weights["conv1.weight"][:, :, :2]
    with pytest.raises(CheckpointError) as error:
        jaxmnist.interop.from_torch("second", weights)
    message = str(error.value)
    assert "arch 'second'" in message
    assert "bn2.bias is missing" in message
    assert "fc.weight is not part of it" in message
    assert "conv1.weight has shape (8, 1, 2, 3) instead of (8, 1, 3, 3)" in message


def test_variables_of_another_arch_are_refused():
    variables = jaxmnist.interop.from_torch("second", weights_of("second"))
    with pytest.raises(CheckpointError, match=r"'third'.*skip1/kernel"):
        jaxmnist.interop.to_torch("third", variables)
