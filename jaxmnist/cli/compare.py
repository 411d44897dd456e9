"""The `compare` command."""

import dataclasses
from pathlib import Path

import tyro

from jaxmnist.cli.options import Command, Device, RunFolders
from jaxmnist.errors import UsageError
from jaxmnist.runtime.json_text import json_text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compare(Command):
    """Compare runs with each other and with the published figures."""

    run_folders: RunFolders
    """Run folders made by train, or folders that contain some, at most two levels below."""
    out: Path = Path("comparison")
    """Folder for comparison.json, accuracy.png and accuracy_against_parameters.png."""
    markdown: bool = False
    """Print the table as Markdown; everything else goes to standard error."""
    # Nothing is computed on a device.
    device: tyro.conf.Suppress[Device] = "auto"
    no_compile_cache: tyro.conf.Suppress[bool] = False

    def run(self) -> None:
        """Writes the comparison's files and prints the table."""
        from rich.console import Console

        from jaxmnist.report.plots.comparison import save_comparison_pictures
        from jaxmnist.report.terminal import print_files
        from jaxmnist.report.terminal.comparison import markdown_table, print_comparison
        from jaxmnist.runs.compare import COMPARISON, as_json, compare
        from jaxmnist.runs.folder import write_json

        if not self.run_folders:
            raise UsageError(
                "there are no runs to compare; name run folders, or a folder that contains some."
            )
        if self.json and self.markdown:
            raise UsageError("--json and --markdown both print on standard output; give one of them.")
        compared = compare(self.run_folders)
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            write_json(self.out / COMPARISON, as_json(compared))
            files = [self.out / COMPARISON, *save_comparison_pictures(self.out, compared)]
        except OSError as error:
            message = f"--out {self.out} cannot be written to ({error.strerror}); name another folder."
            raise UsageError(message) from error
        if self.json:
            print(json_text(as_json(compared)))
        elif self.markdown:
            print(markdown_table(compared))
        else:
            print_comparison(self.console(), compared)
        print_files(Console(stderr=self.json or self.markdown), files)
