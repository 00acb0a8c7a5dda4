"""Training: methods that combine the losses of several tasks into one gradient, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homespec.train.optimizer_state import Views
from homespec.train.weighting.base import Weighting
from homespec.train.weighting.gradnorm import GradNorm
from homespec.train.weighting.scalar import Fixed, Uncertainty
from homespec.train.weighting.surgery import Surgery, cagrad, pcgrad

METHODS = ("fixed", "uncertainty", "gradnorm", "pcgrad", "cagrad")

__all__ = ["METHODS", "Weighting", "weighting_of"]


def weighting_of(
    method: str,
    weights: Mapping[str, float],
    kinds: Mapping[str, str],
    views: Views,
    **options: Any,
) -> Weighting:
    """A method by name, for tasks in the order of the losses, with the weights of the spec.

    `kinds` has the kind of each task, `binary` or `regression`; `views` is the generated
    `logical_views`. Options: `alpha` of gradnorm, `c` of cagrad. Raises RunError if torchjd is
    needed and missing.
    """
    match method:
        case "fixed":
            return Fixed(weights, **options)
        case "uncertainty":
            return Uncertainty(weights, kinds, **options)
        case "gradnorm":
            return GradNorm(weights, views, **options)
        case "pcgrad":
            return Surgery(weights, pcgrad(**options))
        case "cagrad":
            return Surgery(weights, cagrad(**options))
    raise ValueError(f"{method} is none of {', '.join(METHODS)}")
