"""Networks: outputs of the PyTorch originals, the published counts, the promised names."""

from functools import partial
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest

from jaxmnist import ops
from jaxmnist.errors import UsageError
from jaxmnist.interop import from_torch, to_torch
from jaxmnist.models import ARCHS, count_params, create_model
from jaxmnist.models.layers import BANK, Conv, Dropout, GroupNorm
from jaxmnist.models.structure import layers
from tests.conftest import FIXTURES
from tests.sizes import FORMS, SIZES

# Compiled like the training programs, except that LLVM does not optimise what runs once on few images.
compiled = partial(
    jax.jit,
    compiler_options=ops.compiler_options(jax.devices()[0]) | {"xla_backend_optimization_level": 0},
)

COUNTS = {
    "first": 13_808,
    "second": 5_048,
    "third": 7_902,
    "dilated": 5_340,
    "evolution_v1": 6_536,
    "evolution_v2": 6_704,
    "evolution_v3": 7_820,
    "challenge_ll": 9_412,
    "challenge_gap": 6_992,
    "challenge_final": 6_972,
    "step1": 257_354,
    "step3": 7_216,
    "flagship": 7_836,
    "flagship_small": 5_245,
    **SIZES,
}
DROPOUT = {
    "first": 0.03,
    "second": 0.1,
    "third": 0.03,
    "dilated": 0.03,
    "evolution_v1": 0.0,
    "evolution_v2": (0.1, 0.05),
    "evolution_v3": 0.0,
    "challenge_ll": 0.05,
    "challenge_gap": 0.05,
    "challenge_final": 0.0,
    "step1": 0.0,
    "step3": 0.05,
    "flagship": 0.0,
    "flagship_small": 0.0,
    **dict.fromkeys(SIZES, 0.0),
}


# Layers in the order of the sources' tables: activation, batch normalisation, dropout after each convolution.
ORDER = {
    "first": "conv1 ABD conv2 ABD trans1 pool conv3 ABD conv4 ABD conv5 ABD conv6 ABD average head",
    "second": "conv1 ABD conv2 ABD trans1 pool conv3 ABD conv4 ABD conv5 ABD average head",
    "third": "conv1 ABD conv2 ABD trans1 pool conv3 ABD skip1 conv4 ABD conv5 ABD skip2 conv6 ABD average head",
    "dilated": "conv1 BAD conv2 BAD conv3 BAD pool trans1 BAD conv4 BAD conv5 BAD conv6 BAD average",
    "evolution_v1": "conv1 conv2 conv3 trans1 pool conv4 conv5 conv6 trans2 pool conv7 average head",
    "evolution_v2": "conv1 BAD conv2 BAD conv3 BAD pool trans1 BA conv4 BAD conv5 BAD conv6 BAD pool trans2 BA conv7 "
    "average head",
    "evolution_v3": "conv1 BA conv2 BA conv3 BA pool trans1 conv4 BA conv5 BA conv6 BA pool trans2 conv7 BA conv8 BA "
    "conv9 head average",
    "challenge_ll": "conv1 BAD conv2 BAD pool conv3 BAD conv4 BAD pool conv5 BAD head BA average fc1 A fc2",
    "challenge_gap": "conv1 BAD conv2 BAD pool conv3 BAD conv4 BAD pool conv5 BAD head BA average",
    "challenge_final": "conv1 BA conv2 BA pool conv3 BA conv4 BA pool conv5 BA average head",
    "step1": "conv1 A conv2 A conv3 A conv4 A pool conv5 A conv6 A pool head average",
    "step3": "conv1 ABD conv2 ABD trans1 pool conv3 ABD conv4 ABD conv5 ABD pool conv6 ABD conv7 ABD average head",
}


def parity(arch):
    """Reference tensors of an arch: all of them, and the weights only."""
    archive = np.load(FIXTURES / "parity" / f"{arch}.npz")
    tensors = {key: archive[key] for key in archive.files}
    results = ("x", "y", "eval_out", "train_out", "train_loss", "meta")
    weights = {
        key: value
        for key, value in tensors.items()
        if key not in results and not key.startswith(("grad/", "new/"))
    }
    return tensors, weights


def images_of(tensors):
    return jnp.asarray(tensors["x"].transpose(0, 2, 3, 1))


@pytest.mark.parametrize("arch", FORMS)
def test_evaluation_equals_the_reference(arch):
    tensors, weights = parity(arch)
    outputs = compiled(create_model(arch).apply)(from_torch(arch, weights), images_of(tensors))
    np.testing.assert_allclose(outputs, tensors["eval_out"], rtol=0, atol=2e-5)


