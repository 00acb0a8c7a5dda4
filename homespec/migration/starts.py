"""How parts of weights start that the old model does not have: the options, and their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

Choice = Literal["closed", "mean", "fresh"]
Input = Literal["zero", "fresh"]
Row = Literal["fresh", "mean"]


@dataclass(frozen=True, slots=True)
class Starts:
    """How new parts of weights start, where the rest is carried over.

    `choice`: an expert that a gate did not weigh is shut out, weighed like the others on average,
    or as in a new gate. `input`: columns for what a layer did not read are 0, or as in a new layer.
    `row`: rows of a table for ids or intervals that it did not have are as in a new table, or the
    mean of those that it had. Raises ValueError for a value that is unknown.
    """

    choice: Choice = "closed"
    input: Input = "zero"
    row: Row = "fresh"

    def __post_init__(self) -> None:
        for option, known in CHOICES.items():
            if (start := getattr(self, option)) not in known:
                raise ValueError(f"new_{option} is {start!r}, not {' or '.join(known)}")

    @classmethod
    def of(cls, given: Mapping[str, str | None]) -> Starts:
        """The options that are given; the others have their defaults."""
        known: dict[str, Any] = {k: start for k, start in given.items() if start is not None}
        return cls(**known)


CHOICES: dict[str, tuple[str, ...]] = {
    option: get_args(kind) for option, kind in get_type_hints(Starts).items()
}
"""What each option may be."""
