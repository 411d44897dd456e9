"""Tests of optimizers: rates equal PyTorch's, steps equal hand-computed ones, the state is a pytree."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxmnist.config import Plateau, Recipe, Schedule, get_recipe
from jaxmnist.errors import UsageError
from jaxmnist.optim import constant_rate, learning_rate, make_optimizer, observe, reduce_on_plateau

CASES = json.loads((Path(__file__).parents[1] / "fixtures" / "plateau.json").read_text())
EVOLUTION = {"lr": 0.02, "mode": "max", "factor": 0.01, "patience": 1, "min_lr": 1e-8}


def torch_rates(case):
    """Rate after each epoch, rounded once from torch's float64."""
    rates = np.full(len(case["metrics"]), case["arguments"]["lr"])
    for epoch, rate in case["changes"]:
        rates[epoch:] = rate
    return rates.astype(np.float32)


def float32_metrics(case):
    return np.array([float(metric) for metric in case["metrics"]], np.float32)


def initial(optimizer: optax.GradientTransformation) -> Any:
    return optimizer.init({"w": np.ones(2, np.float32)})


def rates_after(state, metrics):
    """Rates after each metric."""

    def epoch(state, metric):
        state = observe(state, metric)
        return state, learning_rate(state)

    return jax.lax.scan(epoch, state, metrics)[1]


def test_rates_equal_torch_bit_for_bit_over_the_grid_of_options():
    states = [initial(reduce_on_plateau(**case["arguments"])) for case in CASES]
    longest = max(len(state.rates) for state in states)
    # The last rate of a table repeats by definition, so one program can run all cases.
    states = [
        state._replace(rates=np.pad(state.rates, (0, longest - len(state.rates)), mode="edge"))
        for state in states
    ]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *states)
    metrics = np.stack([float32_metrics(case) for case in CASES])
    ours = np.asarray(jax.jit(jax.vmap(rates_after))(stacked, metrics))
    wrong = [
        (case["arguments"], case["metrics"])
        for case, rates in zip(CASES, ours, strict=True)
        if not np.array_equal(rates, torch_rates(case))
    ]
    assert len(CASES) > 500
    assert sum(len(case["changes"]) for case in CASES) > 1000
    assert not wrong


@pytest.mark.parametrize("case", CASES[:85:9], ids=lambda case: str(case["arguments"]))
def test_rates_equal_torch_when_the_host_observes_python_floats(case):
    opt_state = optax.chain(optax.trace(0.9), reduce_on_plateau(**case["arguments"])).init({"w": jnp.ones(2)})
    ours = []
    for metric in case["metrics"]:
        opt_state = observe(opt_state, float(metric))
        ours.append(learning_rate(opt_state))
    np.testing.assert_array_equal(np.array(ours), torch_rates(case))


def test_evolution_takes_the_cut_that_only_float64_rounding_allows():
    assert 0.02 * 0.01 * 0.01 * 0.01 - 1e-8 > 1e-8
    rates = rates_after(initial(reduce_on_plateau(**EVOLUTION)), jnp.full(15, 50.0))
    np.testing.assert_array_equal(
        np.unique(np.asarray(rates)), np.array([1e-8, 2e-8, 2e-6, 2e-4, 0.02], np.float32)
    )


@pytest.mark.parametrize(
    ("arguments", "metrics", "first_cut"),
    [
        ({"patience": 0}, [1.0, 1.0], 1),
        ({"patience": 2}, [1.0, 1.0, 1.0, 1.0], 3),
        ({"patience": 0}, [1.0, 0.9999, 0.9998], 2),
        ({"patience": 0, "mode": "max"}, [1.0, 1.0002, 1.0003], 2),
        ({"patience": 0, "threshold": 0.1, "threshold_mode": "abs"}, [1.0, 0.8, 0.75], 2),
        ({"patience": 0}, [jnp.nan, 1.0], 0),
        ({"patience": 1}, [1.0, jnp.nan, jnp.nan], 2),
        ({"patience": 0}, [jnp.inf, 1.0], 0),
        ({"patience": 0}, [-jnp.inf, -jnp.inf], 1),
    ],
)
def test_the_first_cut_comes_when_bad_epochs_exceed_patience(arguments, metrics, first_cut):
    rates = np.asarray(rates_after(initial(reduce_on_plateau(1.0, **arguments)), jnp.array(metrics)))
    assert int(np.argmax(rates < 1.0)) == first_cut


