"""Fixtures of the command-line tests."""

import sys

import pytest

from jaxmnist.cli import main as cli


@pytest.fixture
def call(monkeypatch, capsys):
    """Runs a command in this process; returns exit code, standard output, standard error.

    Without a command, None, `jaxmnist` itself runs and takes the command from the arguments.
    """

    def run(command, *arguments):
        monkeypatch.setattr(sys, "argv", [command or "jaxmnist", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main(command)
        return end.value.code or 0, *capsys.readouterr()

    return run
