"""The functions of `jaxmnist.train`, jitted: what compiles, for which device, and what is donated."""

import functools
from functools import partial
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from jaxmnist import ops, train
from jaxmnist.config import Recipe
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
    model: Any, recipe: Recipe, where: Where, total_steps: int | None = None, teacher: Teacher | None = None
) -> Programs:
    """The functions of `jaxmnist.train` for a network of `jaxmnist.models`, a recipe and a device or a mesh.

    `total_steps` is that of `jaxmnist.train.train_step`; without it, and with a recipe that needs it, nothing can be
    trained. Likewise `teacher`.

    Cached, so that several runs in one process (seeds, say) share what has been compiled.
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

    def fast(function: Any, **options: Any) -> Any:
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


def jitted(function: Any, where: Where, **options: Any) -> Any:
    """`jax.jit` of a function for a device or a mesh, on which every device gets the whole of the results."""
    if isinstance(where, Mesh):
        options = {"out_shardings": everywhere(where), **options}
    return jax.jit(on_mesh(function, where), **options)
