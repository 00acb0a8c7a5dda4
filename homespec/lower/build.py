"""Stage 3, lower: a sound spec and its layers become the graph of the model."""

from __future__ import annotations

from dataclasses import dataclass, field

from homespec.diagnostics import Span
from homespec.graph import (
    INPUT,
    ExpertSet,
    Feature,
    FeatureGate,
    Gate,
    Graph,
    Input,
    Mix,
    Objective,
    Port,
    SelfGate,
    Tower,
)
from homespec.lower.layers import Layer, SetPlan
from homespec.lower.tree import Role, TreeNode
from homespec.schema.models import Spec, overlay
from homespec.schema.models import Tower as TowerConfig
from homespec.source import Document


def build_graph(spec: Spec, root: TreeNode, layers: list[Layer], document: Document) -> Graph:
    """The graph of a spec with sound names and layers; widths may still disagree."""
    graph = Graph(spec.name, document.span(()))
    width = _add_input(graph, spec, document)
    states = {root.name: State(Port(INPUT), width)}
    for layer in layers:
        states = LayerBuilder(graph, document, layer, states).build()
    for task in root.of(Role.TASK):
        _add_tower(graph, spec, document, task.name, states[task.name])
    return graph


@dataclass(frozen=True, slots=True)
class State:
    """A representation R_k of a tree node: its value and width."""

    port: Port
    width: int


