"""Pure training: the promises of a step, on which chunks, padding and batch size have no influence.

A small network stands in for the published ones where only the step matters.
"""

import dataclasses
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmnist import ops, train
from jaxmnist.augment import normalise
from jaxmnist.config import Augmentation, get_recipe
from jaxmnist.models import Model, create_model
from jaxmnist.optim import learning_rate, make_optimizer
from jaxmnist.train.jit import Programs, build_programs
from tests.conftest import FUSION_EMITTERS_ARE_OPTIONAL
from tests.small_network import Small

COUNT = 300
SMALL: Model = Small()
WITHOUT_DROPOUT: Model = Small(dropout=0.0)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.integers(0, 256, (COUNT, 28, 28), dtype=np.uint8))


@pytest.fixture(scope="module")
def labels():
    return jnp.arange(COUNT, dtype=jnp.int32) % 10


@pytest.fixture(scope="module")
def programs() -> Programs:
    return build_programs(SMALL, get_recipe("second"), jax.devices()[0])


KEYS = train.Keys.from_seed(1)


def order_of(programs, epoch=0, count=COUNT):
    return programs.epoch_order(KEYS.order, jnp.int32(epoch), jnp.arange(count, dtype=jnp.int32))


def run_chunks(programs, images, labels, lengths):
    """Trains on consecutive chunks of the first epoch."""
    state, metrics = programs.create_state(KEYS.init), train.no_metrics()
    start = 0
    for steps in lengths:
        state, metrics = programs.train_chunk(
            state,
            metrics,
            train.EpochData(images, labels, order_of(programs)),
            np.int32(start),
            np.int32(steps),
            KEYS.step,
        )
        start += steps
    return state, metrics


def test_an_epoch_visits_every_image_once_in_an_order_of_its_own(programs):
    orders = [np.asarray(order_of(programs, epoch)) for epoch in (0, 0, 1)]
    assert len(orders[0]) == 320
    for order in orders:
        np.testing.assert_array_equal(np.sort(order[order != train.PADDING]), np.arange(COUNT))
        np.testing.assert_array_equal(order[COUNT:], train.PADDING)
    np.testing.assert_array_equal(orders[0], orders[1])
    assert (orders[0] != orders[2]).mean() > 0.9


def test_chunks_of_any_length_give_the_same_bytes_from_one_compiled_program(programs, images, labels):
    whole = run_chunks(programs, images, labels, [5])
    chex.assert_trees_all_equal(whole, run_chunks(programs, images, labels, [1, 3, 1]))
    chex.assert_trees_all_equal(whole, run_chunks(programs, images, labels, [2, 3]))
    assert programs.train_chunk._cache_size() == 1


def test_an_epoch_counts_every_image_once_and_the_last_batch_is_kept(programs, images, labels):
    state, metrics = run_chunks(programs, images, labels, [5])
    assert int(metrics.examples) == COUNT
    assert int(state.step) == 5
    assert 0 <= int(metrics.correct) <= COUNT
    assert int(metrics.bad_step) == train.NO_BAD_STEP


def test_a_step_keeps_the_type_of_every_leaf(programs, images, labels):
    before = jax.eval_shape(programs.create_state, KEYS.init)
    after, _ = run_chunks(programs, images, labels, [1])

    def types(tree):
        return [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in jax.tree.leaves(tree)]

    assert types(before) == types(after)
    assert before.step.dtype == jnp.int32


def batch_of(images, labels, mask):
    return train.Batch(images, labels, jnp.asarray(mask, jnp.float32))


def plain_step(model: Model = WITHOUT_DROPOUT, **recipe):
    """Returns a jitted `train_step` without augmentation and dropout, and its first state."""
    chosen = dataclasses.replace(get_recipe("second"), augmentation=Augmentation(), **recipe)
    optimizer = make_optimizer(chosen)
    step = partial(train.train_step, key=KEYS.step, model=model, optimizer=optimizer, recipe=chosen)
    return jax.jit(step), jax.jit(partial(train.create_state, model=model, optimizer=optimizer))(KEYS.init)


def test_a_step_sees_images_once_whatever_the_recipe_does_after_training(images, labels):
    batch = batch_of(images[:64], labels[:64], np.ones(64))
    (step, state), (tilted, _) = plain_step(), plain_step(tilt=8.0)
    chex.assert_trees_all_equal(step(state, batch), tilted(state, batch))


