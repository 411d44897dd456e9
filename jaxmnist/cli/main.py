"""The entry point: `jaxmnist`, `python -m jaxmnist` and the files in `scripts/` call `main`."""

import contextlib
import functools
import logging
import os
import shutil
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

import jaxmnist
from jaxmnist.cli import COMMANDS, load_command
from jaxmnist.errors import JaxmnistError, JaxmnistWarning, UsageError, one_line
from jaxmnist.runtime.signals import own_process
from jaxmnist.runtime.streams import outlets

if TYPE_CHECKING:
    from jaxmnist.cli.options import Command

_STYLE = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes)


def main(command: str | None = None) -> None:
    """Runs a command with the process's arguments and ends the process with the command's exit code.

    Args:
        command: name of the command; by default the first argument.
    """
    with outlets() as out:
        chosen = _parse(command)
        # Absl's warnings of libraries would break into the progress bar.
        logging.getLogger("absl").setLevel(logging.ERROR)
        warnings.simplefilter("always", JaxmnistWarning)
        warnings.showwarning = functools.partial(_show_warning, warnings.showwarning)
        with own_process():
            code = _exit_code(chosen)
        if code > 128 or (code and _is_one_of_several()):
            _end_at_once(code)
        out.flush()
        if out.failure is not None and code == 0:
            print(
                f"error: standard output was lost ({out.failure.strerror}); all else is done.",
                file=sys.stderr,
            )
            code = 1
    sys.exit(code)


def _parse(name: str | None) -> "Command":
    """Reads the command and its options; ends the process after help, the version or wrong usage."""
    arguments = sys.argv[1:]
    program = Path(sys.argv[0]).name
    if name is None:
        if not arguments or arguments[0] in ("-h", "--help"):
            _print_commands()
            sys.exit()
        if arguments[0] == "--version":
            print(f"jaxmnist {jaxmnist.__version__}")
            sys.exit()
        name, *arguments = arguments
        program = f"jaxmnist {name}"
    try:
        command = load_command(name)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    _sort_options(command)
    return tyro.cli(command, prog=program, args=arguments, config=_STYLE)


def _sort_options(command: "type[Command]") -> None:
    """Moves the options that every command has behind its own, for the help text."""
    from jaxmnist.cli.options import Command

    options = command.__dataclass_fields__
    for name in Command.__dataclass_fields__:
        options[name] = options.pop(name)


def _print_commands() -> None:
    """Prints the commands in their groups, each with the first line of its docstring."""
    width = shutil.get_terminal_size().columns
    print("usage: jaxmnist COMMAND [OPTIONS]")
    for group, commands in COMMANDS.items():
        print(f"\n{group}")
        for name in commands:
            summary = (load_command(name).__doc__ or "").partition("\n")[0]
            print(textwrap.fill(summary, width, initial_indent=f"  {name:11}", subsequent_indent=" " * 13))
    print("\njaxmnist COMMAND --help lists the options of a command.")
    print("jaxmnist --version prints the version.")


def _exit_code(command: "Command") -> int:
    """Runs a command; an error becomes a line on standard error and an exit code."""
    try:
        command.run()
    except (Exception, KeyboardInterrupt) as error:
        if command.debug:
            traceback.print_exception(error)
        if isinstance(error, JaxmnistError):
            code, message = error.exit_code, str(error)
        elif isinstance(error, KeyboardInterrupt):
            code, message = 130, "interrupted."
        else:
            code, message = 1, one_line(f"{type(error).__name__}: {error}") + " (--debug shows where)"
        print(f"error: {message}", file=sys.stderr)
        return code
    return 0


def _is_one_of_several() -> bool:
    """True if JAX would wait at exit for other processes, which have ended already."""
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()


def _end_at_once(code: int) -> None:
    """Ends the process without taking down JAX and Python in order, which takes a second or two."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _show_warning(
    show_other: Callable[..., None], message: Warning | str, category: type[Warning], *place: object
) -> None:
    """Prints this package's warnings as one line and leaves all others to Python."""
    if issubclass(category, JaxmnistWarning):
        print(f"warning: {message}", file=sys.stderr)
    else:
        show_other(message, category, *place)
