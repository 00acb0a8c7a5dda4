"""Stage 2, schema: remedies for dropout written as in other libraries."""

from __future__ import annotations

import re
from typing import Any

from homespec.schema.located_error import Path


def percent_as_share(text: str) -> float | None:
    """0.2 for `20%` or `20 %`; None for other texts, and for percentages outside (0, 100)."""
    match = re.fullmatch(r"\s*([0-9]{1,3}(?:[.,][0-9]*)?)\s*%\s*", text)
    share = float(match[1].replace(",", ".")) / 100 if match else 0.0
    return share if 0 < share < 1 else None


def _share(value: Any) -> str:
    """The share of dropout that was written, or the first of a list."""
    first = value[0] if isinstance(value, list) and value else value
    if isinstance(first, str):
        first = percent_as_share(first)
    is_share = isinstance(first, int | float) and not isinstance(first, bool) and 0 <= first < 1
    return f"{first:g}" if is_share else "0.1"


def dropout_of_section(parent: Path, key: str, value: Any) -> str:
    """In a section of experts or towers."""
    return f"write `dropout: {_share(value)}`, one share for all layers"


def dropout_of_task(parent: Path, key: str, value: Any) -> str:
    """The remedy in a task, which means its tower."""
    return f"write `tower: {{dropout: {_share(value)}}}`"


def whose_dropout(parent: Path, key: str, value: Any) -> str:
    """The remedy at the top of a spec, where other libraries mean all MLPs, or all embeddings."""
    share = _share(value)
    if "embed" in key or "feature" in key:
        return f"write `feature_dropout: {share}`"
    said = f"{{dropout: {share}}}"
    return (
        f"say for which part: write `experts: {said}`, `towers: {said}`, or `feature_dropout: "
        f"{share}`"
    )
