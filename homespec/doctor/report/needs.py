"""The doctor's report: how much a task needs an expert, as a colour class and a height."""

from __future__ import annotations

from homespec.health.measures import Effect

STEPS = (0.001, 0.01, 0.03, 0.1)
"""Relative changes of a loss at which each colour step begins."""
LABELS = ("under 0.1 %", "0.1 to 1 %", "1 to 3 %", "3 to 10 %", "over 10 %")


def level(part: Effect) -> int:
    """The step, 0 to 4, of a change relative to the loss."""
    return sum(part.change >= each for each in STEPS)


def is_better(part: Effect) -> bool:
    """Whether the loss falls by more than the first step."""
    return part.change < -STEPS[0]


def step(part: Effect) -> str:
    """The CSS classes of a relative change, which is pale if its interval contains 0."""
    kind = "better" if is_better(part) else f"need{level(part)}"
    return kind if part.sure else f"{kind} pale"
