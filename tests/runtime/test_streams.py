"""Standard output and error that are closed, broken or full."""

import subprocess
import sys

import pytest

# A command without its slow parts.
COMMAND = """
import json, sys
from rich.console import Console
from jaxmnist.cli import main as cli
from jaxmnist.cli.options import Command

class Prints(Command):
    debug = False
    def run(self):
        for _ in range(3):
            Console().print("x\\n" * 2_000)
            print(json.dumps("y" * 100_000))
        opened = open("/dev/null")
        open(sys.argv[1], "w").write(str(opened.fileno()))

cli.tyro.cli = lambda *_, **__: Prints()
cli.main("train")
"""


@pytest.mark.parametrize(
    ("redirection", "code", "message"),
    [
        (">/dev/null", 0, ""),
        (">&-", 0, ""),
        ("| head -c 1 >/dev/null; exit ${PIPESTATUS[0]}", 0, ""),
        (">/dev/full", 1, "error: standard output was lost (No space left on device); all else is done.\n"),
        (">/dev/null 2>/dev/full", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
    ],
)
def test_a_command_runs_to_its_end_and_reports_lost_output(tmp_path, redirection, code, message):
    line = f'"$@" {redirection}'
    command = ["bash", "-c", line, "bash", sys.executable, "-c", COMMAND, str(tmp_path / "number")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (code, message)
    assert int((tmp_path / "number").read_text()) > 2, "a file got the number of a closed stream"


def test_characters_missing_from_the_encoding_are_escaped(tmp_path):
    environment = {"PYTHONIOENCODING": "ascii", "PATH": ""}
    code = COMMAND.replace('"x\\n" * 2_000', '"ä\\udcff"').replace("print(json", "(lambda _: 0)(json")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "number")],
        capture_output=True,
        env=environment,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == b"\\xe4\\udcff"
