"""JSON as it is written to files and to standard output."""

import json
import math
from collections.abc import Mapping
from typing import Any


def json_text(values: object, indent: int | None = None) -> str:
    """Returns values as JSON, with null for a figure that is not finite, for which JSON has no word."""
    return json.dumps(finite(values), indent=indent, allow_nan=False)


def finite(values: Any) -> Any:  # noqa: ANN401, whatever JSON can hold
    """Returns values as they come back from JSON: lists for tuples, None for every number that is not finite."""
    if isinstance(values, Mapping):
        return {name: finite(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values
