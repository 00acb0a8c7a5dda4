"""HS243, HS244, HS248, HS317, HS416: what the gates of a spec read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from homespec.checks.causes import did_you_mean, listed
from homespec.checks.place_rules import why_one_place
from homespec.diagnostics import Finding, Label, Severity, Span, rule
from homespec.diagnostics.suggest import listing
from homespec.graph.feature_nodes import Detached
from homespec.graph.nodes import ExpertSet, FeatureGate, Gate, Objective, Tower
from homespec.lower import Lowered
from homespec.resolve import Resolved
from homespec.resolve.layers import Layer, Path
from homespec.resolve.places import nearest, placed
from homespec.resolve.tree import TreeNode
from homespec.schema.gates import SOURCES, Reading, entries_of
from homespec.schema.gates import FeatureGate as FeatureGateConfig


class Given(NamedTuple):
    """The gates of a kind in one layer, and the places in the spec that may configure them."""

    kind: str
    gate: Reading
    layer: Layer
    sections: tuple[Path, ...]

    @property
    def nodes(self) -> list[TreeNode]:
        """The nodes that have such gates."""
        if self.kind == "mixture":
            return list(self.layer.outputs)
        return [plan.node for plan in self.layer.sets.values()]

    def path(self, resolved: Resolved, key: str) -> Path | None:
        """The place that gives a key."""
        paths = ((*section, key) for section in self.sections)
        return next((path for path in paths if resolved.has(path)), None)


def _given(resolved: Resolved) -> Iterator[Given]:
    """The gates that are on, by layer and kind."""
    for layer in resolved.layers:
        for kind in ("mixture", "feature", "self"):
            gate: Reading = getattr(layer.gates, kind)
            if getattr(gate, "enabled", True):
                sections = tuple((*path, kind) for path in layer.gate_sections)
                yield Given(kind, gate, layer, sections)


def _lists(resolved: Resolved, key: str) -> Iterator[tuple[Given, Path, tuple[str, ...]]]:
    """The lists that a key of gates gives, each once."""
    seen = set()
    for given in _given(resolved):
        value, path = getattr(given.gate, key), given.path(resolved, key)
        if isinstance(value, tuple) and path and path not in seen:
            seen.add(path)
            yield given, path, value


def _out_of_reach(resolved: Resolved) -> Iterator[tuple[Span, str, TreeNode]]:
    """Features that a gate lists, but that are on no path with its node; the first such node."""
    seen = set()
    for given in _given(resolved):
        path = given.path(resolved, "input")
        for index, entry in enumerate(entries_of(given.gate)):
            feature = resolved.spec.features.get(entry)
            if feature is None or not path or (path, index) in seen:
                continue
            places = placed(feature, resolved.root)
            lost = [node for node in given.nodes if not nearest(node, places)]
            if lost:
                seen.add((path, index))
                yield resolved.span((*path, index)), entry, lost[0]


def _remedy_of_place(resolved: Resolved, name: str, node: TreeNode) -> str:
    """How a gate at `node` can read a feature that belongs to other nodes."""
    if why_one_place(resolved.spec.features[name]) or node is resolved.root:
        return f"leave `at` of `{name}` away, which puts it at the root, or leave out `{name}` here"
    return f"add `{node.name}`, or a node above it, to `at` of `{name}`, or leave it out"


@rule("HS243", "unknown-gate-input")
def unknown_gate_input(resolved: Resolved) -> Iterator[Finding]:
    """A gate reads something that is neither a feature nor a state.

    A list under `input:` takes names of features, and the words `own`, `path` and `v` for states.
    A gate reads columns of v, so it can read every feature, a sequence as its encoder summarises
    it, but not the fields of events. A feature with `at:` can be read at its nodes and below.
    `detach:` takes entries of the gate's own `input`.
    """
    features = list(resolved.spec.features)
    for given, path, entries in _lists(resolved, "input"):
        for span, entry, remedy in _unknown(resolved, path, entries, [*features, *SOURCES]):
            yield Finding(
                span, f"the {given.kind} gate reads `{entry}`, but no feature has this name",
                label="unknown", help=remedy,
            )  # fmt: skip
    for span, entry, node in _out_of_reach(resolved):
        yield Finding(
            span, f"the gate of `{node.name}` reads `{entry}`, which is not on its path",
            label="belongs to other nodes",
            related=(Label(resolved.span(("features", entry, "at")), "is here"),),
            help=_remedy_of_place(resolved, entry, node),
        )  # fmt: skip
    for given, path, entries in _lists(resolved, "detach"):
        for span, entry, remedy in _unknown(resolved, path, entries, [*entries_of(given.gate)]):
            yield Finding(
                span, f"`detach` names `{entry}`, which the {given.kind} gate does not read",
                label="not in `input`", help=remedy,
            )  # fmt: skip


def _unknown(
    resolved: Resolved, path: Path, entries: tuple[str, ...], known: list[str]
) -> Iterator[tuple[Span, str, str]]:
    """The entries that are not among those known, with their places and remedies."""
    for index, entry in enumerate(entries):
        if entry not in known:
            remedy = did_you_mean(entry, known, f"choices are {listing(known)}")
            yield resolved.span((*path, index)), entry, remedy


@rule("HS244", "repeated-gate-input")
def repeated_gate_input(resolved: Resolved) -> Iterator[Finding]:
    """A gate reads something twice, or a name could mean two things.

    The columns of v that a feature has are read once. `v` contains all features, so no feature can
    be listed beside it. A feature that is called `own`, `path` or `v` cannot be listed, since the
    word means a state there.
    """
    for key in ("input", "detach"):
        for _, path, entries in _lists(resolved, key):
            for entry, times in Counter(entries).items():
                index = len(entries) - 1 - entries[::-1].index(entry)
                span = resolved.span((*path, index))
                if times > 1:
                    yield Finding(
                        span, f"`{key}` lists `{entry}` twice", label="again",
                        help="remove one of them",
                    )  # fmt: skip
                elif entry in SOURCES and entry in resolved.spec.features:
                    yield Finding(
                        span, f"`{entry}` is a feature, and a word for a state", label="which one?",
                        help="rename the feature",
                    )  # fmt: skip
                elif key == "input" and "v" in entries and entry not in SOURCES:
                    yield Finding(
                        span, f"`{entry}` is a part of `v`, which the gate also reads",
                        label="read twice", help="remove one of them",
                    )  # fmt: skip


@rule("HS248", "several-gate-mlps")
def several_gate_mlps(resolved: Resolved) -> Iterator[Finding]:
    """A feature gate with an activation is a mixture of several.

    With `activation: relu` a feature gate is one MLP, as in PEPNet. There is no mixture of them,
    and so no router: `loras` is 1, and `rank` is the width of the hidden layer.
    """
    seen: set[Span] = set()
    for given in _given(resolved):
        gate = given.gate
        if isinstance(gate, FeatureGateConfig) and gate.activation != "none" and gate.loras > 1:
            path = given.path(resolved, "loras") or given.path(resolved, "activation")
            span = resolved.span(path or ("family",))
            if span not in seen:
                seen.add(span)
                default = "" if path and path[-1] == "loras" else ", HoME's default"
                yield Finding(
                    span,
                    f"a feature gate with an activation is one MLP, not {gate.loras}",
                    label=f"loras {gate.loras}{default}",
                    help="add `loras: 1`, or remove `activation`",
                )


@rule("HS317", "detached-parameters")
def detached_parameters(lowered: Lowered) -> Iterator[Finding]:
    """Parameters that losses reach only through gates that send them no gradient.

    `detach` keeps the gradient of a gate out of what the gate reads. If nothing else reads a state,
    the experts and gates that make it are never trained: they keep their initial weights.
    """
    graph = lowered.graph
    goals = [o.name for o in graph.of(Objective) if o.weight > 0]
    trained = graph.ancestors(goals, detached=False)
    dead = graph.ancestors(goals) - trained
    kinds = ExpertSet | FeatureGate | Gate | Tower
    names = [n.name for n in graph if n.name in dead and isinstance(n, kinds)]
    if names:
        cut = next(n for n in graph.of(Detached) if n.reads[0].node in dead)
        yield Finding(
            cut.span,
            f"no gradient reaches {listed(names, 4)}: only gates with `detach` read what "
            f"{'it makes' if len(names) == 1 else 'they make'}",
            label="sends no gradient",
            help="remove `detach` here, or let something else read the state",
        )


@rule("HS416", "all-features-listed", Severity.WARNING)
def all_features_listed(lowered: Lowered) -> Iterator[Finding]:
    """A gate lists all features.

    That is v. With `v` the gate also reads features that are added later, and the columns need not
    be put together.
    """
    features = set(lowered.spec.features)
    for given, path, entries in _lists(lowered, "input"):
        if features <= {*entries} and not isinstance(given.gate.detach, tuple):
            others = [entry for entry in entries if entry in SOURCES]
            meant = "v" if not others else f"[{', '.join(['v', *others])}]"
            yield Finding(
                lowered.span(path),
                f"the {given.kind} gate lists all {len(features)} features",
                label="this is v",
                help=f"write `input: {meant}`",
            )
