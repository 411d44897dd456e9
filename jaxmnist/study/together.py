"""A study whose seeds train at once, in one program: the way for a device that one seed leaves mostly idle.

Between epochs every seed is an ordinary run: it is evaluated, saved and written down as `jaxmnist.fit` does it, and
can go on by itself. Within an epoch nothing is saved: who is interrupted there repeats it.
"""

import contextlib
import functools
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmnist import many, ops, runs, train
from jaxmnist.checkpoints import Checkpoints, Snapshot
from jaxmnist.data import Dataset
from jaxmnist.durable import locked
from jaxmnist.epochs import begin, close_epoch, finish, require_converging
from jaxmnist.errors import InterruptedRunError
from jaxmnist.fit import CHUNK_SECONDS, SECONDS_TO_STOP, train_epoch
from jaxmnist.parallel import Device
from jaxmnist.programs import build_programs
from jaxmnist.recipes import Recipe
from jaxmnist.session import Session, place
from jaxmnist.signals import StopSignals
from jaxmnist.study.folder import Study, is_finished
from jaxmnist.study.loop import GO_ON, RunObserver, SeedObserver, close_seed, predict, seed_config


class _Member:
    """A seed of a group: its run, and where that stands."""

    def __init__(self, seed: int, session: Session) -> None:
        self.seed, self.session = seed, session
        self.snapshot, self.rows = begin(session)

    @property
    def is_within_epoch(self) -> bool:
        return int(self.snapshot.metrics.examples) > 0

    def close(self, snapshot: Snapshot) -> None:
        """Ends an epoch."""
        self.snapshot = close_epoch(self.session, snapshot, self.rows)
        self.session.observer.on_epoch(self.rows[-1])


def train_together(
    study: Study,
    seeds: Sequence[int],
    dataset: Dataset,
    device: Device,
    observer: SeedObserver,
    environment: Mapping[str, Any],
    together: int,
    keep_checkpoints: bool = False,
) -> None:
    """Trains the seeds that are not finished, so many at once; otherwise as `jaxmnist.study.train_seeds`.

    Figures are those of single runs up to the rounding of float32. The time of an epoch is shared out evenly.
    """
    todo = [seed for seed in seeds if not is_finished(study, seed)]
    for first in range(0, len(todo), together):
        group = todo[first : first + together]
        try:
            _train_group(study, group, dataset, device, observer, environment)
        except InterruptedRunError as error:
            raise InterruptedRunError(error.signum, study.folder, GO_ON) from error
        for seed in group:
            predict(study, seed, dataset, device)
            close_seed(study, seed, keep_checkpoints)
            observer.on_seed(seed)


def _train_group(
    study: Study,
    seeds: list[int],
    dataset: Dataset,
    device: Device,
    observer: SeedObserver,
    environment: Mapping[str, Any],
) -> None:
    recipe = study.config.recipe
    data = place(dataset, study.config, device)
    total_steps = recipe.total_steps(len(data.train_split))
    model = study.config.create_model()
    programs = build_programs(model, recipe, device, total_steps)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(StopSignals(SECONDS_TO_STOP, f"interrupted, {GO_ON}"))

        def member(seed: int) -> _Member:
            config, run = seed_config(study, seed), study.run(seed)
            runs.open_run(run, config, environment)
            stack.enter_context(locked(run))
            session = Session(
                config=config,
                run=run,
                device=device,
                programs=programs,
                keys=jax.device_put(train.Keys.from_seed(seed), device),
                data=data,
                checkpoints=Checkpoints(run, config.arch, recipe),
                stop=stop,
                observer=RunObserver(seed, observer),
            )
            return _Member(seed, session)

        members = [member(seed) for seed in seeds]
        for one in members:
            if one.is_within_epoch:
                one.close(train_epoch(one.session, one.snapshot, one.rows))
        # A group that was interrupted between its seeds is not at one epoch.
        while (epoch := min(len(one.rows) for one in members)) < recipe.epochs:
            _train_epoch(
                [one for one in members if len(one.rows) == epoch], epoch, model, total_steps, study.folder
            )
        for one in members:
            finish(one.session, one.snapshot, one.rows)


def _train_epoch(members: list[_Member], epoch: int, model: Any, total_steps: int, folder: Path) -> None:
    """Takes the members, which have done as many epochs, through the next one."""
    session = members[0].session
    data, recipe = session.data, session.config.recipe
    train_runs = _build_train_runs(model, recipe, session.device, total_steps)
    # The bits of a seed count, not its sign.
    seeds = np.array([one.seed for one in members], np.uint32).view(np.int32)
    varied = many.Varied(jax.device_put(seeds, session.device))
    # On the host, where taking apart needs no program for each seed and shape.
    parts = jax.device_get([(one.snapshot.state, one.snapshot.metrics) for one in members])
    states, metrics = jax.device_put(jax.tree.map(lambda *leaves: np.stack(leaves), *parts), session.device)
    orders = many.epoch_orders(varied, jnp.int32(epoch), data.train_split, recipe=recipe)
    began = time.perf_counter()
    steps, done = 1, 0
    while done < session.batches:
        chunk_began = time.perf_counter()
        steps = min(steps, session.batches - done)
        chunk = data.images, data.labels, orders, np.int32(done), np.int32(steps)
        states, metrics = train_runs(states, metrics, *chunk, varied)
        sums = jax.device_get(metrics)
        done += steps
        steps = max(1, round(CHUNK_SECONDS * steps / (time.perf_counter() - chunk_began)))
        for index, one in enumerate(members):
            require_converging(one.session, _pick(sums, index), epoch)
            one.session.observer.on_progress(epoch + 1, done, session.batches, 0.0, 0.0)
        if session.stop.requested is not None:
            raise InterruptedRunError(session.stop.requested, folder)
    seconds = (time.perf_counter() - began) / len(members)
    results = jax.device_get((states, metrics))
    for index, one in enumerate(members):
        state, sums = jax.device_put(_pick(results, index), session.device)
        one.close(Snapshot(state, sums, seconds, list(one.rows)))


@functools.lru_cache(maxsize=8)
def _build_train_runs(model: Any, recipe: Recipe, device: Device, total_steps: int) -> Any:
    return jax.jit(
        partial(
            many.train_runs,
            arch=model,
            recipe=recipe,
            loop=many.loop_for(device),
            total_steps=total_steps,
        ),
        donate_argnums=(0, 1),
        compiler_options=ops.compiler_options(device),
    )


def _pick(stacked: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], stacked)
