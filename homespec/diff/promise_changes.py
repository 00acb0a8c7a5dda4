"""HS693 and HS694: promises under `expect` that say less than before, and those that say more."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

from homespec.checks.causes import listed
from homespec.checks.promise_budget import LIMITS
from homespec.checks.promises import Tree
from homespec.diagnostics import Finding, Label, Span
from homespec.diff.breaks import Breaks
from homespec.diff.pair import Pair, change
from homespec.graph.identity import Renames
from homespec.lower import Lowered
from homespec.resolve.layers import Path


class Promise(NamedTuple):
    """A promise of a spec in words, and its place."""

    words: str
    path: Path


class Side:
    """The promises of one spec under the new names."""

    def __init__(self, lowered: Lowered, renames: Renames) -> None:
        expect, place = lowered.spec.expect, renames.place
        self.document = lowered.document
        self.isolated: dict[frozenset[str], Path] = {
            frozenset((place(a), place(b))): ("expect", "isolated", index)
            for index, names in enumerate(expect.isolated)
            for a, b in combinations(names, 2)
        }
        self.reads: dict[str, tuple[set[str], Path]] = {
            place(name): (set(map(place, nodes)), ("expect", "reads", name))
            for name, nodes in expect.reads.items()
        }
        self.excepted = {place(name) for name in expect.except_through}
        self.budget = {name: limit for name, limit in expect.budget if limit}

    @property
    def has_ways(self) -> bool:
        """Whether it promises anything about paths through the graph."""
        return bool(self.isolated or self.reads)

    def at(self, path: Path) -> Span:
        """The place of a promise, or the nearest mapping that lacks it, or the spec's first key."""
        if not self.document.has(path[:1]):
            return self.document.span((), key=True)
        return self.document.span(path)


@change("HS693", "promise-weakened", Breaks.PROMISE)
def promise_weakened(pair: Pair) -> Iterator[Finding]:
    """A promise under `expect` that was removed or weakened.

    Groups no longer need to be isolated, a task may read more, or a budget is greater. The model
    may be the same, but `homespec validate` guarantees less from now on. Promises about nodes that
    the new spec does not have are not counted. With `--fail-on promise`, only a new major `version`
    may weaken a promise.
    """
    old, new = _sides(pair)
    for promise in _lost(old, new, Tree(pair.new)):
        label = Label(old.at(promise.path), "was promised here")
        yield Finding(
            new.at(_section(promise)), f"no longer promised: {promise.words}", "", (label,)
        )


@change("HS694", "promise-added", Breaks.COSMETIC)
def promise_added(pair: Pair) -> Iterator[Finding]:
    """A promise under `expect` that was added or strengthened.

    The model already keeps it; otherwise the spec would have an error.
    """
    old, new = _sides(pair)
    for promise in _lost(new, old, Tree(pair.new)):
        label = Label(old.at(_section(promise)), "not promised here")
        yield Finding(new.at(promise.path), f"newly promised: {promise.words}", "", (label,))


def _section(promise: Promise) -> Path:
    """Where a promise would be in the other spec, in which list entries have other positions."""
    return promise.path[:2] if promise.path[1] == "isolated" else promise.path


def _sides(pair: Pair) -> tuple[Side, Side]:
    return Side(pair.old, pair.renames), Side(pair.new, Renames())


def _lost(before: Side, after: Side, tree: Tree) -> Iterator[Promise]:
    """The promises of one side that the other does not make, about nodes of a tree."""
    for two, path in before.isolated.items():
        a, b = sorted(two)
        if a in tree and b in tree and not _is_isolated(a, b, after, tree):
            yield Promise(f"`{a}` and `{b}` are isolated", path)
    for name, (nodes, path) in before.reads.items():
        if name in tree:
            yield from _lost_reads(name, nodes, path, after, tree)
    if before.has_ways and after.has_ways and (more := after.excepted - before.excepted):
        words = f"nothing passes through {listed(sorted(more))}"
        yield Promise(words, ("expect", "except_through"))
    for name, limit in before.budget.items():
        if after.budget.get(name, limit + 1) > limit:
            yield Promise(f"at most {limit:,} {LIMITS[name]}", ("expect", "budget", name))


def _is_isolated(a: str, b: str, side: Side, tree: Tree) -> bool:
    """Whether two nodes, or groups that contain them, are promised to be isolated."""
    return any(frozenset((x, y)) in side.isolated for x in tree.above(a) for y in tree.above(b))


def _lost_reads(
    name: str, nodes: set[str], path: Path, after: Side, tree: Tree
) -> Iterator[Promise]:
    if name not in after.reads:
        yield Promise(f"`{name}` reads {_only(nodes)}", path)
    elif more := {node for node in after.reads[name][0] - nodes if node in tree}:
        yield Promise(f"`{name}` does not read {listed(sorted(more))}", path)


def _only(nodes: set[str]) -> str:
    others = f", its own and those of {listed(sorted(nodes))}" if nodes else " and its own"
    return f"no experts but shared ones{others}"
