"""The functions of `jaxmnist.train`, jitted: what compiles, for which device, and what is donated."""

import functools
from functools import partial
from typing import Any, NamedTuple

import jax

from jaxmnist import ops, train
from jaxmnist.optim import make_optimizer
from jaxmnist.parallel import Device
from jaxmnist.recipes import Recipe

EVAL_BATCH = 64
"""Images per batch in evaluation; larger ones leave the processor's cache. Results do not depend on it."""


class Programs(NamedTuple):
    """Jitted functions, each compiled when it is first called. Training donates the state and the sums."""

    create_state: Any
    """(key) -> state"""
    train_chunk: Any
    """(state, metrics, images, labels, order, start, steps, key) -> (state, metrics)"""
    epoch_step: Any
    """(state, metrics, images, labels, order, index, key) -> (state, metrics)"""
    evaluate_chunk: Any
    """(state, metrics, images, labels, order, start, batches) -> metrics"""
    classify: Any
    """(variables, images) -> (predictions, log_probs)"""
    epoch_order: Any
    """(key, epoch, split) -> order"""


@functools.lru_cache(maxsize=8)
def build_programs(model: Any, recipe: Recipe, device: Device, total_steps: int | None = None) -> Programs:
    """The functions of `jaxmnist.train` for a network of `jaxmnist.models`, a recipe and a device.

    `total_steps` is that of `jaxmnist.train.train_step`; without it, and with a recipe that needs it, nothing can be
    trained.

    Cached, so that several runs in one process (seeds, say) share what has been compiled.
    """
    optimizer = make_optimizer(recipe, total_steps=total_steps)
    training = {"model": model, "optimizer": optimizer, "recipe": recipe, "total_steps": total_steps}
    evaluation = {"batch_size": EVAL_BATCH, "model": model, "recipe": recipe}
    fast = partial(jax.jit, compiler_options=ops.compiler_options(device))
    return Programs(
        create_state=jax.jit(partial(train.create_state, model=model, optimizer=optimizer, recipe=recipe)),
        train_chunk=fast(partial(train.train_chunk, **training), donate_argnums=(0, 1)),
        epoch_step=fast(partial(train.epoch_step, **training), donate_argnums=(0, 1)),
        evaluate_chunk=fast(partial(train.evaluate_chunk, **evaluation), donate_argnums=1),
        classify=fast(partial(train.classify, **evaluation)),
        epoch_order=fast(partial(train.epoch_order, recipe=recipe)),
    )
