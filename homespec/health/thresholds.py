"""Health: the thresholds of findings, which `--threshold NAME=VALUE` changes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass

from homespec.diagnostics.suggest import closest

TOLERANCE = 1e-3
"""Outputs of experts with a magnitude below this count as near 0."""
SAMPLE_ROWS = 20_000
"""Default number of rows for knock-outs."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """`zeros` is the paper's value; all others are homespec's (`docs/doctor.md` says why)."""

    zeros: float = 0.9
    """Share of outputs near 0 above which an expert has collapsed."""
    dead_channels: float = 0.5
    """Share of constant channels above which an expert is narrower than its cost suggests."""
    scale_ratio: float = 10.0
    """Ratio of the mean |a| of two experts that one gate mixes."""
    similarity: float = 0.98
    """Linear CKA above which two experts of a set may be copies."""
    owned: float = 0.8
    """Share of the use of a shared expert by one gate."""
    ignored: float = 0.25
    """Contribution of a task's own experts / their fair share, below which they are ignored."""
    gate_std: float = 0.01
    """Standard deviation over rows of a gate's weights, below which it does not move."""
    saturation: float = 0.95
    """Distance from 1 above which a value of a feature gate is saturated."""
    saturated: float = 0.5
    """Share of saturated values of a feature gate."""
    lora_effect: float = 0.001
    """Mean distance from 1, times its weight, below which a LoRA does nothing."""
    negligible: float = 0.001
    """Relative change of a task's loss below which it is negligible."""
    positives: float = 50.0
    """Positives, and negatives, of a task in the sample, below which there is no verdict."""
    start_spread: float = 0.005
    """Standard deviation of the logits over rows before training, below which a start is flat."""


NAMES = tuple(field.name for field in dataclasses.fields(Thresholds))


def thresholds_from(changes: Iterable[str]) -> Thresholds:
    """The defaults with changes of the form NAME=VALUE. Raises ValueError for others."""
    given: dict[str, float] = {}
    for change in changes:
        name, _, text = change.partition("=")
        name = name.strip().replace("-", "_")
        if name not in NAMES:
            near = closest(name, NAMES)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(NAMES)}."
            raise ValueError(f"`{name}` is not a threshold: {hint}")
        given[name] = _number(change, text)
    return Thresholds(**given)


def _number(change: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"`{change}` is not of the form NAME=VALUE, such as zeros=0.8.")
    return value
