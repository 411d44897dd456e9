"""The functions of `jaxmnist.train`, jitted for a device or a mesh."""

import functools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from jaxmnist import ops, train
from jaxmnist.config import Recipe
from jaxmnist.models import Model
from jaxmnist.optim import make_optimizer
from jaxmnist.runtime.mesh import Where, everywhere, first_device, on_mesh
from jaxmnist.train.loss import Teacher

EVAL_BATCH = 64
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
    """(variables, images) -> (predictions, log_probs)"""
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

    def fast(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        return jitted(function, where, compiler_options=ops.compiler_options(first_device(where)), **options)

    return Programs(
        create_state=jitted(
            partial(train.create_state, model=model, optimizer=optimizer, recipe=recipe), where
        ),
        train_chunk=fast(partial(train.train_chunk, **training), donate_argnums=(0, 1)),
        epoch_step=fast(partial(train.epoch_step, **training), donate_argnums=(0, 1)),
        evaluate_chunk=fast(partial(train.evaluate_chunk, **evaluation), donate_argnums=1),
        predict_chunk=fast(partial(train.predict_chunk, **evaluation)),
        epoch_order=fast(partial(train.epoch_order, recipe=recipe)),
    )


def jitted(function: Callable[..., Any], where: Where, **options: Any) -> Callable[..., Any]:
    """Applies `jax.jit` for a device or a mesh; every device of a mesh gets the whole of the results.

    Args:
        function: the function.
        where: a device, or a mesh.
        **options: options of `jax.jit`.
    """
    if isinstance(where, Mesh):
        options = {"out_shardings": everywhere(where), **options}
    return jax.jit(on_mesh(function, where), **options)
