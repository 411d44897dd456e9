"""The `report` command."""

import dataclasses
import json
import warnings
from pathlib import Path

from jaxmnist.cli.options import Command, OptionalFile, OptionalFolder, RunFolders
from jaxmnist.errors import JaxmnistWarning, UsageError

_NAME = "report.html"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report(Command):
    """Write a page about a run, or about several side by side: one HTML file that needs nothing else."""

    run_folders: RunFolders
    """Folders that train made; what runs lack, as unfinished ones do, is left out."""
    data_dir: OptionalFolder = None
    """Folder with the four IDX files (plain or .gz), or with a subfolder named after the dataset."""
    out: OptionalFile = None
    """HTML file to write; by default report.html, in the run folder or for several runs in this one."""

    def run(self) -> None:
        from jaxmnist.report.facts import as_json, differences, settings_of
        from jaxmnist.report.gather import gather, pairs
        from jaxmnist.report.html.run import page_of_run
        from jaxmnist.report.html.runs import page_of_runs
        from jaxmnist.runtime.files import write_atomically

        if not self.run_folders:
            raise UsageError("there is nothing to report; name run folders.")
        found = gather(self.run_folders, self.data_dir, self.start())
        compared = pairs(found)
        page = page_of_run(found[0]) if len(found) == 1 else page_of_runs(found, compared)
        out = self.out or (self.run_folders[0] / _NAME if len(found) == 1 else Path(_NAME))
        try:
            write_atomically(out, page.encode(errors="backslashreplace"))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UsageError(f"{out} cannot be written ({reason}); name another file with --out.") from error
        for facts in found:
            for note in facts.notes:
                warnings.warn(f"{facts.figures.run}: {note}", JaxmnistWarning, stacklevel=2)
        if self.json:
            several = {
                "differences": differences([settings_of(facts) for facts in found]),
                "pairs": [pair._asdict() for pair in compared],
            }
            print(json.dumps({"file": str(out), "runs": [as_json(facts) for facts in found], **several}))
            return
        console = self.console()
        for facts in found:
            named = f"{facts.figures.run}: " if len(found) > 1 else ""
            console.print(f"{named}{facts.verdict}", highlight=False, markup=False, soft_wrap=True)
        console.print(f"Written: {out}", highlight=False, markup=False, soft_wrap=True)
