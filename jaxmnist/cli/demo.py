"""The `demo` command."""

import dataclasses
import json
import tempfile
import webbrowser
from pathlib import Path

from jaxmnist.cli.export import ExportCommand


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demo(ExportCommand):
    """Open a page in the browser: draw a digit, watch the network read it, look at its feature maps."""

    no_browser: bool = False
    """Only write the page and print where it is."""

    def run(self) -> None:
        from jaxmnist.inference.export import export

        network = self.open_network()
        # Stays, as the browser reads it after this command has ended.
        folder = Path(tempfile.mkdtemp(prefix="jaxmnist-"))
        ((page, *_), _) = export(network, self.load_dataset(network), ["html"], folder)
        opened = not self.no_browser and _open(page.file)
        if self.json:
            print(json.dumps(self.origin() | {"page": str(page.file), "opened": opened}))
            return
        advice = (
            "" if opened or self.no_browser else "No browser could be started here; open this file in one:\n"
        )
        self.console().print(f"{advice}{page.file}", soft_wrap=True, highlight=False, markup=False)


def _open(file: Path) -> bool:
    try:
        return webbrowser.open(file.as_uri())
    except webbrowser.Error:
        return False
