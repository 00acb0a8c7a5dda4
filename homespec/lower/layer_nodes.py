"""Stage 3, lower: a sound spec and its layers become the graph of the model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from homespec.diagnostics import Span
from homespec.graph import Graph
from homespec.graph.nodes import (
    INPUT,
    ExpertSet,
    Feature,
    FeatureGate,
    Gate,
    Input,
    Mix,
    Objective,
    Port,
    Product,
    SelfGate,
    Tower,
)
from homespec.lower.sequence_nodes import add_sequence
from homespec.resolve.layers import Layer, SetPlan, span_of, states_each
from homespec.resolve.tree import Role, TreeNode, nesting
from homespec.schema.models import Feature as FeatureConfig
from homespec.schema.models import Spec, overlay
from homespec.schema.models import Tower as TowerConfig
from homespec.source import Document


def build_graph(spec: Spec, root: TreeNode, layers: list[Layer], document: Document) -> Graph:
    """The graph of a spec with sound names and layers; widths may still disagree."""
    graph = Graph(spec.name, document.span(()))
    width = _add_input(graph, spec, document)
    v = State((Port(INPUT),), width)
    states = {root.name: v}
    depth = nesting(root) + 1
    for layer, several in zip(layers, states_each(layers), strict=True):
        states = LayerBuilder(graph, document, layer, states, v, several, depth).build()
    for task in root.of(Role.TASK):
        state = next(states[node.name] for node in task.path if node.name in states)
        _add_tower(graph, spec, document, task.name, state)
    _add_products(graph, spec, document)
    return graph


@dataclass(frozen=True, slots=True)
class State:
    """The representation R_k of a tree node, each value of it of this width.

    It is several values where the experts of the next layer read one each.
    """

    ports: tuple[Port, ...]
    width: int

    @property
    def total(self) -> int:
        """Width of the values' concatenation."""
        return self.width * len(self.ports)


