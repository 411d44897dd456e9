"""Shared fixtures, and strict settings for all tests."""

import dataclasses
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest
from jaxtyping import install_import_hook

# Shape annotations of the package are checked at run time: a wrong shape or dtype fails at the call.
install_import_hook("jaxmnist", "beartype.beartype")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Newer versions of XLA end a process that is given the flag.
FUSION_EMITTERS_ARE_OPTIONAL = jax.__version_info__ < (0, 11)


def pytest_configure(config: pytest.Config) -> None:
    """Turns on a shared cache of compiled programs, for tests, the processes they start, and later runs of the tests.

    LLVM optimises only the training programs (see `jaxmnist.ops.compiler_options`), and loops are made without XLA's
    fusion emitters where it can be told so: programs that run once compile three times as fast, training programs
    one and a half times. `tests.train.test_step` compiles one of them as users do.
    """
    flags = ["--xla_backend_optimization_level=0"]
    if FUSION_EMITTERS_ARE_OPTIONAL:
        flags.append("--xla_cpu_use_fusion_emitters=false")
    os.environ.setdefault("XLA_FLAGS", " ".join(flags))
    folder = str(config.cache.mkdir("xla")) if config.cache else ""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", folder)
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    # As many devices as in the processes that tests start, before a test makes JAX start with one.
    from jaxmnist.runtime.devices import show_cores

    show_cores()


FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """Folder with the genuine data: `mnist` and `fashion_mnist` with four IDX files each."""
    folder = os.environ.get("JAXMNIST_DATA_DIR")
    if not folder:
        reason = "JAXMNIST_DATA_DIR does not name the folder with the genuine MNIST files"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Path(folder)


@pytest.fixture(scope="session")
def published_weights(mnist_dir: Path) -> Path:
    """Published weights of `dilated`, 99.55 % on MNIST, which this project may not distribute."""
    path = mnist_dir.parent / "weights" / "dilated_published.npz"
    if not path.is_file():
        reason = "../weights/dilated_published.npz is not there, seen from JAXMNIST_DATA_DIR"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="session", autouse=True)
def blank_curves() -> Iterator[None]:
    """Makes the curves of every run empty files: they take longer to draw than an epoch on the digits to train.

    A test that imports `save_curves` at its beginning has the real one.
    """
    from jaxmnist.runs.curves import PLOTS, Curves

    def save_curves(run: Path) -> Curves:
        (run / PLOTS).mkdir(exist_ok=True)
        files = [run / PLOTS / f"{name}.png" for name in ("loss", "accuracy", "learning_rate")]
        return Curves([_touch(None, file) for file in files])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxmnist.runs.curves.save_curves", save_curves)
        yield


@pytest.fixture(scope="session", autouse=True)
def blank_pictures() -> Iterator[None]:
    """Makes the plots of every evaluation, which take seconds to draw, empty files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxmnist.report.plots.mistakes.save_figure", _touch)
        yield


def _touch(_: Any, path: Path) -> Path:
    path.touch()
    return path


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs on the embedded digits. Tests that change it copy it first."""
    from jaxmnist.config import get_recipe
    from jaxmnist.config.run import RunConfig, with_data
    from jaxmnist.data import load_dataset
    from jaxmnist.runs.devices import training_devices
    from jaxmnist.runs.folder import create_run
    from jaxmnist.runs.loop import fit

    dataset = load_dataset("digits")
    recipe = dataclasses.replace(get_recipe("second"), epochs=2)
    config = with_data(RunConfig("second", recipe, "", 1, "val", ""), dataset)
    run = create_run(tmp_path_factory.mktemp("runs"), config, {})
    fit(config, dataset, run, training_devices(config, jax.devices()[0]))
    return run


@pytest.fixture
def only_files_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system, such as NFS, that locks no folder."""
    flock = fcntl.flock

    def lock(file: Any, operation: int) -> None:
        if stat.S_ISDIR(os.fstat(file if isinstance(file, int) else file.fileno()).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", lock)