def test_padding_changes_neither_the_state_nor_the_sums(images, labels):
    step, state = plain_step()
    alone = step(state, batch_of(images[:40], labels[:40], np.ones(40)))
    padded = step(state, batch_of(images[:64], labels[:64], np.arange(64) < 40))
    assert int(padded[1].examples) == 40
    assert int(padded[1].correct) == int(alone[1].correct)
    for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(padded), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)


def test_two_steps_are_sgd_with_the_rate_outside_the_momentum_buffer(images, labels):
    step, state = plain_step()
    batch = batch_of(images[:64], labels[:64], np.ones(64))
    after_one, _ = step(state, batch)
    after_two, _ = step(after_one, batch)
    rate, momentum = 0.01, 0.9

    def gradient(state):
        model, recipe = WITHOUT_DROPOUT, get_recipe("second")

        def loss(params):
            variables = {"params": params, "batch_stats": state.batch_stats}
            scaled = (batch.images.astype(jnp.float32) / 255 - recipe.mean) / recipe.std
            outputs, _ = model.apply(variables, scaled[..., None], train=True, mutable=["batch_stats"])
            return -jnp.take_along_axis(outputs, batch.labels[:, None], axis=1).mean()

        return jax.jit(jax.grad(loss))(state.params)

    velocity = gradient(state)
    expected = jax.tree.map(lambda w, v: w - rate * v, state.params, velocity)
    chex.assert_trees_all_close(after_one.params, expected, rtol=1e-4, atol=1e-6)
    velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, gradient(after_one))
    expected = jax.tree.map(lambda w, v: w - rate * v, after_one.params, velocity)
    chex.assert_trees_all_close(after_two.params, expected, rtol=1e-3, atol=1e-6)


def test_training_repeated_on_one_batch_drives_the_loss_down(images, labels):
    step, state = plain_step(create_model("second", dropout=0.0), learning_rate=0.1)
    batch = batch_of(images[:64], labels[:64], np.ones(64))
    losses = []
    for _ in range(60):
        state, metrics = step(state, batch)
        losses.append(float(metrics.loss_sum) / 64)
    assert losses[0] > 2.0
    assert losses[-1] < 0.5 * losses[0]


def test_what_a_step_draws_depends_on_the_key_and_the_step_alone(programs, images, labels):
    def loss_at(step, key):
        state = programs.create_state(KEYS.init)._replace(step=jnp.int32(step))
        _, metrics = programs.train_chunk(
            state,
            train.no_metrics(),
            train.EpochData(images, labels, order_of(programs)),
            np.int32(0),
            np.int32(1),
            key,
        )
        return float(metrics.loss_sum)

    assert loss_at(3, KEYS.step) == loss_at(3, KEYS.step)
    assert loss_at(3, KEYS.step) != loss_at(4, KEYS.step)
    assert loss_at(3, KEYS.step) != loss_at(3, jax.random.key(9))


def test_the_streams_of_a_seed_differ_from_each_other_and_from_those_of_other_seeds():
    words = [
        tuple(np.asarray(jax.random.key_data(key)).tolist())
        for seed in (1, 2)
        for key in train.Keys.from_seed(seed)
    ]
    assert len(set(words)) == 6


def broken(state, place):
    """Returns the state with a value that is not finite, in a weight or in a running statistic."""
    if place == "weight":
        kernel = state.params["conv1"]["kernel"].at[0, 0, 0, 0].set(jnp.nan)
        return state._replace(params=state.params | {"conv1": {"kernel": kernel}})
    variance = state.batch_stats["bn1"] | {"var": state.batch_stats["bn1"]["var"].at[0].set(jnp.inf)}
    return state._replace(batch_stats=state.batch_stats | {"bn1": variance})


