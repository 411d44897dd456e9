"""The command line: `scripts/` and the `jaxmnist` entry point call `main`."""

import contextlib
import logging
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import tyro

from jaxmnist.cli import COMMANDS
from jaxmnist.cli.options import Command
from jaxmnist.errors import JaxmnistError, JaxmnistWarning
from jaxmnist.runtime.streams import outlets

_STYLE = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes)


def main(command: str | None = None) -> None:
    """Runs a command with the process's arguments and ends the process with the command's exit code.

    Args:
        command: one of `COMMANDS`; without it the first argument names the command.
    """
    with outlets() as out:
        if command is None:
            chosen = tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="jaxmnist", config=_STYLE)
        else:
            chosen = tyro.cli(COMMANDS[command], prog=Path(sys.argv[0]).name, config=_STYLE)
        # Absl's warnings of libraries would break into the progress bar.
        logging.getLogger("absl").setLevel(logging.ERROR)
        warnings.simplefilter("always", JaxmnistWarning)
        warnings.showwarning = _show_warning
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


def _exit_code(command: Command) -> int:
    try:
        command.run()
    except JaxmnistError as error:
        code, message = error.exit_code, str(error)
    except KeyboardInterrupt:
        code, message = 130, "interrupted."
    except Exception as error:
        code, message = 1, f"{type(error).__name__}: {error} (--debug shows where)"
    else:
        return 0
    if command.debug:
        traceback.print_exc()
    print(f"error: {message}", file=sys.stderr)
    return code


def _is_one_of_several() -> bool:
    """Whether JAX would wait for other processes at the end, which have ended already."""
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()


def _end_at_once(code: int) -> None:
    """Ends an interrupted process; to take down JAX and Python in order takes a second or two."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _show_warning(message: Warning | str, category: type[Warning], *place: Any) -> None:
    if issubclass(category, JaxmnistWarning):
        print(f"warning: {message}", file=sys.stderr)
    else:
        _show_other_warning(message, category, *place)


_show_other_warning = warnings.showwarning
