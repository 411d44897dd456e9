"""The `report` command."""

import dataclasses
import warnings
from pathlib import Path

from jaxmnist.cli.options import Command, OptionalFile, OptionalFolder, RunFolders
from jaxmnist.errors import JaxmnistWarning, UsageError
from jaxmnist.runtime.json_text import json_text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report(Command):
    """Write a page about a run, or about several side by side: one HTML file that loads nothing."""

    run_folders: RunFolders
    """Run folders made by train, finished or not."""
    data_dir: OptionalFolder = None
    """Folder with the four IDX files (plain or .gz), or with a subfolder named after the dataset."""
    out: OptionalFile = None
    """HTML file to write. By default report.html, in the run folder or for several runs in the current folder."""

    def run(self) -> None:
        """Writes the page and prints the verdict on each run."""
        from jaxmnist.report.facts import differences, pairs
        from jaxmnist.report.gather import gather
        from jaxmnist.report.html.page import page_of_run, page_of_runs
        from jaxmnist.report.terminal import print_files, print_line
        from jaxmnist.runtime.files import write_atomically

        if not self.run_folders:
            raise UsageError("there are no runs to report on; name run folders.")
        found = gather(self.run_folders, self.data_dir, self.start())
        several = len(found) > 1
        compared = pairs(found)
        page = page_of_runs(found, compared) if several else page_of_run(found[0])
        out = self.out or (Path() if several else self.run_folders[0]) / "report.html"
        try:
            write_atomically(out, page.encode(errors="backslashreplace"))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UsageError(f"{out} cannot be written ({reason}); name another file with --out.") from error
        for run in found:
            for note in run.notes:
                warnings.warn(f"{run.figures.run}: {note}", JaxmnistWarning, stacklevel=2)
        if self.json:
            values = {
                "file": str(out),
                "runs": [run.as_json() for run in found],
                "differences": differences([run.settings() for run in found]),
                "pairs": [pair._asdict() for pair in compared],
            }
            print(json_text(values))
            return
        console = self.console()
        for run in found:
            print_line(console, f"{run.figures.run}: {run.verdict}" if several else run.verdict)
        print_files(console, [out])
