"""The console of all commands: whatever is printed, it stays text."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from jaxmnist.errors import escaped


class SafeConsole(Console):
    """Console that shows control characters and marks of direction escaped, also those in names from outside."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Renders an object to segments of text and the console's own control codes."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=escaped(segment.text, but="\n"))
