"""The same training on meshes of several sizes: `python -m tests.on_meshes NETWORK STEPS MESH ...` prints JSON.

It needs a process of its own, since the CPU must be split into eight devices before JAX starts. It uses float64, since
several devices sum in another order: in float32 a rounding error flips some ReLU within about ten steps, and then the
weights differ, although they are as good.
"""

import dataclasses
import json
import re
import sys
import tempfile
from operator import itemgetter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxmnist import train
from jaxmnist.augment import views
from jaxmnist.config import Augmentation, Recipe, get_recipe
from jaxmnist.data import Dataset, load_dataset
from jaxmnist.models import ARCHS, Model, create_model
from jaxmnist.runs.checkpoints import Checkpoints, Snapshot, abstract
from jaxmnist.runtime.devices import select_device, set_cpu_devices, use_compile_cache
from jaxmnist.runtime.mesh import (
    SEED,
    Where,
    along,
    everywhere,
    mesh_shape,
    parse_mesh,
    put,
    run_alone,
    select_mesh,
)
from jaxmnist.train import step, vmapped
from jaxmnist.train.jit import build_programs, compiler_options_for, jitted

IMAGES = 100
"""Number of training images; with 64 images a batch, every other batch has 36."""

SMALL = Recipe(
    "small", batch_size=64, weight_decay=0.01, augmentation=Augmentation(rotation=8.0, elastic=20.0)
)


