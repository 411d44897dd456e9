"""Networks of the user's own: any `flax.linen.Module` that maps `[batch, 28, 28, 1]` to `[batch, classes]`."""

import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxmnist.errors import UsageError, shortened
from jaxmnist.models import arch_title

_COLLECTIONS = {"params", "batch_stats"}


@dataclasses.dataclass(frozen=True)
class CustomNetwork:
    """A module behind the interface of the package's networks, `jaxmnist.models.Model`."""

    module: nn.Module

    def init(self, key: Array, images: Float[Array, "batch 28 28 1"]) -> PyTree:
        """Returns initial variables; see `flax.linen.Module.init`."""
        return self.module.init({"params": key, "dropout": key}, images, **self._arguments(False, None))

    def apply(
        self,
        variables: PyTree,
        images: Float[Array, "batch 28 28 1"],
        train: bool = False,
        mask: Float[Array, " batch"] | None = None,
        **options: Any,
    ) -> PyTree:
        """Applies the module; see `flax.linen.Module.apply`.

        Args:
            variables: `params` and `batch_stats`.
            images: normalised images.
            train: passed on if the module's call takes it.
            mask: 0 for padding; passed on if the module's call takes it. Without that, every `flax.linen.BatchNorm`
                gets it, as padding must not enter the batch statistics.
            **options: `rngs`, `mutable` and so on.
        """
        arguments = self._arguments(train, mask)
        if mask is None or not train or "mask" in arguments:
            return self.module.apply(variables, images, **arguments, **options)

        def masked(
            next_function: Callable[..., PyTree],
            args: tuple,
            kwargs: dict,
            context: nn.module.InterceptorContext,
        ):
            if isinstance(context.module, nn.BatchNorm) and context.method_name == "__call__":
                x = args[0]
                kwargs = {"mask": mask.reshape(-1, *(1,) * (x.ndim - 1)) > 0, **kwargs}
            return next_function(*args, **kwargs)

        with nn.intercept_methods(masked):
            return self.module.apply(variables, images, **arguments, **options)

    def _arguments(self, train: bool, mask: Array | None) -> dict[str, Any]:
        taken = _parameters(type(self.module))
        return {name: value for name, value in {"train": train, "mask": mask}.items() if name in taken}


def find_class(arch: str) -> type[nn.Module]:
    """Loads the class that an arch names, from a file or an importable module.

    A file is run anew if its content has changed since it was last loaded.

    Raises:
        UsageError: the file, the module or the class is not there, cannot be loaded, or is no `flax.linen.Module`.
    """
    place, _, name = arch.rpartition(":")
    module = _load_file(Path(place)) if place.endswith(".py") else _import(place)
    found = getattr(module, name, None)
    if found is None and place == "__main__":
        raise UsageError(
            f"the network {name} was defined in a session that is over; put its class into a file and name that."
        )
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        what = "no class" if found is None else "something else than a flax.linen.Module"
        raise UsageError(
            f"{place} has {what} under the name {name!r}; name a network's class after the colon."
        )
    return found


def arch_of(network: type[nn.Module]) -> str:
    """Returns the arch that names a class, by which `find_class` finds it again.

    Raises:
        UsageError: the class is defined within a function, where nobody finds it again.
    """
    if "<locals>" in network.__qualname__:
        raise UsageError(
            f"the network {network.__name__} is defined within a function; define it outside of it."
        )
    module, name = sys.modules.get(network.__module__), network.__qualname__
    file = getattr(module, "__file__", None)
    # What runs as a script, or was loaded from a file, has no name that another process can import.
    importable = network.__module__ != "__main__" and getattr(module, "__spec__", None) is not None
    if file and (not importable or network.__module__.startswith(_PREFIX)):
        return f"{Path(file).resolve()}:{name}"
    return f"{network.__module__}:{name}"


def fingerprint(arch: str) -> str:
    """Returns the SHA-256 of the file that defines a class; empty where there is none, as in a notebook."""
    try:
        file = inspect.getsourcefile(find_class(arch))
        return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""
    except (OSError, TypeError):
        return ""


def checked(arch: str, module: nn.Module, classes: int) -> CustomNetwork:
    """Returns the module as a network after tracing it, which computes nothing.

    Raises:
        UsageError: it fails, has collections besides `params` and `batch_stats`, or gives another shape than
            `[batch, classes]`.
    """
    network, name = CustomNetwork(module), arch_title(arch)
    images = jax.ShapeDtypeStruct((2, 28, 28, 1), jnp.float32)
    try:
        variables: Any = jax.eval_shape(network.init, jax.random.key(0), images)
        outputs: Any = jax.eval_shape(network.apply, variables, images)
    except Exception as error:  # whatever the user's code raises
        reason = shortened(
            f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
        )
        raise UsageError(
            f"the network {name} fails on images [2, 28, 28, 1] ({reason}); correct its call."
        ) from error
    if extra := set(variables) - _COLLECTIONS:
        raise UsageError(
            f"the network {name} has variables in {', '.join(sorted(extra))}; only params and batch_stats are trained "
            "and saved."
        )
    shape = getattr(outputs, "shape", None)
    if shape != (2, classes):
        given = list(shape) if shape is not None else type(outputs).__name__
        raise UsageError(
            f"the network {name} gives {given} for images [2, 28, 28, 1]; it must give scores [2, {classes}]."
        )
    return network


_PREFIX = "jaxmnist_custom_"


@functools.cache
def _parameters(network: type[nn.Module]) -> frozenset[str]:
    return frozenset(inspect.signature(network.__call__).parameters)


def _load_file(file: Path) -> ModuleType:
    script = sys.modules["__main__"]
    if getattr(script, "__file__", None) and Path(str(script.__file__)).resolve() == file.resolve():
        return script  # a script that trains a network of its own must not be run again
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"the network's file {file} cannot be read ({error.strerror}); name one that is there."
        ) from error
    digest = hashlib.sha256(content).hexdigest()[:16]
    name = f"{_PREFIX}{file.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file.resolve())
    assert spec is not None  # the file's name ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # The file may import its neighbours.
    sys.path.insert(0, str(file.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _not_loaded(str(file), error) from error
    finally:
        sys.path.remove(str(file.resolve().parent))
    return module


def _import(name: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise _not_loaded(name, error) from error
    finally:
        sys.path.remove(str(Path.cwd()))


def _not_loaded(place: str, error: Exception) -> UsageError:
    reason = shortened(f"{type(error).__name__}: {error}")
    return UsageError(
        f"the network's module {place} cannot be loaded ({reason}); correct it, or name another."
    )
