"""The `demo` command."""

import contextlib
import dataclasses
import tempfile
import webbrowser
from pathlib import Path

from jaxmnist.cli.network_options import DatasetCommand
from jaxmnist.cli.options import RunOrWeights
from jaxmnist.pretrained import DEFAULT
from jaxmnist.runtime.json_text import json_text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demo(DatasetCommand):
    """Open a page in the browser: draw, watch the network read it, look at its feature maps."""

    network: RunOrWeights = Path(DEFAULT)
    """Run folder, weights file, or the name of a trained network that comes with the package."""
    no_browser: bool = False
    """Only write the page and print its path."""

    def run(self) -> None:
        """Writes the page, opens it and prints its path."""
        from jaxmnist.inference.export import export
        from jaxmnist.report.terminal import print_line

        network = self.open_network()
        # Not deleted: the browser reads it after this command has ended.
        folder = Path(tempfile.mkdtemp(prefix="jaxmnist-"))
        ((page, *_), _) = export(
            network, self.load_dataset(network, or_digits=True, download=False), ["html"], folder
        )
        opened = False
        with contextlib.suppress(webbrowser.Error):
            opened = not self.no_browser and webbrowser.open(page.file.as_uri())
        if self.json:
            print(json_text(self.origin() | {"page": str(page.file), "opened": opened}))
            return
        if not (opened or self.no_browser):
            print_line(self.console(), "No browser could be started here; open this file in one:")
        print_line(self.console(), str(page.file))
