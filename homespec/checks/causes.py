"""HS4xx: one finding for each cause, with the number of places that it affects."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import pairwise
from typing import TypeVar

from homespec.diagnostics import Finding, Label, Span
from homespec.diagnostics.suggest import closest
from homespec.graph.nodes import ExpertSet
from homespec.lower import Lowered
from homespec.resolve.layers import Path

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


def by_cause(things: Iterable[T], cause: Callable[[T], K]) -> dict[K, list[T]]:
    """Items grouped by the cause of their mistake, in the order of causes."""
    by: dict[K, list[T]] = {}
    for thing in things:
        by.setdefault(cause(thing), []).append(thing)
    return by


def sections_of(lowered: Lowered, experts: ExpertSet) -> tuple[Path, ...]:
    """The places that may configure the experts of a set, the most specific first."""
    (layer,) = (layer for layer in lowered.layers if layer.name == experts.layer)
    return layer.sets[experts.place].sections


def did_you_mean(name: str, known: Sequence[str], otherwise: str) -> str:
    """The help for an unknown name: the closest known one, or else the given remedy."""
    guess = closest(name, known)
    return f"did you mean `{guess}`?" if guess else otherwise


def cycle(
    things: str, way: Sequence[str], spans: Sequence[Span], verb: str, remedy: str
) -> Finding:
    """A path that ends where it begins; `spans` are the places of its steps."""
    return Finding(
        spans[-1],
        f"{things} form a cycle: {' → '.join(way)}",
        label=f"closes the cycle back to `{way[0]}`",
        related=tuple(
            Label(span, f"`{a}` {verb} `{b}`")
            for span, (a, b) in zip(spans[:-1], pairwise(way[:-1]), strict=True)
        ),
        help=remedy,
    )


def listed(names: Sequence[str], most: int = 3) -> str:
    """`a`, `b` and `c`, or `a`, `b`, `c` and 4 more."""
    quoted = [f"`{name}`" for name in names[:most]]
    if len(names) > most:
        return f"{', '.join(quoted)} and {len(names) - most} more"
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def and_others(number: int, noun: str) -> str:
    """The text after the first of `number` things: ` and 2 other sets`, or ""."""
    others = number - 1
    return f" and {others} other {noun}{'s' if others > 1 else ''}" if others else ""


def describe_layers(names: Sequence[str]) -> str:
    """`layer task`, or `layers meta and task`."""
    return f"layer{'s' if len(names) > 1 else ''} {listed(names)}"


def describe_experts(sets: Sequence[ExpertSet]) -> str:
    """The first of the sets by place and layer, and how many others there are."""
    first = sets[0]
    others = and_others(len(sets), "set")
    return f"the experts of `{first.place}` in layer `{first.layer}`{others}"