@pytest.mark.parametrize("arch", FORMS)
def test_a_training_pass_equals_the_reference_in_loss_gradients_and_statistics(arch):
    tensors, weights = parity(arch)
    variables = from_torch(arch, weights)
    model, labels = create_model(arch, dropout=0.0), jnp.asarray(tensors["y"])
    statistics = variables.get("batch_stats", {})

    @compiled
    def train_pass(params, images):
        def loss(params):
            outputs, updated = model.apply(
                {"params": params, "batch_stats": statistics}, images, train=True, mutable=["batch_stats"]
            )
            chosen = jnp.take_along_axis(jax.nn.log_softmax(outputs), labels[:, None], axis=1)
            return -chosen.mean(), (outputs, updated.get("batch_stats", {}))

        return jax.value_and_grad(loss, has_aux=True)(params)

    (loss, (outputs, batch_stats)), gradients = train_pass(variables["params"], images_of(tensors))
    np.testing.assert_allclose(outputs, tensors["train_out"], rtol=0, atol=2e-5)
    np.testing.assert_allclose(loss, tensors["train_loss"], rtol=0, atol=2e-5)
    ours = to_torch(arch, {"params": gradients, "batch_stats": batch_stats})
    compared = 0
    for key, value in ours.items():
        kind, tolerance = ("new/", 2e-6) if "running" in key else ("grad/", 5e-5)
        np.testing.assert_allclose(value, tensors[kind + key], rtol=0, atol=tolerance, err_msg=key)
        compared += 1
    assert compared == sum(key.startswith(("grad/", "new/")) for key in tensors)