def test_rates_given_as_traced_values_follow_torch_to_float32_precision():
    start = jnp.array([0.1, 0.01, 0.003], jnp.float32)
    metrics = jnp.full(30, 1.0)

    def run(lr):
        return rates_after(initial(reduce_on_plateau(lr, factor=0.3, patience=1, min_lr=1e-5)), metrics)

    together = jax.jit(jax.vmap(run))(start)
    for lr, rates in zip(start.tolist(), together, strict=True):
        np.testing.assert_allclose(np.asarray(rates), np.asarray(run(lr)), rtol=2e-6)


def test_steps_equal_torch_sgd_with_the_rate_outside_the_momentum_buffer():
    optimizer = optax.chain(optax.trace(0.9), reduce_on_plateau(0.1, factor=0.5, patience=0))
    params: Any = {"w": jnp.array([1.0, -2.0])}
    gradients = {"w": jnp.array([1.0, 0.5])}
    opt_state = initial(optimizer)
    seen: list[np.ndarray] = []
    for metric in (1.0, 1.0, 1.0):
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        params = optax.apply_updates(params, updates)
        opt_state = observe(opt_state, metric)
        seen.append(np.asarray(params["w"]))
    # v = 1, 1.9, 2.71 times the gradient; rates 0.1, 0.1 and, after the cut of the second epoch, 0.05.
    expected = [[0.9, -2.05], [0.71, -2.145], [0.5745, -2.21275]]
    np.testing.assert_allclose(np.stack(seen), np.array(expected), rtol=2e-7)


def test_recipes_name_their_schedule():
    params = {"w": jnp.ones(3)}
    first = make_optimizer(get_recipe("first")).init(params)
    third = make_optimizer(get_recipe("third")).init(params)
    assert learning_rate(first) == learning_rate(third) == jnp.float32(0.01)
    for _ in range(5):
        first, third = observe(first, 1.0), observe(third, 1.0)
    assert learning_rate(first) == jnp.float32(0.01)
    assert learning_rate(third) == jnp.float32(0.005)


def test_a_recipe_that_monitors_accuracy_takes_larger_as_better():
    plateau = Plateau(monitor="accuracy", factor=0.01, patience=1, min_lr=1e-8)
    recipe = Recipe(name="evolution", learning_rate=0.02, momentum=0.0, plateau=plateau)
    rising = falling = make_optimizer(recipe).init({"w": jnp.ones(3)})
    for epoch in range(3):
        rising, falling = observe(rising, 90.0 + epoch), observe(falling, 90.0 - epoch)
    assert learning_rate(rising) == jnp.float32(0.02)
    assert learning_rate(falling) == jnp.float32(2e-4)


def test_the_state_is_found_wherever_it_is_nested():
    inner = reduce_on_plateau(1.0, patience=0)
    optimizer = optax.chain(
        optax.clip(1.0), optax.masked(optax.chain(optax.trace(0.9), inner), {"w": True, "b": False})
    )
    opt_state = {"here": (optimizer.init({"w": jnp.ones(2), "b": jnp.ones(1)}), None)}
    opt_state = observe(observe(opt_state, 1.0), 2.0)
    np.testing.assert_allclose(np.asarray(learning_rate(opt_state)), 0.1)


@pytest.mark.parametrize("optimizer", [optax.chain(optax.trace(0.9), constant_rate(0.1)), optax.adam(0.1)])
def test_observing_changes_nothing_without_a_plateau(optimizer):
    before = optimizer.init({"w": jnp.ones(2)})
    after = observe(before, jnp.nan)
    assert jax.tree.structure(before) == jax.tree.structure(after)
    assert all(a is b for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True))


def test_observing_leaves_its_argument_as_it_was():
    state = initial(reduce_on_plateau(1.0, patience=0))
    before = jax.tree.map(np.array, state)
    observe(state, 1.0)
    jax.tree.map(np.testing.assert_array_equal, before, state)


def test_a_step_compiles_once_whatever_the_rate():
    optimizer = optax.chain(optax.trace(0.9), reduce_on_plateau(0.1, patience=0))
    traced = []

    @jax.jit
    def step(gradients, opt_state):
        traced.append(1)
        return optimizer.update(gradients, opt_state)

    opt_state = initial(optimizer)
    for metric in (1.0, np.float32(1.0), jnp.float32(1.0), 1):
        _, opt_state = step({"w": jnp.ones(2)}, opt_state)
        opt_state = observe(opt_state, metric)
    assert learning_rate(opt_state) < 0.1
    assert len(traced) == 1


def test_the_state_has_strong_types_and_survives_a_round_trip():
    state = initial(optax.chain(optax.trace(0.9), reduce_on_plateau(0.1)))
    for opt_state in (state, observe(state, 0.5), jax.jit(observe)(state, 0.5)):
        leaves, structure = jax.tree.flatten(opt_state)
        assert {leaf.dtype.name for leaf in leaves} == {"float32", "int32", "bool"}
        assert not any(leaf.weak_type for leaf in leaves)
        restored = jax.tree.unflatten(structure, [jnp.array(np.asarray(leaf)) for leaf in leaves])
        assert learning_rate(observe(restored, 1.0)) == learning_rate(observe(opt_state, 1.0))
        assert jax.tree.structure(opt_state) == jax.tree.structure(state)