@dataclass(slots=True)
class LayerBuilder:
    """Adds one layer to the graph. `states` are the representations R_{k-1} by tree node.

    `v` is R_0, `several` says for which nodes to put out several values, and how many; `depth` is
    the level of the tasks.
    """

    graph: Graph
    document: Document
    layer: Layer
    states: dict[str, State]
    v: State
    several: dict[str, int]
    depth: int
    fed: dict[str, State] = field(default_factory=dict)
    """What each set reads: its state, feature-gated where such gates are on."""
    self_gates: dict[str, Port] = field(default_factory=dict)
    """The self gates by the node of their set."""
    outputs: set[str] = field(default_factory=set)
    """The nodes for which the layer puts out a state."""

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

    def _name(self, kind: str, place: str) -> str:
        return f"{kind}.{self.layer.name}.{place}"

    def _level(self, node: TreeNode) -> int:
        return self.depth if node.role is Role.TASK else node.depth

    def _state_of(self, node: TreeNode) -> State:
        """R_{k-1} at the nearest ancestor-or-self that has one."""
        return next(self.states[n.name] for n in node.path if n.name in self.states)

    def _add_set(self, plan: SetPlan) -> None:
        source = self._state_of(plan.node)
        self.fed[plan.node.name] = fed = self._add_feature_gates(plan, source)
        experts = plan.experts
        self.graph.add(
            ExpertSet(
                name=self._name("experts", plan.node.name),
                reads=fed.ports,
                span=span_of(self.document, plan.sections),
                layer=self.layer.name,
                place=plan.node.name,
                level=self._level(plan.node),
                count=experts.count,
                widths=(fed.width, *experts.hidden, experts.width),
                norm=experts.norm,
                activation=experts.activation,
                hidden_activation=experts.hidden_activation,
                eps=experts.norm_eps,
                momentum=experts.norm_momentum,
            )
        )

    def _add_feature_gates(self, plan: SetPlan, source: State) -> State:
        """One gate before the set; where its experts read a state each, one before each."""
        if not self.layer.gates.feature.enabled:
            return source
        each = plan.experts.inputs == "each"
        places = _places(plan.node.name, len(source.ports) if each else 0)
        ports = [
            self._add_feature_gate(plan.node, place, port, source.width)
            for place, port in zip(places, source.ports, strict=True)
        ]
        return State(tuple(ports), source.width)

    def _add_feature_gate(self, node: TreeNode, place: str, source: Port, width: int) -> Port:
        gate = self.layer.gates.feature
        whole = max(1, width // gate.loras)
        return self.graph.add(
            FeatureGate(
                name=self._name("feature_gates", place),
                reads=(source,),
                span=self._gate_span("feature"),
                layer=self.layer.name,
                place=place,
                level=self._level(node),
                width=width,
                loras=gate.loras,
                rank=whole if gate.rank == "width/loras" else gate.rank,
                mix=gate.mix,
            )
        )

    def _add_self_gate(self, plan: SetPlan) -> None:
        gate = self.layer.gates.self
        place = plan.node.name
        source = self.fed[place] if gate.input == "gated" else self._state_of(plan.node)
        self.self_gates[place] = self.graph.add(
            SelfGate(
                name=self._name("self_gates", place),
                reads=source.ports,
                span=self._gate_span("self"),
                layer=self.layer.name,
                place=place,
                level=self._level(plan.node),
                widths=(source.total, *gate.hidden, plan.experts.count),
                hidden_activation=gate.hidden_activation,
            )
        )

    def _add_gate(self, node: TreeNode, place: str, visible: list[SetPlan]) -> Port:
        gate = self.layer.gates.mixture
        choices = sum(plan.experts.count for plan in visible)
        sources = self._gate_input(node) if choices > 1 else []
        hidden = gate.hidden if choices > 1 else ()
        return self.graph.add(
            Gate(
                name=self._name("gates", place),
                reads=tuple(port for source in sources for port in source.ports),
                span=self._gate_span("mixture"),
                layer=self.layer.name,
                place=place,
                level=self._level(node),
                widths=(sum(source.total for source in sources), *hidden, choices),
                hidden_activation=gate.hidden_activation,
            )
        )

    def _gate_input(self, node: TreeNode) -> list[State]:
        """The distinct states along the node's path, nearest first; gated copies by option."""
        gate = self.layer.gates.mixture
        if gate.input == "v" and self.v not in self.states.values():
            return [self.v]
        found: dict[State, State] = {}
        for step in node.path:
            if not any(n.name in self.states for n in step.path):
                break  # a free topology may leave the root without a state
            state = self._state_of(step)
            copy = self.fed.get(step.name, state) if gate.gated else state
            if state not in found or (gate.gated and found[state] == state):
                found[state] = copy
        sources = list(found.values())
        return sources if gate.input == "path" else sources[:1]

    def _add_states(self, node: TreeNode) -> State:
        """The node's state, or one for each expert that reads its own."""
        places = _places(node.name, self.several.get(node.name, 0))
        ports = tuple(self._add_mixture(node, place) for place in places)
        return State(ports, self.layer.visible(node)[0].experts.width)

    def _add_mixture(self, node: TreeNode, place: str) -> Port:
        visible = self.layer.visible(node)
        gate = self._add_gate(node, place, visible)
        residuals = self._residuals(node, visible)
        return self.graph.add(
            Mix(
                name=self._name("states", place),
                reads=(
                    gate,
                    *(Port(self._name("experts", plan.node.name)) for plan in visible),
                    *residuals.values(),
                ),
                span=span_of(self.document, self.layer.sections),
                layer=self.layer.name,
                place=place,
                level=self._level(node),
                width=visible[0].experts.width,
                counts=tuple(plan.experts.count for plan in visible),
                residual_positions=tuple(residuals),
            )
        )

    def _residuals(self, node: TreeNode, visible: list[SetPlan]) -> dict[int, Port]:
        """Self gates by position of their set: the node's own, and by option the non-outputs'."""
        gate = self.layer.gates.self
        if not gate.enabled:
            return {}
        found: dict[int, Port] = {}
        for position, plan in enumerate(visible):
            place = plan.node.name
            if place == node.name and place not in self.self_gates:
                self._add_self_gate(plan)
            if place == node.name or (gate.sets == "all" and place not in self.outputs):
                found[position] = self.self_gates[place]
        return found

    def _gate_span(self, kind: str) -> Span:
        """The most specific place in the spec that speaks of this kind of gate."""
        sections = tuple((*path, kind) for path in self.layer.gate_sections)
        return span_of(self.document, (*sections, ("family",)))


def _places(node: str, several: int) -> list[str]:
    """The node, or `node.0`, `node.1`, … where it stands for several values."""
    return [f"{node}.{index}" for index in range(several)] if several else [node]


def _add_input(graph: Graph, spec: Spec, document: Document) -> int:
    width = 0
    for name, feature in _owners_first(spec):
        if feature.kind == "sequence":
            width += add_sequence(graph, spec, document, name).width
            continue
        node = _feature(graph, name, feature, document.span(("features", name)))
        width += node.width
        graph.add(node)
    span = document.span(("features",))
    ports = tuple(Port(f"features.{name}") for name in spec.features)
    graph.add(Input(name=INPUT, reads=ports, span=span, width=width))
    return width


def _owners_first(spec: Spec) -> list[tuple[str, FeatureConfig]]:
    """The features, those with a table before those that are looked up in it."""
    last = ("table", "sequence")
    return sorted(spec.features.items(), key=lambda item: item[1].kind in last)


def _feature(graph: Graph, name: str, feature: FeatureConfig, span: Span) -> Feature:
    full = f"features.{name}"
    if feature.kind == "table":
        owner = graph[f"features.{feature.table}"]
        assert isinstance(owner, Feature)
        return dataclasses.replace(
            owner, name=full, reads=(Port(owner.name),), span=span, column=feature.column,
            table=owner.name,
        )  # fmt: skip
    assert feature.kind != "sequence"
    return Feature(
        name=full,
        span=span,
        source=feature.kind,
        column=feature.column,
        width=feature.width,
        rows=feature.rows,
        hashed=feature.kind == "id" and bool(feature.id.buckets),
        boundaries=feature.boundaries,
        numbers=feature.dense,
        projected=feature.project > 0,
        learned=feature.missing == "learned",
        fitted=max(0, feature.quantiles - 1),
    )


def _add_tower(graph: Graph, spec: Spec, document: Document, name: str, state: State) -> None:
    task = spec.tasks[name]
    tower = overlay(spec.towers, task.tower, to=TowerConfig)
    span = document.span(("tasks", name))
    port = graph.add(
        Tower(
            name=f"towers.{name}",
            reads=state.ports,
            span=span,
            task=name,
            widths=(state.width, *tower.hidden, 1),
            activation=tower.activation,
            rate=task.rate,
        )
    )
    _add_objective(graph, spec, span, name, port)


def _add_products(graph: Graph, spec: Spec, document: Document) -> None:
    """Products of tasks, each behind those that are its factors."""
    products = {name: task.product for name, task in spec.tasks.items() if task.product}
    for name in TopologicalSorter(products).static_order():
        if name not in products:
            continue
        span = document.span(("tasks", name))
        kinds = (("products" if factor in products else "towers") for factor in products[name])
        reads = tuple(Port(f"{k}.{f}") for k, f in zip(kinds, products[name], strict=True))
        port = graph.add(
            Product(
                name=f"products.{name}", reads=reads, span=span, task=name, factors=products[name]
            )
        )
        _add_objective(graph, spec, span, name, port)


def _add_objective(graph: Graph, spec: Spec, span: Span, name: str, port: Port) -> None:
    task = spec.tasks[name]
    graph.add(
        Objective(
            name=f"objectives.{name}",
            reads=(port,),
            span=span,
            task=name,
            label=task.label,
            weight=task.weight,
            loss=task.loss if task.kind == "regression" else "binary",
            scale=task.scale,
            where=task.where,
        )
    )
