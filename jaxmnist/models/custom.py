"""Networks of the user's own: any `flax.linen.Module` that maps `[batch, 28, 28, 1]` to `[batch, classes]`."""

import contextlib
import dataclasses
import functools
import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxmnist.errors import UsageError, shortened
from jaxmnist.runtime.reading import read_bytes, sha256_of

_MAX_SOURCE = 2**24  # bytes of a module
_COLLECTIONS = {"params", "batch_stats"}


@dataclasses.dataclass(frozen=True)
class CustomNetwork:
    """Adapter from a module to `jaxmnist.models.Model`, the interface of the package's networks."""

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
            mask: 0 for padding; passed on if the module's call takes it, and otherwise given to every
                `flax.linen.BatchNorm`, as padding must not enter the batch statistics.
            **options: further arguments of `flax.linen.Module.apply`, such as `rngs` and `mutable`.
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
                kwargs = {"mask": mask.reshape(-1, *(1,) * (args[0].ndim - 1)) > 0, **kwargs}
            return next_function(*args, **kwargs)

        with nn.intercept_methods(masked):
            return self.module.apply(variables, images, **arguments, **options)

    def _arguments(self, train: bool, mask: Array | None) -> dict[str, Any]:
        taken = _parameters(type(self.module))
        return {name: value for name, value in {"train": train, "mask": mask}.items() if name in taken}


def find_class(arch: str) -> type[nn.Module]:
    """Loads the class that an arch names, from a file or an importable module.

    A file that has changed since it was last loaded is loaded again.

    Raises:
        UsageError: the file, the module or the class does not exist, cannot be loaded, or is no `flax.linen.Module`.
    """
    place, _, name = arch.rpartition(":")
    if place.endswith(".py"):
        module = _load_file(Path(place))
    else:
        with _importing(place, Path.cwd()):
            module = importlib.import_module(place)
    found = getattr(module, name, None)
    if found is None and place == "__main__":
        raise UsageError(
            f"the network {name} was defined in a session that is over; move its class into a file and name that."
        )
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        fault = (
            f"has no class {name!r}" if found is None else f"has a {name!r} that is not a flax.linen.Module"
        )
        raise UsageError(f"{place} {fault}; give the class of a network after the colon.")
    return found


def arch_of(network: type[nn.Module]) -> str:
    """Returns the arch by which `find_class` finds a class again.

    Raises:
        UsageError: the class is defined within a function, where it cannot be found again.
    """
    if "<locals>" in network.__qualname__:
        raise UsageError(
            f"the network {network.__name__} is defined within a function; move it to the top level of its module."
        )
    module, name = sys.modules.get(network.__module__), network.__qualname__
    file = getattr(module, "__file__", None)
    # A script, or a module loaded from a file, has no name that another process can import.
    importable = network.__module__ != "__main__" and getattr(module, "__spec__", None) is not None
    return f"{network.__module__}:{name}" if importable or not file else f"{Path(file).resolve()}:{name}"


def fingerprint(arch: str) -> str:
    """Returns the SHA-256 of the file that defines a class; empty if there is none, as in a notebook."""
    try:
        file = inspect.getsourcefile(find_class(arch))
        return sha256_of(file, _MAX_SOURCE) if file else ""
    except (OSError, TypeError):
        return ""


def checked(title: str, module: nn.Module, classes: int) -> CustomNetwork:
    """Adapts a module after checking it by abstract evaluation.

    Args:
        title: name of the network, for error messages.
        module: the module.
        classes: number of scores that it must return for an image.

    Raises:
        UsageError: it fails, has collections besides `params` and `batch_stats`, or does not return
            `[batch, classes]`.
    """
    network, images = CustomNetwork(module), jax.ShapeDtypeStruct((2, 28, 28, 1), jnp.float32)
    try:
        variables: Any = jax.eval_shape(network.init, jax.random.key(0), images)
        outputs: Any = jax.eval_shape(network.apply, variables, images)
    except Exception as error:  # the user's code can raise anything
        reason = next(iter(str(error).strip().splitlines()), "")
        raise UsageError(
            f"the network {title} fails on images [2, 28, 28, 1] ({shortened(f'{type(error).__name__}: {reason}')}); "
            "correct its call."
        ) from error
    if extra := set(variables) - _COLLECTIONS:
        raise UsageError(
            f"the network {title} has variables in {', '.join(sorted(extra))}; use only params and batch_stats, which "
            "are trained and saved."
        )
    returned = list(getattr(outputs, "shape", ())) or type(outputs).__name__
    if returned != [2, classes]:
        raise UsageError(
            f"the network {title} returns {returned} for images [2, 28, 28, 1]; it must return scores [2, {classes}]."
        )
    return network


@functools.cache
def _parameters(network: type[nn.Module]) -> frozenset[str]:
    return frozenset(inspect.signature(network.__call__).parameters)


def _load_file(file: Path) -> ModuleType:
    path, script = file.resolve(), sys.modules["__main__"]
    if getattr(script, "__file__", None) and Path(str(script.__file__)).resolve() == path:
        return script  # a script that trains its own network must not run again
    try:
        content = read_bytes(path, _MAX_SOURCE)
    except OSError as error:
        raise UsageError(
            f"the network's file {file} cannot be read ({error.strerror}); name an existing file."
        ) from error
    name = f"jaxmnist_custom_{file.stem}_{hashlib.sha256(content).hexdigest()[:16]}"
    if name not in sys.modules:
        module = ModuleType(name)
        module.__file__ = str(path)
        with _importing(str(file), path.parent):  # the file may import its neighbours
            sys.modules[name] = module  # Flax looks its classes up there
            try:
                exec(compile(content, path, "exec"), vars(module))
            except BaseException:
                del sys.modules[name]
                raise
    return sys.modules[name]


@contextlib.contextmanager
def _importing(place: str, folder: Path) -> Iterator[None]:
    """Puts a folder on the module path, and turns an error of the user's code into one that names its place."""
    sys.path.insert(0, str(folder))
    try:
        yield
    except Exception as error:
        reason = shortened(f"{type(error).__name__}: {error}")
        raise UsageError(
            f"the network's module {place} cannot be loaded ({reason}); correct it or name another."
        ) from error
    finally:
        sys.path.remove(str(folder))