def test_a_donated_state_takes_nothing_from_the_next_one():
    optimizer = reduce_on_plateau(0.1)
    jax.jit(optimizer.update, donate_argnums=1)(jnp.ones(2), initial(optimizer))
    np.testing.assert_allclose(np.asarray(learning_rate(initial(optimizer))), 0.1)


def test_updates_keep_their_dtype():
    optimizer = constant_rate(0.5)
    updates: Any = optimizer.update({"w": jnp.ones(2, jnp.bfloat16)}, initial(optimizer))[0]
    assert updates["w"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(updates["w"], np.float32), [-0.5, -0.5])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"lr": -0.1}, "lr=-0.1"),
        ({"lr": float("nan")}, "lr=nan"),
        ({"mode": "low"}, "mode='low'"),
        ({"factor": 1.0}, "factor=1.0"),
        ({"factor": -0.5}, "factor=-0.5"),
        ({"patience": -1}, "patience=-1"),
        ({"patience": 1.5}, "patience=1.5"),
        ({"threshold": -1e-4}, "threshold=-0.0001"),
        ({"threshold": 1.0}, "threshold=1.0"),
        ({"threshold_mode": "relative"}, "threshold_mode='relative'"),
        ({"cooldown": -2}, "cooldown=-2"),
        ({"min_lr": float("inf")}, "min_lr=inf"),
        ({"eps": -1e-8}, "eps=-1e-08"),
    ],
)
def test_an_argument_out_of_range_is_named_in_one_sentence(arguments, named):
    with pytest.raises(UsageError) as raised:
        reduce_on_plateau(**({"lr": 0.1} | arguments))
    assert named in str(raised.value)
    assert str(raised.value).endswith(".")
    assert "\n" not in str(raised.value)


def test_a_recipe_with_an_unknown_monitor_is_refused():
    plateau = Plateau()
    # Set behind the type annotations, which tests execute: as from a file.
    object.__setattr__(plateau, "monitor", "f1")
    with pytest.raises(UsageError, match="monitor='f1'"):
        make_optimizer(Recipe(name="own", plateau=plateau))


def test_a_state_without_exactly_one_rate_is_refused():
    with pytest.raises(UsageError, match="holds 0 learning rates"):
        learning_rate(optax.sgd(0.1).init({"w": jnp.ones(2)}))
    with pytest.raises(UsageError, match="holds 2 learning rates"):
        learning_rate(initial(optax.chain(constant_rate(0.1), reduce_on_plateau(0.1))))


def numpy_adam(gradients, weight, rate, decay, decoupled):
    """Runs `torch.optim.Adam` or `AdamW` from their documentation in float64."""
    first = second = 0.0
    for step, gradient in enumerate(gradients, start=1):
        if decoupled:
            weight = weight * (1 - rate * decay)
        else:
            gradient = gradient + decay * weight
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        corrected = np.sqrt(second / (1 - 0.999**step)) + 1e-8
        weight = weight - rate * first / (1 - 0.9**step) / corrected
    return weight


@pytest.mark.parametrize("name", ["adam", "adamw"])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam_decays_through_the_gradient_and_adamw_beside_it(name, decay):
    recipe = Recipe("x", optimizer=name, learning_rate=0.02, weight_decay=decay)
    random = np.random.default_rng(0)
    weight, gradients = random.normal(size=5), random.normal(size=(20, 5))
    params: Any = {"w": jnp.asarray(weight, jnp.float32)}
    optimizer = make_optimizer(recipe)
    state = optimizer.init(params)
    for gradient in gradients:
        # Optax takes 0.9 to the power of an integer count.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update({"w": jnp.asarray(gradient, jnp.float32)}, state, params)
        params = optax.apply_updates(params, updates)
    expected = numpy_adam(gradients, weight, 0.02, decay, name == "adamw")
    np.testing.assert_allclose(params["w"], expected, rtol=2e-5, atol=2e-6)


def test_weight_decay_of_sgd_enters_the_momentum():
    optimizer = make_optimizer(Recipe("x", learning_rate=0.5, momentum=0.5, weight_decay=0.1))
    params: Any = {"w": jnp.array([1.0])}
    state = optimizer.init(params)
    for _ in range(2):
        updates, state = optimizer.update({"w": jnp.array([0.0])}, state, params)
        params = optax.apply_updates(params, updates)
    # v: 0.1, then 0.05 + 0.1 * 0.95; w: 0.95, then 0.95 - 0.5 * 0.145.
    np.testing.assert_allclose(params["w"], [0.8775], rtol=1e-6)


