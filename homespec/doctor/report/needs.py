"""The doctor's report: how much a task needs an expert, as a class of colour and as a height."""

from __future__ import annotations

from homespec.health.measures import Effect

STEPS = (0.001, 0.01, 0.03, 0.1)
"""Changes of a loss, by that loss, from which on a step of colour begins."""
LABELS = ("under 0.1 %", "0.1 to 1 %", "1 to 3 %", "3 to 10 %", "over 10 %")


def level(part: Effect) -> int:
    """The step of an effect by the loss, 0 to 4."""
    return sum(part.change >= each for each in STEPS)


def is_better(part: Effect) -> bool:
    """Whether the loss falls, by more than the first step."""
    return part.change < -STEPS[0]


def step(part: Effect) -> str:
    """The classes of an effect by the loss; it is pale where its interval holds 0."""
    kind = "better" if is_better(part) else f"need{level(part)}"
    return kind if part.sure else f"{kind} pale"
