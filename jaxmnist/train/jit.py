"""The functions of `jaxmnist.train`, jitted for a device or a mesh."""

import functools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, PartitionSpec

from jaxmnist import ops, train
from jaxmnist.config import Recipe
from jaxmnist.models import Model
from jaxmnist.models.custom import CustomNetwork
from jaxmnist.optim import make_optimizer
from jaxmnist.runtime.mesh import (
    DATA,
    SEED,
    WHOLE,
    Where,
    along,
    divide,
    everywhere,
    first_device,
    mesh_shape,
)
from jaxmnist.train.loss import Teacher

EVAL_BATCH = 32
"""Images per batch in evaluation; larger ones leave the processor's cache. Results do not depend on it."""


class Programs(NamedTuple):
    """Jitted functions, each compiled when it is first called. Training donates the state and the sums."""

    create_state: Any
    """(key) -> state"""
    train_chunk: Any
    """(state, metrics, data, start, steps, key) -> (state, metrics)"""
    epoch_step: Any
    """(state, metrics, data, index, key) -> (state, metrics)"""
    evaluate_chunk: Any
    """(state, metrics, data, start, batches) -> metrics"""
    predict_chunk: Any
    """(variables, images) -> (predictions, log_probs); on a mesh the images are whole batches for each device"""
    epoch_order: Any
    """(key, epoch, split) -> order"""


@functools.lru_cache(maxsize=8)
def build_programs(
    model: Model, recipe: Recipe, where: Where, total_steps: int | None = None, teacher: Teacher | None = None
) -> Programs:
    """Jits the functions of `jaxmnist.train`. Cached, so that the runs of one process share compiled programs.

    Args:
        model: the network.
        recipe: the recipe.
        where: a device, or a mesh.
        total_steps: steps of the whole training; required to train if the recipe has a schedule, a fade or a late
            start of averaging.
        teacher: required to train if the recipe has distillation.
    """
    optimizer = make_optimizer(recipe, total_steps=total_steps)
    training = {
        "model": model,
        "optimizer": optimizer,
        "recipe": recipe,
        "total_steps": total_steps,
        "teacher": teacher,
    }
    evaluation = {"batch_size": EVAL_BATCH, "model": model, "recipe": recipe}

    axes = mapped_axes(model, recipe, where)

    def fast(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        return jitted(function, where, compiler_options=compiler_options_for(where), **options)

    def training_on(function: Callable[..., Any]) -> Callable[..., Any]:
        return fast(divide(partial(function, **training), where, axes=axes), donate_argnums=(0, 1))

    by_data = PartitionSpec(DATA)
    predict = divide(
        partial(train.predict_chunk, **evaluation),
        where,
        in_specs=(WHOLE, by_data),
        out_specs=by_data,
    )
    return Programs(
        create_state=jitted(
            partial(train.create_state, model=model, optimizer=optimizer, recipe=recipe), where
        ),
        train_chunk=training_on(train.train_chunk),
        epoch_step=training_on(train.epoch_step),
        evaluate_chunk=fast(divide(partial(train.evaluate_chunk, **evaluation), where), donate_argnums=1),
        predict_chunk=fast(predict, out_shardings=along(where, DATA)),
        epoch_order=fast(partial(train.epoch_order, recipe=recipe)),
    )


def mapped_axes(model: Model, recipe: Recipe, where: Where) -> tuple[str, ...]:
    """Returns the axes of a mesh over which a training step is mapped; along the others XLA divides it.

    A class of the user's own may normalise by the batch it sees, and parts of a batch must have one size.
    """
    even = recipe.batch_size % mesh_shape(where).data == 0
    return (SEED, DATA) if even and not isinstance(model, CustomNetwork) else (SEED,)


def compiler_options_for(where: Where) -> dict[str, bool | int | str]:
    """Returns the compiler options for a device, or a mesh."""
    return ops.compiler_options(first_device(where), where.size if isinstance(where, Mesh) else 1)


def jitted(function: Callable[..., Any], where: Where, **options: Any) -> Callable[..., Any]:
    """Applies `jax.jit` for a device or a mesh; every device of a mesh gets the whole of the results.

    Args:
        function: the function.
        where: a device, or a mesh.
        **options: options of `jax.jit`.
    """
    if isinstance(where, Mesh):
        options = {"out_shardings": everywhere(where), **options}
    return jax.jit(function, **options)
