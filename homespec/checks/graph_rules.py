"""HS302 to HS306: mistakes that the graph shows before any tensor exists."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.checks.causes import and_others, by_cause, sections_of
from homespec.checks.tower_rules import towers_by_giving
from homespec.diagnostics import Finding, Label, Severity, Span, rule
from homespec.graph import Graph
from homespec.graph.nodes import ExpertSet, FeatureGate, Gate, Mix, Node, Objective, Tower
from homespec.lower import Lowered
from homespec.schema.identifiers import ROOT


@rule("HS302", "width-mismatch")
def width_mismatch(lowered: Lowered) -> Iterator[Finding]:
    """One gate mixes experts of different widths.

    A gate's output is a weighted sum of expert outputs, which must have one width D (HOME.md
    section 9). Widths may differ between layers. Within one layer, the root's gate usually sees all
    sets.
    """
    for mix in lowered.graph.of(Mix):
        sets = [lowered.graph[port.node] for port in mix.sets]
        first, others = sets[0], sets[1:]
        assert isinstance(first, ExpertSet)
        for other in others:
            assert isinstance(other, ExpertSet)
            if other.width != first.width:
                yield Finding(
                    _width_span(lowered, other),
                    f"the gate of `{mix.place}` in layer `{mix.layer}` mixes experts of widths "
                    f"{first.width} (`{first.place}`) and {other.width} (`{other.place}`)",
                    label=f"width {other.width}",
                    related=(Label(_width_span(lowered, first), f"width {first.width}"),),
                    help=f"give both the same `width`, for example {first.width}",
                )


def _width_span(lowered: Lowered, experts: ExpertSet) -> Span:
    """The place that sets the width of a set's experts."""
    return lowered.span_giving(sections_of(lowered, experts), "width") or experts.span


def _has_weights(node: Node) -> bool:
    if isinstance(node, Gate):
        return node.has_weights
    return isinstance(node, ExpertSet | FeatureGate | Tower)


@rule("HS303", "dead-parameters")
def dead_parameters(lowered: Lowered) -> Iterator[Finding]:
    """Parameters that no loss reaches.

    A task of weight 0 contributes nothing to the loss, so the parts that serve only this task never
    get a gradient: its tower, its gates, its own experts, and the experts of its group if the group
    has no other task. A state that nothing reads is dead in the same way. An example is the shared
    state of a layer, if the next layer has no shared experts and its gates read only their own
    state. Public libraries ship models in which a sixth of all weights is dead in ways like these.
    """
    graph = lowered.graph
    objectives = graph.of(Objective)
    alive = graph.ancestors([o.name for o in objectives if o.weight > 0])
    named: set[str] = set()
    for objective in objectives:
        if objective.weight == 0:
            names = graph.ancestors([objective.name], alive)
            named |= names
            if not any(_has_weights(graph[name]) for name in names):
                continue  # another task's loss trains it, as a product trains its factors
            yield Finding(
                objective.span,
                f"task `{objective.task}` has weight 0, so no loss reaches "
                f"{_listed([n.name for n in graph if n.name in names and _has_weights(n)])}",
                label="weight 0",
                help="give it a positive weight, or remove the task from the spec",
            )
    yield from _unread_states(graph, alive | named)


def _unread_states(graph: Graph, known: set[str]) -> Iterator[Finding]:
    """States that no later layer reads, by layer, with the nodes that are dead because of them."""
    layers: dict[str, list[Mix]] = {}
    for mix in graph.of(Mix):
        if mix.name not in known and not graph.readers(mix.name):
            layers.setdefault(mix.layer, []).append(mix)
    for layer, unread in layers.items():
        names = graph.ancestors([mix.name for mix in unread], known)
        dead = [n.name for n in graph if n.name in names and _has_weights(n)]
        places, one = _listed([mix.place for mix in unread]), len(unread) == 1
        yield Finding(
            unread[0].span,
            f"nothing reads the {'state' if one else 'states'} of {places} that layer `{layer}` "
            f"makes, so no loss reaches {_listed(dead)}",
            label=f"makes {'a state that is' if one else 'states that are'} never read",
            help=f"give {places if one else 'them'} experts in the next layer, or let the gates "
            "there read the whole path (`gates.mixture.input: path`)",
        )


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:4])
    return shown + (f" and {len(names) - 4} more" if len(names) > 4 else "")


@rule("HS306", "unread-experts")
def unread_experts(lowered: Lowered) -> Iterator[Finding]:
    """An expert set that no gate reads.

    A gate reads the sets on one root-to-leaf path with its node. If no output of the layer is on a
    path with a node, the experts of that node are never mixed into anything, and no loss reaches
    them.
    """
    graph = lowered.graph
    for experts in graph.of(ExpertSet):
        if not graph.readers(experts.name):
            outputs = [mix.place for mix in graph.of(Mix) if mix.layer == experts.layer]
            yield Finding(
                experts.span,
                f"no gate reads the experts of `{experts.place}` in layer `{experts.layer}`",
                label=f"on no path with an output ({_listed(outputs)})",
                help=f"remove them, or put `{experts.place}`, or a node above or below it, among "
                "the layer's `outputs`",
            )


@rule("HS304", "constant-norm")
def constant_norm(lowered: Lowered) -> Iterator[Finding]:
    """Layer norm over a single channel.

    Normalising one number by its own mean and deviation gives 0 for every input. The expert, or the
    hidden layer of a tower, is constant, and its weights get no gradient.
    """
    for experts in lowered.graph.of(ExpertSet):
        if experts.norm == "layer" and experts.width == 1:
            yield Finding(
                experts.span,
                f"experts of `{experts.place}` in layer `{experts.layer}` have layer norm over one "
                "channel, which is constantly 0",
                label="width 1, norm layer",
                help="use `norm: batch`, or a greater `width`",
            )
    for path, towers in towers_by_giving(lowered, "norm").items():
        constant = [t for t in towers if t.norm == "layer" and 1 in t.widths[1:-1]]
        if constant:
            yield Finding(
                lowered.span(path),
                f"layer norm in the tower of `{constant[0].task}`"
                f"{and_others(len(constant), 'tower')} is over one channel, which is constantly 0",
                label="hidden width 1, norm layer",
                help="use `norm: batch`, or greater widths in `hidden`",
            )


@rule("HS305", "one-choice", Severity.WARNING)
def one_choice(lowered: Lowered) -> Iterator[Finding]:
    """A gate over a single expert.

    A softmax over one choice is always 1. There is nothing to learn, so homespec gives such a gate
    no weights. Usually there should be another expert. If all tasks share one bottom, the root's
    single expert is intended and not reported.
    """
    single = [gate for gate in lowered.graph.of(Gate) if gate.choices == 1 and gate.place != ROOT]
    for span, gates in by_cause(single, lambda gate: _only(gate, lowered.graph).span).items():
        gate = gates[0]
        yield Finding(
            span,
            f"the gate of `{gate.place}` in layer `{gate.layer}`{and_others(len(gates), 'gate')} "
            "can read only one expert",
            label=f"the only expert of `{gate.place}`'s gate",
            help="add experts here or at an ancestor if the gate should choose",
        )


def _only(gate: Gate, graph: Graph) -> Node:
    """The set with the only expert that a gate can read."""
    (mix,) = graph.readers(gate.name)
    assert isinstance(mix, Mix)
    return graph[mix.sets[0].node]
