"""The doctor's report: how much a task needs an expert, as a class of colour."""

from __future__ import annotations

from homespec.health.measures import Effect

STEPS = (0.001, 0.01, 0.03, 0.1)
"""Changes of a loss, by that loss, from which on a step of colour begins."""
LABELS = ("under 0.1 %", "0.1 to 1 %", "1 to 3 %", "3 to 10 %", "over 10 %")
UNKNOWN = "unknown"


def step(part: Effect | None) -> str:
    """The classes of an effect by the loss; it is pale where its interval holds 0."""
    if part is None:
        return UNKNOWN
    better = part.change < -STEPS[0]
    kind = "better" if better else f"need{sum(part.change >= each for each in STEPS)}"
    return kind if part.sure else f"{kind} pale"