@pytest.mark.parametrize("arch", ARCHS)
def test_parameter_count_is_the_published_one(arch):
    variables = jax.eval_shape(create_model(arch).init, jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    sizes = jax.tree_util.tree_map(lambda leaf: leaf.size, variables["params"])
    assert jax.tree_util.tree_reduce(lambda a, b: a + b, sizes) == COUNTS[arch]
    assert count_params(variables) == COUNTS[arch]
    assert sum(layer.parameters for layer in layers(create_model(arch))) == COUNTS[arch]


def test_kernels_are_mixtures_of_four_orthonormal_filters():
    flat = BANK.reshape(4, 9)
    np.testing.assert_allclose(flat @ flat.T, np.eye(4), atol=1e-6)
    layer, x = Conv(3, padding=1, dilation=2, mixes=True), jax.random.normal(jax.random.key(1), (2, 9, 9, 4))
    shares = np.asarray(jax.tree.leaves(layer.init(jax.random.key(0), x))[0])
    assert shares.shape == (2, 2, 2, 3)
    kernel = np.tensordot(shares.reshape(4, 2, 3), flat, (0, 0)).transpose(2, 0, 1).reshape(3, 3, 2, 3)
    plain = Conv(3, padding=1, dilation=2).apply({"params": {"kernel": jnp.asarray(kernel)}}, x)
    mixed = layer.apply({"params": {"kernel": jnp.asarray(shares)}}, x)
    chex.assert_trees_all_close(mixed, plain, atol=1e-5)
    # A step of a slope along x reads what grows to the right.
    ramp = jnp.broadcast_to(jnp.arange(9.0)[:, None], (1, 9, 9, 1))
    along_x = jnp.zeros((2, 2, 1, 1)).at[0, 1].set(1.0)
    slope = Conv(1, mixes=True).apply({"params": {"kernel": along_x}}, ramp)
    chex.assert_trees_all_close(slope, jnp.full((1, 7, 7, 1), 6**0.5), rtol=1e-6)


@pytest.mark.parametrize("arch", SIZES)
def test_a_size_has_the_layers_of_flagship_small_and_at_most_the_parameters_of_its_name(arch):
    assert SIZES[arch] <= int(arch.removeprefix("flagship_"))
    shapes = [
        [
            (layer.name, layer.kind, layer.output_shape[1:], layer.receptive_field)
            for layer in layers(create_model(name))
        ]
        for name in ("flagship_small", arch)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("num_classes", [2, 47])
def test_any_network_scores_any_number_of_classes_and_only_its_head_depends_on_it(arch, num_classes):
    images, key = jnp.zeros((3, 28, 28, 1)), jax.random.key(0)
    model: Any = create_model(arch, num_classes=num_classes)
    scores, other = jax.eval_shape(model.init_with_output, key, images)
    assert scores.shape == (3, num_classes)
    ten = jax.eval_shape(create_model(arch).init, key, images)
    sizes = [{path: leaf.shape for path, leaf in jax.tree.leaves_with_path(tree)} for tree in (ten, other)]
    assert sizes[0].keys() == sizes[1].keys()
    changed = {path[1].key for path in sizes[0] if sizes[0][path] != sizes[1][path]}
    last = "conv6" if arch == "dilated" or arch.startswith("flagship") else "head"
    allowed = {last, f"{last}_bn", last.replace("conv", "bn")} | (
        {"fc1", "fc2"} if arch == "challenge_ll" else set()
    )
    assert last in changed <= allowed


def test_structure_lists_layers_in_order_with_channels_height_and_width():
    found = {layer.name: layer for layer in layers(create_model("third"))}
    assert list(found)[:6] == ["conv1", "gelu1", "bn1", "dropout1", "conv2", "gelu2"]
    assert found["skip2"].output_shape == (12, 6, 6)
    assert found["bn1"][:5] == ("bn1", "BatchNorm", (10, 26, 26), 20, 20)
    assert found["gelu6"][:5] == ("gelu6", "Activation", (12, 6, 6), 0, 0)


@pytest.mark.parametrize("arch", ARCHS)
def test_dropout_is_the_published_rate_and_can_be_turned_off(arch):
    assert vars(create_model(arch))["dropout"] == DROPOUT[arch]
    model, images = create_model(arch, dropout=0.0), jnp.ones((2, 28, 28, 1))
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    # Without dropout there is nothing random, so no stream is asked for.
    jax.eval_shape(partial(model.apply, train=True, mutable=["batch_stats"]), variables, images)


@pytest.mark.parametrize("arch", ORDER)
def test_layers_follow_each_other_as_in_the_sources_and_every_dropout_has_its_rate(arch):
    model, rates = create_model(arch), []

    def note(next_function, args, kwargs, context):
        if isinstance(context.module, Dropout):
            rates.append(context.module.rate)
        return next_function(*args, **kwargs)

    with nn.intercept_methods(note):
        order = [
            {
                "Activation": "A",
                "BatchNorm": "B",
                "Dropout": "D",
                "MaxPool": "pool",
                "GlobalAverage": "average",
            }.get(layer.kind, layer.name)
            for layer in layers(model)
        ]
    expected = [letter for word in ORDER[arch].split() for letter in (word if word.isupper() else [word])]
    assert order == expected
    rate = DROPOUT[arch]
    count = expected.count("D")
    assert rates == ([rate] * count if isinstance(rate, float) else [rate[0]] * 3 + [rate[1]] * 3)


class TwoDropouts(nn.Module):
    @nn.compact
    def __call__(self, x):
        return Dropout(0.5)(x, train=True), Dropout(0.5)(x, train=True)


def test_dropouts_of_one_network_draw_independently():
    drawn = TwoDropouts().apply({}, jnp.ones((8, 8, 8, 32)), rngs={"dropout": jax.random.key(0)})
    one, other = (np.asarray(kept).ravel() > 0 for kept in drawn)
    # Five standard deviations: a false alarm once in two million.
    assert abs(np.mean(one == other) - 0.5) < 2.5 / one.size**0.5


@pytest.mark.parametrize("rate", [0.03, 0.5])
def test_dropout_zeroes_its_share_and_scales_the_rest(rate):
    ones = jnp.ones((16, 26, 26, 64))
    out = np.asarray(Dropout(rate).apply({}, ones, train=True, rngs={"dropout": jax.random.key(0)}))
    kept = out > 0
    np.testing.assert_allclose(out[kept], 1 / (1 - rate), rtol=1e-6)
    # Five standard deviations: a false alarm once in two million.
    assert abs(kept.mean() - (1 - rate)) < 5 * (rate * (1 - rate) / out.size) ** 0.5


def test_dropout_draws_depend_on_the_key():
    model, images = create_model("second", dropout=0.5), jax.random.normal(jax.random.key(1), (64, 28, 28, 1))
    variables = jax.jit(model.init)(jax.random.key(0), images)

    @compiled
    def outputs(key):
        return model.apply(variables, images, train=True, rngs={"dropout": key}, mutable=["batch_stats"])[0]

    keys = [jax.random.key(i) for i in (1, 1, 2)]
    a, b, c = map(outputs, keys)
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(a, c)


@pytest.mark.parametrize(
    "arch", ["challenge_ll", *(pytest.param(arch, marks=pytest.mark.battery) for arch in ("third", "step1"))]
)
def test_padding_a_batch_changes_neither_gradients_nor_statistics(arch):
    tensors, weights = parity(arch)
    variables = from_torch(arch, weights)
    model = create_model(arch, dropout=0.0)
    images = images_of(tensors)[:6]
    padded = jnp.concatenate([images, 100.0 * jnp.ones((4, 28, 28, 1))])
    mask = jnp.array([1.0] * 6 + [0.0] * 4)

    @compiled
    @partial(jax.grad, has_aux=True)
    def gradients(params, images, mask):
        outputs, updated = model.apply(
            {"params": params, "batch_stats": variables.get("batch_stats", {})},
            images,
            train=True,
            mask=mask,
            mutable=["batch_stats"],
        )
        return jnp.where(mask[:, None] > 0, outputs, 0.0)[:, 3].sum(), updated

    with_padding = gradients(variables["params"], padded, mask)
    without = gradients(variables["params"], images, mask[:6])
    chex.assert_trees_all_close(with_padding, without, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("arch", FORMS)
def test_initial_weights_are_uniform_within_the_sources_bound(arch):
    variables = jax.jit(create_model(arch).init)(jax.random.key(7), jnp.zeros((1, 28, 28, 1)))
    for name, layer in variables["params"].items():
        if "scale" in layer:
            np.testing.assert_array_equal(layer["scale"], 1.0)
            np.testing.assert_array_equal(layer["bias"], 0.0)
            continue
        bound = np.prod(layer["kernel"].shape[:-1]) ** -0.5
        for values in map(np.asarray, layer.values()):
            assert np.abs(values).max() <= bound, name
            # The largest of n uniform draws falls short of the bound by more than 12 / n once in 160,000.
            assert np.abs(values).max() > bound * (1 - 12 / values.size), name
            assert abs(values.mean()) < 5 * bound / (3 * values.size) ** 0.5, name


def test_initial_weights_are_spread_evenly_within_their_bound():
    variables = jax.jit(create_model("step1").init)(jax.random.key(7), jnp.zeros((1, 28, 28, 1)))
    for name in ("conv4", "conv5", "conv6", "head"):
        kernel = np.asarray(variables["params"][name]["kernel"])
        bound = np.prod(kernel.shape[:-1]) ** -0.5
        assert kstest(kernel.ravel(), "uniform", (-bound, 2 * bound)).pvalue > 1e-3, name


@pytest.mark.parametrize("groups", [1, 2])
def test_group_norm_is_its_formula_with_epsilon_scale_and_bias(groups):
    random = np.random.default_rng(0)
    # So little spread that epsilon, 1e-5, is as large as the variance.
    x = 1 + 3e-3 * random.normal(size=(8, 5, 5, 4))
    scale, bias = random.normal(size=(2, 8))
    grouped = x.reshape(groups, -1, 4)
    centred = grouped - grouped.mean(1, keepdims=True)
    expected = (centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)).reshape(x.shape)
    expected = expected * scale[:, None, None, None] + bias[:, None, None, None]
    params = {"scale": jnp.asarray(scale, jnp.float32), "bias": jnp.asarray(bias, jnp.float32)}
    found = np.asarray(GroupNorm(groups).apply({"params": params}, jnp.asarray(x, jnp.float32)))
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("norm", ["layer", "group"])
@pytest.mark.parametrize("arch", ["evolution_v2", "evolution_v3"])
def test_evolution_can_normalise_each_image_by_itself(arch, norm):
    model = create_model(arch, norm=norm, dropout=0.0)
    images = jax.random.normal(jax.random.key(0), (3, 28, 28, 1))
    variables = jax.jit(model.init)(jax.random.key(1), images)
    assert count_params(variables) == COUNTS[arch]
    assert "batch_stats" not in variables
    apply = compiled(partial(model.apply, variables))
    among_others = images.at[1:].add(5.0)
    np.testing.assert_allclose(apply(images)[0], apply(among_others)[0], atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2])
def test_group_norm_leaves_each_group_of_an_image_with_mean_0_and_variance_1(groups):
    x = 3 + 5 * jax.random.normal(jax.random.key(2), (8, 5, 5, 4))
    layer = GroupNorm(groups)
    y = np.asarray(layer.apply(layer.init(jax.random.key(0), x), x))
    grouped = y.reshape(groups, -1, 4)
    np.testing.assert_allclose(grouped.mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(grouped.std(1), 1, atol=1e-4)


def test_an_unknown_arch_or_field_is_answered_with_the_names_that_exist():
    with pytest.raises(UsageError, match=r"'thrid' \(did you mean 'third'\?\); choose one of first, second"):
        create_model("thrid")
    with pytest.raises(UsageError, match="no field 'width'; its fields are dropout"):
        create_model("third", width=3)
