"""JSON as it is written to files and to standard output."""

import json
import math
from collections.abc import Mapping


def json_text(values: object, indent: int | None = None) -> str:
    """Returns values as JSON, with null for a figure that is not finite, for which JSON has no word."""
    return json.dumps(finite(values), indent=indent, allow_nan=False)


def finite(values: object) -> object:
    """Returns values with None in place of every number that is not finite."""
    if isinstance(values, Mapping):
        return {name: finite(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values