@dataclass(slots=True)
class LayerBuilder:
    """Adds one layer to the graph. `states` are the representations R_{k-1} by tree node."""

    graph: Graph
    document: Document
    layer: Layer
    states: dict[str, State]
    fed: dict[str, State] = field(default_factory=dict)
    """What each set reads: its state, feature-gated where such gates are on."""

    def build(self) -> dict[str, State]:
        """Add gates, sets and mixtures; return the layer's own states R_k."""
        for plan in self.layer.sets.values():
            self._add_set(plan)
        if self.layer.gates.self.enabled and self.layer.gates.self.sets == "all":
            outputs = {node.name for node in self.layer.outputs}
            for name, plan in self.layer.sets.items():
                if name not in outputs:
                    self._add_self_gate(plan)
        return {node.name: self._add_mixture(node) for node in self.layer.outputs}

    def _name(self, kind: str, place: str) -> str:
        return f"{kind}.{self.layer.name}.{place}"

    def _state_of(self, node: TreeNode) -> State:
        """R_{k-1} at the nearest ancestor-or-self that has one."""
        return next(self.states[n.name] for n in node.path if n.name in self.states)

    def _add_set(self, plan: SetPlan) -> None:
        source = self._state_of(plan.node)
        self.fed[plan.node.name] = fed = self._add_feature_gate(plan, source)
        experts = plan.experts
        self.graph.add(
            ExpertSet(
                name=self._name("experts", plan.node.name),
                reads=(fed.port,),
                span=self.document.span(plan.path),
                layer=self.layer.name,
                place=plan.node.name,
                count=experts.count,
                widths=(fed.width, *experts.hidden, experts.width),
                norm=experts.norm,
                activation=experts.activation,
                hidden_activation=experts.hidden_activation,
                eps=experts.norm_eps,
                momentum=experts.norm_momentum,
            )
        )

    def _add_feature_gate(self, plan: SetPlan, source: State) -> State:
        gate = self.layer.gates.feature
        if not gate.enabled:
            return source
        whole = max(1, source.width // gate.loras)
        port = self.graph.add(
            FeatureGate(
                name=self._name("feature_gates", plan.node.name),
                reads=(source.port,),
                span=self._gate_span("feature"),
                layer=self.layer.name,
                place=plan.node.name,
                width=source.width,
                loras=gate.loras,
                rank=whole if gate.rank == "width/loras" else gate.rank,
                mix=gate.mix,
            )
        )
        return State(port, source.width)

    def _add_self_gate(self, plan: SetPlan) -> Port:
        gate = self.layer.gates.self
        place = plan.node.name
        source = self.fed[place] if gate.input == "gated" else self._state_of(plan.node)
        return self.graph.add(
            SelfGate(
                name=self._name("self_gates", place),
                reads=(source.port,),
                span=self._gate_span("self"),
                layer=self.layer.name,
                place=place,
                widths=(source.width, *gate.hidden, plan.experts.count),
                hidden_activation=gate.hidden_activation,
            )
        )

    def _add_gate(self, node: TreeNode, visible: list[SetPlan]) -> Port:
        gate = self.layer.gates.mixture
        choices = sum(plan.experts.count for plan in visible)
        sources = self._gate_input(node) if choices > 1 else []
        hidden = gate.hidden if choices > 1 else ()
        return self.graph.add(
            Gate(
                name=self._name("gates", node.name),
                reads=tuple(source.port for source in sources),
                span=self._gate_span("mixture"),
                layer=self.layer.name,
                place=node.name,
                widths=(sum(source.width for source in sources), *hidden, choices),
                hidden_activation=gate.hidden_activation,
            )
        )

    def _gate_input(self, node: TreeNode) -> list[State]:
        """The distinct states along the node's path, nearest first; gated copies by option."""
        gate = self.layer.gates.mixture
        found: dict[Port, State] = {}
        for step in node.path:
            state = self._state_of(step)
            copy = self.fed.get(step.name, state) if gate.gated else state
            if state.port not in found or (gate.gated and found[state.port] == state):
                found[state.port] = copy
        sources = list(found.values())
        return sources[:1] if gate.input == "own" else sources

    def _add_mixture(self, node: TreeNode) -> State:
        visible = self.layer.visible(node)
        gate = self._add_gate(node, visible)
        residuals = self._residuals(node, visible)
        width = visible[0].experts.width
        port = self.graph.add(
            Mix(
                name=self._name("states", node.name),
                reads=(
                    gate,
                    *(Port(self._name("experts", plan.node.name)) for plan in visible),
                    *residuals.values(),
                ),
                span=self.document.span(self.layer.path),
                layer=self.layer.name,
                place=node.name,
                width=width,
                counts=tuple(plan.experts.count for plan in visible),
                residual_positions=tuple(residuals),
            )
        )
        return State(port, width)

    def _residuals(self, node: TreeNode, visible: list[SetPlan]) -> dict[int, Port]:
        """Self gates by position of their set: the node's own, and by option the non-outputs'."""
        gate = self.layer.gates.self
        if not gate.enabled:
            return {}
        outputs = {output.name for output in self.layer.outputs}
        found: dict[int, Port] = {}
        for position, plan in enumerate(visible):
            place = plan.node.name
            if place == node.name:
                found[position] = self._add_self_gate(plan)
            elif gate.sets == "all" and place not in outputs:
                found[position] = Port(self._name("self_gates", place))
        return found

    def _gate_span(self, kind: str) -> Span:
        """The most specific place in the spec that speaks of this kind of gate."""
        own = (*self.layer.gates_path, kind)
        return self.document.span(own if self.document.has(own) else ("gates", kind))


def _add_input(graph: Graph, spec: Spec, document: Document) -> int:
    ports = []
    for name, feature in spec.features.items():
        ports.append(
            graph.add(
                Feature(
                    name=f"features.{name}",
                    span=document.span(("features", name)),
                    source=feature.kind,
                    column=feature.column,
                    width=feature.width,
                    rows=feature.rows,
                    hashed=feature.kind == "id" and "buckets" in feature.id.model_fields_set,
                    boundaries=feature.bucketize,
                )
            )
        )
    width = sum(feature.width for feature in spec.features.values())
    span = document.span(("features",))
    graph.add(Input(name=INPUT, reads=tuple(ports), span=span, width=width))
    return width


def _add_tower(graph: Graph, spec: Spec, document: Document, name: str, state: State) -> None:
    task = spec.tasks[name]
    tower = overlay(spec.towers, task.tower, to=TowerConfig)
    span = document.span(("tasks", name))
    port = graph.add(
        Tower(
            name=f"towers.{name}",
            reads=(state.port,),
            span=span,
            task=name,
            widths=(state.width, *tower.hidden, 1),
            activation=tower.activation,
            rate=task.rate,
        )
    )
    graph.add(
        Objective(
            name=f"objectives.{name}",
            reads=(port,),
            span=span,
            task=name,
            label=task.label,
            weight=task.weight,
        )
    )
