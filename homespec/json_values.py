"""Python values that JSON cannot hold, as ones that it can."""

from __future__ import annotations

import math
from typing import Any


def without_nan(value: Any) -> Any:
    """NaN is not JSON: null replaces it."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
