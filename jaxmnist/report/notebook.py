"""Training progress in a notebook: a bar of ipywidgets where they are installed, and a plain line for each epoch."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from jaxmnist.config.run import RunConfig
from jaxmnist.report.terminal.console import SafeConsole
from jaxmnist.report.terminal.training import TrainingDisplay
from jaxmnist.runs.progress import Progress

_WIDTH = 100  # characters; a kernel has no terminal to ask


class NotebookConsole(SafeConsole):
    """Console that writes plain lines to a cell's output; Rich's own would add a block of HTML for each."""

    def __init__(self) -> None:
        super().__init__(force_jupyter=False, force_terminal=False, color_system=None, width=_WIDTH)


def is_notebook() -> bool:
    """True in a kernel of Jupyter, Colab or Databricks."""
    return Console().is_jupyter


class NotebookDisplay(TrainingDisplay):
    """Callback that shows the progress of a run in a notebook; a context manager."""

    def __init__(self, console: Console, config: RunConfig, rows: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(console, config, rows)
        self._widgets = _ipywidgets()
        self._bar: Any = None

    def __exit__(self, *details: object) -> None:
        super().__exit__(*details)
        self._close_bar()

    def __call__(self, progress: Progress) -> None:
        """Shows an event of the run."""
        if progress.kind == "step" and self._widgets is not None:
            self._move_bar(progress)
            return
        self._close_bar()
        super().__call__(progress)

    def _move_bar(self, progress: Progress) -> None:
        if self._bar is None:
            style = self._widgets.Layout(width="60%")
            self._bar = self._widgets.IntProgress(min=0, max=progress.total, layout=style)
            self._label = self._widgets.Label()
            self._box = self._widgets.HBox([self._bar, self._label])
            importlib.import_module("IPython.display").display(self._box)
        self._bar.value = progress.done
        place = f"Epoch {progress.epoch}/{self.epochs}  {progress.done}/{progress.total}"
        self._label.value = f"{place}  {self.figures(progress)}"

    def _close_bar(self) -> None:
        if self._bar is not None:
            for widget in (self._box, self._bar, self._label):
                widget.close()
            self._bar = None


def _ipywidgets() -> Any:  # noqa: ANN401  (a module that need not be installed)
    try:
        return importlib.import_module("ipywidgets")
    except ImportError:
        return None
