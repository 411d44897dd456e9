"""The command that installs an extra of this package, from wherever the package itself came."""

import contextlib
import importlib.metadata
import json
from pathlib import Path


def install_line(extra: str, source: Path = Path(__file__).parents[2]) -> str:
    """Returns the pip command that adds an extra to this installation.

    Args:
        extra: name of the extra.
        source: folder that holds the package: a checkout, or the environment's `site-packages`.
    """
    if (source / "pyproject.toml").is_file():
        return f"pip install -e '{'.' if source == Path.cwd() else source}[{extra}]'"
    with contextlib.suppress(importlib.metadata.PackageNotFoundError, ValueError, KeyError):
        found = importlib.metadata.distribution("jaxmnist").read_text("direct_url.json")
        if found is not None:  # from a folder, a file or a repository instead of an index
            origin = json.loads(found)
            version_control = origin.get("vcs_info")
            scheme = f"{version_control['vcs']}+" if version_control else ""
            return f"pip install 'jaxmnist[{extra}] @ {scheme}{origin['url']}'"
    return f"pip install 'jaxmnist[{extra}]'"
