"""Stage 2, schema: what to write for what other libraries call dropout."""

from __future__ import annotations

from typing import Any

from homespec.schema.located_error import Path


def _share(value: Any) -> str:
    """The share of dropout that was written, of a list its first."""
    first = value[0] if isinstance(value, list) and value else value
    is_share = isinstance(first, int | float) and not isinstance(first, bool) and 0 <= first < 1
    return f"{first:g}" if is_share else "0.1"


def dropout_of_section(parent: Path, key: str, value: Any) -> str:
    """In a section of experts or towers."""
    return f"write `dropout: {_share(value)}`, one share for all layers"


def dropout_of_task(parent: Path, key: str, value: Any) -> str:
    """In a task: that of its tower."""
    return f"write `tower: {{dropout: {_share(value)}}}`"


def whose_dropout(parent: Path, key: str, value: Any) -> str:
    """At the top of a spec, where other libraries mean all MLPs, or all embeddings."""
    share = _share(value)
    if "embed" in key or "feature" in key:
        return f"write `feature_dropout: {share}`"
    said = f"{{dropout: {share}}}"
    return (
        f"say for which part: write `experts: {said}`, `towers: {said}`, or `feature_dropout: "
        f"{share}`"
    )
