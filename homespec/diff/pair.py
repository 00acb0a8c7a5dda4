"""A pair of specs, and functions that the rules of changes share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, ParamSpec, TypeVar

from homespec.checks.causes import by_cause
from homespec.diagnostics import Diagnostic, Finding, Label, Severity, Span, rule
from homespec.diff.breaks import Breaks
from homespec.diff.likely_renames import Likely, likely_renames
from homespec.diff.was_line import was_line
from homespec.graph.identity import Key, Renames
from homespec.graph.nodes import Node
from homespec.lower import Lowered
from homespec.resolve.layers import Path

N = TypeVar("N", bound=Node)
P = ParamSpec("P")
Value = Callable[[Node], object]


BREAKS: dict[str, tuple[Breaks, ...]] = {}
"""What the changes of each rule break, by code, the most severe first."""


def change(
    code: str, name: str, *breaks: Breaks
) -> Callable[[Callable[P, Iterable[Finding]]], Callable[P, list[Diagnostic]]]:
    """Register a rule that finds one kind of change."""
    BREAKS[code] = breaks
    return rule(code, name, Severity.NOTE)


class Match(NamedTuple):
    """A node of the old graph and the same node of the new graph."""

    old: Node
    new: Node


@dataclass(frozen=True)
class Pair:
    """Two sound specs, and the names that changed between them."""

    old: Lowered
    new: Lowered
    renames: Renames = field(default_factory=Renames)

    @cached_property
    def before(self) -> dict[Key, Node]:
        """Nodes of the old graph by their identity."""
        return {self.renames.key(node): node for node in self.old.graph}

    @cached_property
    def after(self) -> dict[Key, Node]:
        """Nodes of the new graph by their identity."""
        return {Renames().key(node): node for node in self.new.graph}

    def nodes(self, kind: type[Node]) -> Iterator[Match]:
        """The nodes of one kind that both graphs have."""
        for key, node in self.after.items():
            if type(node) is kind and key in self.before:
                yield Match(self.before[key], node)

    def changed(self, kind: type[Node], value: Value) -> Iterator[list[Match]]:
        """Nodes that differ in a value, grouped by the difference and its cause."""
        matches = (m for m in self.nodes(kind) if value(m.old) != value(m.new))
        yield from self.by_cause(matches, lambda m: (repr(value(m.old)), repr(value(m.new))))

    def by_cause(
        self, matches: Iterable[Match], way: Callable[[Match], object]
    ) -> Iterable[list[Match]]:
        """Nodes grouped by the difference and the places in both specs that cause it."""
        return by_cause(matches, lambda m: (m.old.span, m.new.span, way(m))).values()

    def added(self, kind: type[Node]) -> list[Node]:
        """The nodes of one kind that only the new graph has."""
        return [n for key, n in self.after.items() if type(n) is kind and key not in self.before]

    def removed(self, kind: type[Node]) -> list[Node]:
        """The nodes of one kind that only the old graph has."""
        return [n for key, n in self.before.items() if type(n) is kind and key not in self.after]

    @cached_property
    def likely(self) -> Likely:
        """Probable renames that no `was` declares."""
        return likely_renames(self.old.spec, self.new.spec, self.renames)

    def rename_help(self, section: str, old: str) -> str:
        """Help for a removed entry that may have been renamed; names the new entry if it is clear.

        Empty if the section has no new entry.
        """
        kind = section.removesuffix("s")
        likely = self.likely.features if section == "features" else self.likely.places
        for rename in likely:
            if rename.old == old:
                line = was_line(self.new.document, (section, rename.new), old)
                return f"`{rename.new}` {rename.reason}: if it is the same {kind}, write {line}"
        names = self.renames.feature if section == "features" else self.renames.place
        before = {names(name) for name in getattr(self.old.spec, section)}
        if before >= getattr(self.new.spec, section).keys():
            return ""
        return f"if a new {kind} is the same one, write `was: {old}` in it"

    @cached_property
    def _paths(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """The path of each node of the task trees to the root, under the new names."""
        old = {node.name: [n.name for n in node.path] for node in self.old.root.walk()}
        place = self.renames.place
        now = {node.name: [n.name for n in node.path] for node in self.new.root.walk()}
        return {place(k): list(map(place, v)) for k, v in old.items()}, now

    def has_stayed(self, place: str) -> bool:
        """Whether a place is in the same groups as before, and the models have the same layers."""
        name = place.partition(".")[0]
        old, new = self._paths
        layers = [[layer.name for layer in side.layers] for side in (self.old, self.new)]
        return old.get(name) == new.get(name) and layers[0] == layers[1]

    def at(self, path: Path) -> Span:
        """A place in the new spec: the value, or the nearest mapping that lacks it."""
        return self.new.document.span(path)

    def was_at(self, path: Path) -> Span:
        """The same in the old spec."""
        return self.old.document.span(path)

    def finding(
        self,
        old: Path,
        new: Path,
        message: str,
        *,
        was: str = "",
        now: str = "",
        help: str = "",  # noqa: A002
    ) -> Finding:
        """A change of one value of the spec, with its places in both."""
        return Finding(self.at(new), message, now, (Label(self.was_at(old), was),), help)


def both(match: Match, message: str, was: object, now: object) -> Finding:
    """A change of a node, with the places that define it in both specs."""
    return Finding(match.new.span, message, f"now {now}", (Label(match.old.span, f"was {was}"),))


def moved(old: Iterable[str], new: Iterable[str]) -> str:
    """The first name whose order differs between both lists; "" if the order is the same."""
    old, new = list(old), list(new)
    in_both = [name for name in new if name in set(old)]
    before = [name for name in old if name in set(new)]
    return next((n for n, b in zip(in_both, before, strict=True) if n != b), "")


def inverse(renames: Mapping[str, str]) -> dict[str, str]:
    """Old names by new names."""
    return {new: old for old, new in renames.items()}
