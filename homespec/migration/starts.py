"""Options for the initial values of new parts of weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

Choice = Literal["closed", "mean", "fresh"]
Input = Literal["zero", "fresh"]
Row = Literal["fresh", "mean"]


@dataclass(frozen=True, slots=True)
class Starts:
    """Initial values of new parts of weights, where the rest is carried over.

    `choice`: a gate shuts out an expert that it did not weigh before, weighs it like the others on
    average, or starts as in a new gate. `input`: columns for values that a layer did not read
    before are 0, or as in a new layer. `row`: new rows of a table for ids or intervals are as in a
    new table, or the mean of the old rows. Raises ValueError for an unknown value.
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
"""The values that each option can have."""