def rates(schedule, total_steps, learning_rate_=0.1):
    """Rate of each step, as reported by the state after the step."""
    optimizer = make_optimizer(
        Recipe("x", learning_rate=learning_rate_, schedule=schedule), total_steps=total_steps
    )
    state, found = optimizer.init({"w": jnp.ones(2)}), []
    assert float(learning_rate(state)) == pytest.approx(found_first(schedule, learning_rate_))
    update = jax.jit(optimizer.update)
    for _ in range(total_steps):
        _, state = update({"w": jnp.ones(2)}, state)
        found.append(float(learning_rate(state)))
    return found


def found_first(schedule, peak):
    return peak / schedule.start_divisor if schedule.warm_up else peak


def test_one_cycle_is_that_of_optax():
    found = rates(Schedule(warm_up=0.3, end_divisor=25e4), 50)
    with jax.numpy_dtype_promotion("standard"):
        expected = optax.cosine_onecycle_schedule(50, 0.1, 0.3, 25.0, 1e4)
        expected = jax.jit(jax.vmap(expected))(jnp.arange(50))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule("linear", warm_up=0.0), [0.1, 0.075, 0.05, 0.025]),
        (Schedule("linear", warm_up=0.5, start_divisor=5.0), [0.02, 0.06, 0.1, 0.05]),
        (Schedule("linear", warm_up=0.0, end_divisor=2.0), [0.1, 0.0875, 0.075, 0.0625]),
        # Half a cosine over four steps: (1 + cos(k pi / 4)) / 2.
        (Schedule("one_cycle", warm_up=0.0), [0.1, 0.0853553, 0.05, 0.0146447]),
    ],
)
def test_a_schedule_follows_its_fields(schedule, expected):
    np.testing.assert_allclose(rates(schedule, 4), expected, rtol=1e-5)


def test_steps_down_are_those_of_torch():
    # torch.optim.lr_scheduler.StepLR: lr * gamma ** (epoch // step_size)
    recipe = Recipe("x", epochs=8, learning_rate=0.2, schedule=Schedule("step", every=3, factor=0.5))
    optimizer = make_optimizer(recipe, total_steps=8 * 5)
    state, found = optimizer.init({"w": jnp.ones(2)}), []
    for _ in range(40):
        _, state = optimizer.update({"w": jnp.ones(2)}, state, {"w": jnp.ones(2)})
        found.append(float(learning_rate(state)))
    np.testing.assert_allclose(found, [0.2 * 0.5 ** (step // 5 // 3) for step in range(40)], rtol=1e-6)


def test_a_state_can_be_made_without_the_number_of_steps_and_not_updated():
    optimizer = make_optimizer(Recipe("x", schedule=Schedule()))
    state = optimizer.init({"w": jnp.ones(2)})
    with pytest.raises(ValueError, match="needs total_steps"):
        optimizer.update({"w": jnp.ones(2)}, state)


def test_nesterov_is_the_formula_of_torch():
    optimizer = make_optimizer(Recipe("x", learning_rate=0.5, momentum=0.8, nesterov=True, weight_decay=0.1))
    params: Any = {"w": jnp.array([1.0])}
    state, weight, velocity = optimizer.init(params), 1.0, 0.0
    for gradient in (1.0, -0.5, 0.25):
        updates, state = optimizer.update({"w": jnp.array([gradient])}, state, params)
        params = optax.apply_updates(params, updates)
        decayed = gradient + 0.1 * weight
        velocity = 0.8 * velocity + decayed
        weight -= 0.5 * (decayed + 0.8 * velocity)
        np.testing.assert_allclose(params["w"], [weight], rtol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_decay_of_kernels_leaves_biases_and_scales_as_they_are(optimizer):
    recipe = Recipe("x", optimizer=optimizer, learning_rate=0.5, weight_decay=0.1, decay_on="kernels")
    params: Any = {"conv1": {"kernel": jnp.ones(2), "bias": jnp.ones(2)}, "bn1": {"scale": jnp.ones(2)}}
    transformation = make_optimizer(recipe)
    with jax.numpy_dtype_promotion("standard"):
        zeros = jax.tree.map(jnp.zeros_like, params)
        updates: Any = transformation.update(zeros, transformation.init(params), params)[0]
    np.testing.assert_allclose(updates["conv1"]["kernel"], -0.05, rtol=1e-6)
    assert not updates["conv1"]["bias"].any()
    assert not updates["bn1"]["scale"].any()