def main() -> None:
    """Prints JSON: for each mesh the largest difference from one device, and the bytes that collectives carry."""
    network, steps, *meshes = sys.argv[1:]
    set_cpu_devices(8)
    device = select_device("cpu")
    use_compile_cache()
    jax.config.update("jax_enable_x64", True)
    normalise = step.normalise
    step.normalise = views.normalise = lambda *values: normalise(*values).astype(np.float64)
    if network in ARCHS:
        training = Training(create_model(network), get_recipe(network), int(steps))
    else:
        from tests.small_network import Small

        training = Training(Small(), SMALL, int(steps))
    alone = {seed: training.on(device, seed) for seed in (3, 5, 6)}
    results = {}
    for text in meshes:
        where = select_mesh(jax.devices(), parse_mesh(text))
        if mesh_shape(where).seed == 1:
            state = training.on(where, 3)
            results[text] = {
                "difference": difference(state, alone[3]),
                "repeated": difference(state, training.on(where, 3)),
                "carried": training.carried(where),
            }
        else:
            seeds = (3, 5, 6, 6)[: -(-3 // mesh_shape(where).seed) * mesh_shape(where).seed]
            together = training.together(where, seeds)
            results[text] = {
                "difference": max(
                    difference(jax.tree.map(itemgetter(number), together), alone[seed][:2])
                    for number, seed in enumerate(seeds)
                )
            }
    results["saved"] = saved_on_four(training, alone[3][:2])
    print(json.dumps(results))


def saved_on_four(training: "Training", trained: PyTree) -> dict[str, float]:
    """Counts the arrays that differ after a save on a 2x2 mesh and a restore on one device and on a 1x4 mesh."""
    differing = 0
    with tempfile.TemporaryDirectory() as folder:
        state, metrics = put(trained, everywhere(select_mesh(jax.devices(), parse_mesh("seed=2,data=2"))))
        checkpoints = Checkpoints(Path(folder), "any")
        checkpoints.save(Snapshot(state, metrics, 0.0, []), 1, 99.0)
        for where in (jax.devices()[0], select_mesh(jax.devices(), parse_mesh("data=4"))):
            loaded = checkpoints.restore_latest(*abstract(trained, where))
            equal = [
                np.asarray(a).tobytes() == np.asarray(b).tobytes()
                for a, b in zip(jax.tree.leaves(loaded[:2]), jax.tree.leaves(trained), strict=True)
            ]
            differing += equal.count(False)
    return {"difference": float(differing)}


@dataclasses.dataclass(frozen=True)
class Training:
    """A few steps of a network with a recipe on the embedded digits."""

    model: Model
    recipe: Recipe
    steps: int
    digits: Dataset = dataclasses.field(default_factory=lambda: load_dataset("digits"))

    @property
    def batches(self) -> int:
        return -(-IMAGES // self.recipe.batch_size)

    @property
    def total_steps(self) -> int:
        return self.recipe.total_steps(IMAGES)

    def on(self, where: Where, seed: int) -> PyTree:
        """Returns the state and the metrics of one run, and those of an evaluation of three batches."""
        programs = build_programs(self.model, self.recipe, where, self.total_steps)
        keys = put(train.Keys.from_seed(seed), everywhere(where))
        state, metrics = put(self._start(seed), everywhere(where))
        for epoch, steps in self._epochs():
            order = programs.epoch_order(keys.order, np.int32(epoch), self._split(where))
            chunk = train.EpochData(*self._data(where), order), np.int32(0), np.int32(steps), keys.step
            state, metrics = run_alone(programs.train_chunk, state, metrics, *chunk)
        order = np.pad(
            np.resize(np.arange(IMAGES, dtype=np.int32), 150), (0, 42), constant_values=train.PADDING
        )
        data = train.EpochData(*self._data(where), put(order, everywhere(where)))
        none = put(self._start(seed)[1], everywhere(where))
        evaluated = run_alone(programs.evaluate_chunk, state, none, data, np.int32(0), np.int32(3))
        return jax.device_get((state, metrics, evaluated))

    def together(self, where: Where, seeds: tuple[int, ...]) -> PyTree:
        """Returns those of several runs in one program, stacked."""
        setup = {"recipe": self.recipe, "arch": self.model, "total_steps": self.total_steps}
        train_runs = jitted(
            vmapped.train_runs_on(where, **setup),
            where,
            out_shardings=along(where, SEED),
            compiler_options=compiler_options_for(where),
        )
        varied = vmapped.Varied(put(np.array(seeds, np.int32), along(where, SEED)))
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *map(self._start, seeds))
        states, metrics = put(stacked, along(where, SEED))
        for epoch, steps in self._epochs():
            orders = vmapped.epoch_orders(varied, jnp.int32(epoch), self._split(where), recipe=self.recipe)
            chunk = train.EpochData(*self._data(where), orders), np.int32(0), np.int32(steps)
            states, metrics = run_alone(train_runs, states, metrics, *chunk, varied)
        return jax.device_get((states, metrics))

    def carried(self, where: Where) -> dict[str, int]:
        """Counts the bytes that the collectives of one step return, by kind."""
        programs = build_programs(self.model, self.recipe, where, self.total_steps)
        keys = put(train.Keys.from_seed(3), everywhere(where))
        order = programs.epoch_order(keys.order, np.int32(0), self._split(where))
        chunk = train.EpochData(*self._data(where), order), np.int32(0), np.int32(1), keys.step
        arguments = *put(self._start(3), everywhere(where)), *chunk
        return collectives(programs.train_chunk.lower(*arguments).compile().as_text())

    def _epochs(self) -> list[tuple[int, int]]:
        return [
            (epoch, min(self.batches, self.steps - done))
            for epoch, done in enumerate(range(0, self.steps, self.batches))
        ]

    def _start(self, seed: int) -> PyTree:
        device = jax.devices()[0]
        with jax.enable_x64(False):
            programs = build_programs(self.model, self.recipe, device, self.total_steps)
            state = programs.create_state(jax.device_put(train.Keys.from_seed(seed).init, device))
            start = jax.device_get((state, train.no_metrics()))
        return jax.tree.map(_as_float64, start)

    def _split(self, where: Where) -> jax.Array:
        return put(np.arange(IMAGES, dtype=np.int32), everywhere(where))

    def _data(self, where: Where) -> tuple[jax.Array, jax.Array]:
        return put((self.digits.train_images, self.digits.train_labels), everywhere(where))


def collectives(program: str) -> dict[str, int]:
    """Counts the bytes that the collectives of a compiled program return, by kind."""
    sizes = {"pred": 1, "u8": 1, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
    carried: dict[str, int] = {}
    for result, kind in re.findall(r" = (.+?) (all-\w+|reduce-scatter|collective-permute)\(", program):
        for dtype, shape in re.findall(r"(\w+)\[([\d,]*)\]", result):
            count = int(np.prod([int(side) for side in shape.split(",") if side]))
            carried[kind] = carried.get(kind, 0) + sizes[dtype] * count
    return carried


def difference(one: PyTree, other: PyTree) -> float:
    """Returns the largest difference between two trees of arrays."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return max(
        float(np.where(a == b, 0, np.abs(np.subtract(a, b, dtype=np.float64))).max()) for a, b in pairs
    )


def _as_float64(leaf: np.ndarray) -> np.ndarray:
    return np.asarray(leaf, np.float64 if leaf.dtype == np.float32 else leaf.dtype)


if __name__ == "__main__":
    main()
