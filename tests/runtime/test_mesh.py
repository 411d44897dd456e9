"""Device selection, and training on meshes."""

import ctypes
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import jax
import pytest

from jaxmnist.config.run import run_config
from jaxmnist.errors import UsageError
from jaxmnist.runs.devices import devices_of_run
from jaxmnist.runs.folder import write_json
from jaxmnist.runtime.devices import select_device
from jaxmnist.runtime.mesh import MeshShape, even_parts, mesh_shape, parse_mesh, run_alone, select_mesh

ROOT = Path(__file__).parents[2]


def test_a_device_that_is_not_there_is_named_with_what_to_install():
    with pytest.raises(UsageError, match=r"no tpu device .* only cpu; .* pip install 'jax\[tpu\]'"):
        select_device("tpu")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_memory_that_a_program_frees_is_there_for_its_next_call():
    # In a fresh process: a C library in use sticks to the arenas it has.
    answer = subprocess.run([sys.executable, "-c", _PAGE_FAULTS], check=True, capture_output=True, text=True)
    faults, pages = map(int, answer.stdout.split())
    assert faults < pages / 10


# 40 MB: glibc by itself keeps blocks of up to 32 MB, and a thread's arena holds 64. It takes some calls until
# freed blocks have merged into one that is large enough.
_PAGE_FAULTS = """
import resource
import jax
from jaxmnist.runtime.devices import select_device

device = select_device("cpu")
ones = jax.device_put(jax.numpy.ones((40, 2**18)), device)
program = jax.jit(lambda x: x + 1)

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    program(ones).block_until_ready()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(min(page_faults() for _ in range(40)), ones.nbytes // resource.getpagesize())
"""


@pytest.mark.parametrize(
    ("text", "shape"),
    [("seed=2,data=4", (2, 4)), ("data=8", (1, 8)), ("seed=3", (3, 1)), ("data=2, seed=1", (1, 2))],
)
def test_a_mesh_is_written_as_the_sizes_of_its_axes(text, shape):
    assert parse_mesh(text) == MeshShape(*shape)


@pytest.mark.parametrize(
    "text", ["", "4", "data=0", "data=-1", "data=2,data=2", "batch=2", "data=two", "seed"]
)
def test_what_is_no_mesh_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match=r"is not a mesh: .* write it like seed=2,data=4"):
        parse_mesh(text)


def test_too_few_devices_are_counted():
    there = len(jax.devices())
    with pytest.raises(
        UsageError, match=rf"seed=1,data=64 needs 64 devices, and there (is|are) {there} \(cpu\)"
    ):
        select_mesh(jax.devices(), MeshShape(1, 64))


def test_neighbours_lie_along_data_and_every_process_has_its_share():
    devices = [Mock(jax.Device, process_index=process) for process in (0, 0, 0, 1, 1, 1)]
    mesh = select_mesh(devices, MeshShape(2, 2), processes=2)
    a, b, _, c, d, _ = devices
    assert mesh.devices.tolist() == [[a, b], [c, d]]
    assert mesh.axis_names == ("seed", "data")


@pytest.mark.parametrize(
    ("batch_size", "cores", "parts"),
    [(8, 12, 1), (31, 12, 1), (32, 12, 2), (64, 12, 4), (64, 3, 2), (96, 12, 6), (100, 12, 5), (512, 12, 8)],
)
def test_a_batch_is_divided_evenly_among_cores_that_get_16_images_or_more(batch_size, cores, parts):
    assert even_parts(batch_size, cores) == parts


def test_a_run_goes_on_with_as_many_devices_as_it_began_with(tmp_path):
    first, there, config = jax.devices()[0], len(jax.devices()), run_config({"arch": "third"})

    def devices(environment):
        write_json(tmp_path / "config.json", {"environment": environment})
        return mesh_shape(devices_of_run(tmp_path, config, first)).data

    assert [devices({"devices": count}) for count in range(1, there + 1)] == [*range(1, there + 1)]
    # More than there are, and a run that does not say: as for a new run.
    assert devices({"devices": there + 1}) == devices({}) == even_parts(config.recipe.batch_size, there)


def test_programs_that_exchange_values_do_not_overlap():
    running, most = [], []

    def program(number):
        running.append(number)
        time.sleep(0.01)
        most.append(len(running))
        running.remove(number)
        return number

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(partial(run_alone, program), range(8))) == list(range(8))
    assert max(most) == 1


def on_meshes(network, steps, *meshes):
    command = [sys.executable, "-m", "tests.on_meshes", network, str(steps), *meshes]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_a_mesh_trains_as_one_device_and_each_seed_on_it_as_by_itself():
    # 3 devices do not divide a batch of 64, and every other batch has 36 images, none of which the last two of four
    # devices get. "saved": a state saved on 2x2 devices is loaded on one and on four.
    meshes = ["data=4", "seed=2,data=3"]
    results = on_meshes("small", 50, *meshes)
    assert list(results) == [*meshes, "saved"]
    for mesh, result in results.items():
        assert result["difference"] < 1e-11, mesh
    assert results["data=4"]["repeated"] == 0


@pytest.mark.battery
@pytest.mark.parametrize("arch", ["small", "second", "third"])
def test_a_published_network_trains_on_a_mesh_as_on_one_device(arch):
    meshes = ["data=2", "data=3", "data=4", "data=8", "seed=2", "seed=2,data=2"]
    results = on_meshes(arch, 50, *meshes)
    assert list(results) == [*meshes, "saved"]
    for mesh, result in results.items():
        assert result["difference"] < 1e-9, mesh
        if "carried" in result and mesh != "data=3":
            # Gradients and statistics; an image of the batch would be more.
            assert result["carried"]["all-reduce"] < 8 * 10_000, mesh
            assert list(result["carried"]) == ["all-reduce"], mesh
