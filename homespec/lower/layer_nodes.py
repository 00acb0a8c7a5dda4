"""Stage 4, lower: the nodes of one layer: expert sets, gates of all kinds, mixtures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypedDict

from homespec.diagnostics import Span
from homespec.graph import Graph
from homespec.graph.nodes import Activation, ExpertSet, FeatureGate, Gate, Mix, Port, SelfGate
from homespec.lower.feature_nodes import add_reading
from homespec.lower.initial import starts
from homespec.lower.readings import reading
from homespec.lower.states import State
from homespec.resolve import Resolved
from homespec.resolve.layers import Layer, SetPlan
from homespec.resolve.tree import Role, TreeNode
from homespec.schema.models import ExpertSet as ExpertStyle
from homespec.schema.models import Mixture
from homespec.schema.models import SelfGate as SelfGateConfig


class Logits(TypedDict):
    """The fields of a gate that say how it makes its logits."""

    reads: tuple[Port, ...]
    widths: tuple[int, ...]
    hidden_activation: Activation
    starts: tuple[Activation, ...]


@dataclass(slots=True)
class LayerBuilder:
    """Adds one layer to the graph. `states` are the representations R_{k-1} by tree node.

    `v` are those of the features, R_0. `several` says which nodes have several values, and how
    many; `depth` is the level of the tasks.
    """

    graph: Graph
    resolved: Resolved
    layer: Layer
    states: dict[str, State]
    v: dict[str, State]
    several: dict[str, int]
    depth: int
    fed: dict[str, State] = field(default_factory=dict)
    """What each set reads: its state, feature-gated where such gates are on."""
    self_gates: dict[str, Port] = field(default_factory=dict)
    """The self gates by the node of their set."""
    outputs: set[str] = field(default_factory=set)
    """The nodes that have a state in the layer."""

    def build(self) -> dict[str, State]:
        """Add gates, sets and mixtures; return the layer's own states R_k."""
        self.outputs = {node.name for node in self.layer.outputs}
        for plan in self.layer.sets.values():
            self._add_set(plan)
        if self.layer.gates.self.enabled and self.layer.gates.self.sets == "all":
            for name, plan in self.layer.sets.items():
                if name not in self.outputs:
                    self._add_self_gate(plan)
        return {node.name: self._add_states(node) for node in self.layer.outputs}

    def _placed(self, kind: str, node: TreeNode, place: str = "") -> dict[str, Any]:
        """What all nodes at a tree node have: name, layer, place, level and parent."""
        place = place or node.name
        return {
            "name": f"{kind}.{self.layer.name}.{place}",
            "layer": self.layer.name,
            "place": place,
            "level": self.depth if node.role is Role.TASK else node.depth,
            "parent": _parent(node),
        }

    def _state_of(self, node: TreeNode) -> State:
        """R_{k-1} at the nearest ancestor-or-self that has one."""
        return next(self.states[n.name] for n in node.path if n.name in self.states)

    def _add_set(self, plan: SetPlan) -> None:
        source = self._state_of(plan.node)
        self.fed[plan.node.name] = fed = self._add_feature_gates(plan, source)
        experts = plan.experts
        self.graph.add(
            ExpertSet(
                **self._placed("experts", plan.node),
                reads=fed.ports,
                span=self.resolved.first_span(plan.sections),
                count=experts.count,
                widths=(fed.width, *experts.hidden, experts.width),
                norm=experts.norm,
                activation=experts.activation,
                hidden_activation=experts.hidden_activation,
                eps=experts.norm_eps,
                momentum=experts.norm_momentum,
                dropout=experts.dropout,
                starts=self._starts(experts),
            )
        )

    def _starts(self, experts: ExpertStyle) -> tuple[Activation, ...]:
        if experts.norm != "none":
            return ()
        hidden = len(experts.hidden)
        spec = self.resolved.spec
        return starts(spec, hidden, experts.hidden_activation, experts.activation)

    def _add_feature_gates(self, plan: SetPlan, source: State) -> State:
        """One gate before the set; where its experts read a state each, one before each."""
        if not self.layer.gates.feature.enabled:
            return source
        each = plan.experts.inputs == "each"
        places = _places(plan.node.name, len(source.ports) if each else 0)
        ports = [
            self._add_feature_gate(plan.node, place, State((port,), source.width))
            for place, port in zip(places, source.ports, strict=True)
        ]
        return State(tuple(ports), source.width)

    def _add_feature_gate(self, node: TreeNode, place: str, x: State) -> Port:
        gate, width, span = self.layer.gates.feature, x.width, self._gate_span("feature")
        v = self._v_of(node)
        read = reading(self.graph, gate, lambda word: self._named(node, word, x), v, span)
        whole = max(1, width // gate.loras)
        return self.graph.add(
            FeatureGate(
                **self._placed("feature_gates", node, place),
                reads=(*x.ports, *(() if read == [x] else _ports(read))),
                span=span,
                width=width,
                read_width=sum(state.total for state in read),
                activation=gate.activation,
                loras=gate.loras,
                rank=whole if gate.rank == "width/loras" else gate.rank,
                mix=gate.mix,
            )
        )

    def _add_self_gate(self, plan: SetPlan) -> None:
        gate = self.layer.gates.self
        place = plan.node.name
        sources = self._self_gate_input(plan.node)
        self.self_gates[place] = self.graph.add(
            SelfGate(
                **self._placed("self_gates", plan.node),
                span=self._gate_span("self"),
                **self._mlp(gate, sources, plan.experts.count),
            )
        )

    def _mlp(self, gate: Mixture | SelfGateConfig, read: list[State], choices: int) -> Logits:
        """What a gate reads and the layers between that and its logits; none without a reading."""
        hidden = gate.hidden if read else ()
        return Logits(
            reads=_ports(read),
            widths=(sum(state.total for state in read), *hidden, choices),
            hidden_activation=gate.hidden_activation,
            starts=starts(self.resolved.spec, len(hidden), gate.hidden_activation),
        )

    def _self_gate_input(self, node: TreeNode) -> list[State]:
        """The state that the node's set reads, or the feature-gated copy of it, or others."""
        gate = self.layer.gates.self

        def states(word: str) -> list[State]:
            if word == "gated":
                return [self.fed[node.name]]
            return self._named(node, word, self._state_of(node))

        return reading(self.graph, gate, states, self._v_of(node), self._gate_span("self"))

    def _named(self, node: TreeNode, word: str, own: State) -> list[State]:
        """The states that a word means to a gate at a node."""
        if word == "v":
            return [self._v_of(node)]
        if word != "path":
            return [own]
        states = self._path_states(node)
        return [self._features_of(node, states)] if self.states is self.v else states

    def _add_gate(self, node: TreeNode, place: str, visible: list[SetPlan]) -> Port:
        gate = self.layer.gates.mixture
        choices = sum(plan.experts.count for plan in visible)
        sources = self._gate_input(node) if choices > 1 else []
        return self.graph.add(
            Gate(
                **self._placed("gates", node, place),
                span=self._gate_span("mixture"),
                **self._mlp(gate, sources, choices),
            )
        )

    def _gate_input(self, node: TreeNode) -> list[State]:
        """What the mixture gate of a node reads; gated copies of states by option."""
        gate = self.layer.gates.mixture

        def states(word: str) -> list[State]:
            if word == "v" and self.states is not self.v:
                return [self._v_of(node)]
            nearest_first = self._path_states(node, gate.gated)
            if word == "path" and self.states is self.v and not gate.gated:
                return [self._features_of(node, nearest_first)]
            return nearest_first if word == "path" else nearest_first[:1]

        return reading(self.graph, gate, states, self._v_of(node), self._gate_span("mixture"))

    def _v_of(self, node: TreeNode) -> State:
        """The features that a node may read: those of the nearest node that has any of its own."""
        return next(self.v[step.name] for step in node.path if step.name in self.v)

    def _path_states(self, node: TreeNode, gated: bool = False) -> list[State]:
        """The distinct states along the node's path, nearest first, or their gated copies."""
        sources: dict[State, State] = {}
        for step in node.path:
            if not any(n.name in self.states for n in step.path):
                break  # a free topology may leave the root without a state
            state = self._state_of(step)
            copy = self.fed.get(step.name, state) if gated else state
            if state not in sources or (gated and sources[state] == state):
                sources[state] = copy
        return list(sources.values())

    def _features_of(self, node: TreeNode, values: list[State]) -> State:
        """The features that a node and those above it read, each table once."""
        nearest = self.graph[values[0].ports[0].node].reads
        reads = [port for v in values for port in self.graph[v.ports[0].node].reads]
        ports = tuple(dict.fromkeys(reads))
        if ports == nearest:
            return values[0]
        place = f"{node.name}.path"
        if f"readings.{place}" in self.graph:
            known = Port(f"readings.{place}")
            return State((known,), self.graph.width_of(known))
        span = self.resolved.span(("features",))
        return add_reading(self.graph, node, self.depth, ports, span, place=place)

    def _add_states(self, node: TreeNode) -> State:
        """The node's state, or one for each expert that reads its own."""
        places = _places(node.name, self.several.get(node.name, 0))
        ports = tuple(self._add_mixture(node, place) for place in places)
        return State(ports, self.layer.visible(node)[0].experts.width)

    def _add_mixture(self, node: TreeNode, place: str) -> Port:
        visible = self.layer.visible(node)
        gate = self._add_gate(node, place, visible)
        residuals = self._residuals(node, visible)
        sets = [Port(f"experts.{self.layer.name}.{plan.node.name}") for plan in visible]
        return self.graph.add(
            Mix(
                **self._placed("states", node, place),
                reads=(gate, *sets, *residuals.values()),
                span=self.resolved.first_span(self.layer.sections),
                width=visible[0].experts.width,
                counts=tuple(plan.experts.count for plan in visible),
                residual_positions=tuple(residuals),
                foreign=tuple(map(visible.index, self.layer.foreign(node))),
            )
        )

    def _residuals(self, node: TreeNode, visible: list[SetPlan]) -> dict[int, Port]:
        """Self gates by position of their set: the node's own, and by option the non-outputs'."""
        gate = self.layer.gates.self
        if not gate.enabled:
            return {}
        residuals: dict[int, Port] = {}
        for position, plan in enumerate(visible):
            place = plan.node.name
            if place == node.name and place not in self.self_gates:
                self._add_self_gate(plan)
            if place == node.name or (gate.sets == "all" and place not in self.outputs):
                residuals[position] = self.self_gates[place]
        return residuals

    def _gate_span(self, kind: str) -> Span:
        """The most specific place in the spec that configures this kind of gate."""
        sections = tuple((*path, kind) for path in self.layer.gate_sections)
        return self.resolved.first_span((*sections, ("family",)))


def _ports(read: list[State]) -> tuple[Port, ...]:
    """The values side by side."""
    return tuple(port for state in read for port in state.ports)


def _parent(node: TreeNode) -> str:
    return node.parent.name if node.parent else ""


def _places(node: str, several: int) -> list[str]:
    """The node, or `node.0`, `node.1`, … where it has several values."""
    return [f"{node}.{index}" for index in range(several)] if several else [node]