@pytest.mark.parametrize("place", ["weight", "statistic"])
def test_steps_that_are_not_finite_are_skipped_and_the_tenth_in_a_row_is_reported(
    programs, images, labels, place
):
    before = broken(programs.create_state(KEYS.init), place)._replace(
        step=jnp.int32(7), bad_steps=jnp.int32(6)
    )
    kept = jax.tree.map(jnp.copy, before)
    state, sums = programs.train_chunk(
        before,
        train.no_metrics(),
        train.EpochData(images, labels, order_of(programs)),
        np.int32(0),
        np.int32(3),
        KEYS.step,
    )
    chex.assert_trees_all_equal(state, kept._replace(step=jnp.int32(10), bad_steps=jnp.int32(9)))
    chex.assert_trees_all_equal(sums, train.no_metrics()._replace(skipped=jnp.int32(3)))
    _, sums = programs.train_chunk(
        state, sums, train.EpochData(images, labels, order_of(programs)), np.int32(3), np.int32(2), KEYS.step
    )
    assert (int(sums.skipped), int(sums.bad_step)) == (5, 10)


def with_loose_types(step, state):
    """Allows type promotion, as Optax raises a Python number to the power of Adam's count."""

    def loose(*arguments):
        with jax.numpy_dtype_promotion("standard"):
            return step(*arguments)

    return loose, state


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_one_bad_step_changes_nothing_but_the_step_and_the_next_good_one_ends_the_row(
    images, labels, optimizer
):
    step, state = with_loose_types(*plain_step(optimizer=optimizer))
    batch = batch_of(images[:64], labels[:64], np.ones(64))
    state, _ = step(state, batch)
    bad, sums = step(state._replace(params=broken(state, "weight").params), batch)
    chex.assert_trees_all_equal(sums, train.no_metrics()._replace(skipped=jnp.int32(1)))
    assert int(bad.bad_steps) == 1
    skipped = bad._replace(params=state.params)
    chex.assert_trees_all_equal(skipped, state._replace(step=state.step + 1, bad_steps=jnp.int32(1)))
    good, sums = step(skipped, batch)
    assert (int(good.bad_steps), int(sums.skipped), int(sums.examples)) == (0, 0, 64)
    assert int(good.step) == 3
    chex.assert_tree_all_finite((good.params, good.batch_stats, good.opt_state))


def test_a_gradient_that_only_the_moments_cannot_hold_is_skipped(images, labels):
    # Adam's second moment overflows while the weights stay finite; they would never move again.
    step, state = with_loose_types(*plain_step(optimizer="adam"))
    mask = jnp.zeros(64).at[0].set(1e-30)
    batch = train.Batch(images[:64], labels[:64], mask)
    after, sums = step(state, batch)
    assert int(sums.skipped) == 1
    chex.assert_trees_all_equal(after.opt_state, state.opt_state)


