"""HS75x: the state of a model before its first step."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.checks.causes import by_cause, listed
from homespec.diagnostics import Finding, Severity, rule
from homespec.graph.nodes import ExpertSet
from homespec.health import remedies
from homespec.health.evidence import Examined
from homespec.health.expert_rules import is_mostly_dead
from homespec.health.measures import short


@rule("HS751", "flat-start", Severity.WARNING)
def flat_start(seen: Examined) -> Iterator[Finding]:
    """A model that starts almost constant.

    Before the first step, the logits of a task hardly differ between rows. The input is lost on its
    way through the layers, and so are the gradients on their way back. The first training steps are
    then spent on finding a scale. `init: auto` preserves the scale through MLPs with ReLU or Swish,
    and batch norm sets it. Change the standard deviation of the logits with `--threshold
    start_spread=0.01`.
    """
    flat = [task for task in seen.health.tasks if task.spread < seen.limits.start_spread]
    if flat and seen.has_rows:
        low, high = min(task.spread for task in flat), max(task.spread for task in flat)
        yield Finding(
            seen.lowered.first_span([("init",), ("family",), ("layers",), ("name",)]),
            f"before training, the logits of {listed([task.name for task in flat])} hardly differ"
            f" between rows: standard deviation {low:.2g} to {high:.2g}",
            help=_remedy(seen),
        )


def _remedy(seen: Examined) -> str:
    if seen.lowered.spec.init == "torch":
        return remedies.set_options((("init",), "auto"))
    options = (remedies.normalise(seen.lowered, s) for s in seen.lowered.graph.of(ExpertSet))
    return next(filter(None, options), "")


@rule("HS752", "dead-start", Severity.NOTE)
def dead_start(seen: Examined) -> Iterator[Finding]:
    """An expert of which most channels are constant before the first step.

    A ReLU that is off in all rows gets no gradient, so such a channel may never come to life. A
    channel that varies by less than the tolerance has a long way to go. `init: auto` and batch norm
    start with channels that vary. The share is the threshold `dead_channels`.
    """
    dead = (expert for expert in seen.health.experts if is_mostly_dead(seen, expert))
    for experts in by_cause(dead, lambda e: seen.span(e.set)).values():
        worst = max(experts, key=lambda e: e.dead_channels)
        names = listed([short(expert.name) for expert in experts])
        yield Finding(
            seen.span(worst.set),
            f"before training, up to {worst.dead_channels:.0%} of the channels of {names} are "
            "constant",
            "made here",
            help=_remedy(seen),
        )
