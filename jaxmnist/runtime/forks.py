"""Processes forked from one in which JAX had started: their first computation would wait forever."""

import os

from jax._src.xla_bridge import backends_are_initialized  # jax.extend has no name for it

from jaxmnist.errors import UsageError

_is_forked = False


def _note_fork() -> None:
    # JAX's threads, and the locks that they held, stay behind in the parent.
    global _is_forked
    _is_forked = _is_forked or backends_are_initialized()


os.register_at_fork(after_in_child=_note_fork)


def require_own_jax() -> None:
    """Checks that this process can compute.

    Raises:
        UsageError: it was forked after JAX had started.
    """
    if _is_forked:
        raise UsageError(
            f"process {os.getpid()} was forked from one in which JAX had started, and would wait forever; start it "
            "with multiprocessing.get_context('spawn') instead, or fork before JAX is used."
        )