@pytest.mark.parametrize("batch_size", [7, 64, 512])
def test_evaluation_counts_every_image_once_whatever_the_batch_size(programs, images, labels, batch_size):
    recipe, model = get_recipe("second"), SMALL
    state = programs.create_state(KEYS.init)
    order = jnp.pad(
        jnp.arange(COUNT, dtype=jnp.int32), (0, -COUNT % batch_size), constant_values=train.PADDING
    )
    chunk = jax.jit(partial(train.evaluate_chunk, batch_size=batch_size, model=model, recipe=recipe))
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    scaled = (np.asarray(images, np.float32) / 255 - recipe.mean) / recipe.std
    outputs = np.asarray(jax.jit(model.apply)(variables, jnp.asarray(scaled[..., None], jnp.float32)))
    # Padding reads the first image, and would count as right.
    labels = labels.at[0].set(int(outputs[0].argmax()))
    sums, batches = train.no_metrics(), -(-COUNT // batch_size)
    for start, end in ((0, batches // 2), (batches // 2, batches)):
        data = train.EpochData(images, labels, order)
        sums = chunk(state, sums, data, np.int32(start), np.int32(end - start))
    assert int(sums.examples) == COUNT
    assert int(sums.correct) == (outputs.argmax(1) == np.asarray(labels)).sum()
    expected = -outputs[np.arange(COUNT), np.asarray(labels)].sum()
    np.testing.assert_allclose(float(sums.loss_sum), expected, rtol=1e-5)


def test_predictions_are_classes_and_log_probabilities_also_of_logits(images):
    model, recipe = create_model("challenge_final"), get_recipe("challenge")
    variables = jax.jit(model.init)(KEYS.init, jnp.zeros((1, 28, 28, 1)))
    predict = jax.jit(partial(train.predict_chunk, batch_size=8, model=model, recipe=recipe))
    classes, log_probs = predict(variables, images[:16])
    logits = jax.jit(model.apply)(variables, normalise(images[:16], recipe))
    np.testing.assert_array_equal(classes, np.argmax(logits, axis=1))
    np.testing.assert_allclose(log_probs, jax.nn.log_softmax(logits), atol=1e-5)
    assert np.abs(np.exp(logits).sum(1) - 1).min() > 0.1


def test_the_state_carries_the_recipe_s_learning_rate(programs):
    assert float(learning_rate(programs.create_state(KEYS.init).opt_state)) == np.float32(0.01)


def quick(**recipe):
    """Returns programs with dropout and augmentation, and weights that do not move."""
    chosen = dataclasses.replace(get_recipe("second"), learning_rate=1e-30, **recipe)
    return build_programs(SMALL, chosen, jax.devices()[0])


@pytest.mark.parametrize("repeats", [True, False])
def test_epochs_repeat_order_augmentation_and_dropout_only_where_the_recipe_says_so(images, labels, repeats):
    programs = quick(repeat_epochs=repeats)
    state = programs.create_state(KEYS.init)
    losses = []
    for epoch in range(2):
        sums, order = train.no_metrics(), order_of(programs, epoch)
        state, sums = programs.train_chunk(
            state, sums, train.EpochData(images, labels, order), np.int32(0), np.int32(5), KEYS.step
        )
        losses.append(float(sums.loss_sum))
    assert int(state.step) == 10
    assert (losses[0] == losses[1]) is repeats


def test_label_smoothing_is_in_the_gradient_and_not_in_the_reported_loss(images, labels):
    batch = batch_of(images[:64], labels[:64], np.arange(64) < 40)
    plain_after, plain_sums = plain_step(learning_rate=1.0)[0](plain_step()[1], batch)
    step, state = plain_step(learning_rate=1.0, label_smoothing=0.3)
    after, sums = step(state, batch)
    assert float(sums.loss_sum) == float(plain_sums.loss_sum)

    def objective(params):
        """Computes the smoothed cross-entropy from its definition, on the images without padding."""
        variables = {"params": params, "batch_stats": state.batch_stats}
        shown = normalise(images[:40], get_recipe("second"))
        log_probs, _ = WITHOUT_DROPOUT.apply(variables, shown, train=True, mutable=["batch_stats"])
        target = 0.7 * jax.nn.one_hot(labels[:40], 10) + 0.03
        return -(target * log_probs).sum() / 40

    gradients = jax.jit(jax.grad(objective))(state.params)
    moved = jax.tree.map(lambda before, now: before - now, state.params, after.params)
    chex.assert_trees_all_close(moved, gradients, rtol=1e-4, atol=1e-6)
    assert not np.allclose(after.params["head"]["kernel"], plain_after.params["head"]["kernel"], atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["third", pytest.param("dilated", marks=pytest.mark.battery)])
def test_training_as_it_is_compiled_computes_what_the_plain_step_does(images, labels, arch, monkeypatch):
    """The compiler options restrict fusion, which may change nothing but rounding."""
    if FUSION_EMITTERS_ARE_OPTIONAL:
        # As for users, and unlike in other tests; see `pytest_configure`.
        options = ops.compiler_options(jax.devices()[0]) | {"xla_cpu_use_fusion_emitters": True}
        monkeypatch.setattr(ops, "compiler_options", lambda *_: options)
    recipe = dataclasses.replace(get_recipe("third"), batch_size=16, learning_rate=1.0, momentum=0.0)
    model, optimizer = create_model(arch), make_optimizer(recipe)
    programs = build_programs(model, recipe, jax.devices()[0])
    order = jnp.arange(16, dtype=jnp.int32)
    state = programs.create_state(KEYS.init)
    step = partial(train.train_step, key=KEYS.step, model=model, optimizer=optimizer, recipe=recipe)
    plain, plain_sums = jax.jit(step)(state, batch_of(images[:16], labels[:16], np.ones(16)))
    chunk, chunk_sums = programs.train_chunk(
        state, train.no_metrics(), train.EpochData(images, labels, order), np.int32(0), np.int32(1), KEYS.step
    )
    # With a rate of 1 and no momentum the weights move by the gradient.
    chex.assert_trees_all_close(chunk.last_variables, plain.last_variables, rtol=0, atol=5e-5)
    np.testing.assert_allclose(chunk_sums.loss_sum, plain_sums.loss_sum, rtol=1e-5)
