"""Stage 4, lower: the nodes of tasks: towers, products of tasks, objectives."""

from __future__ import annotations

from graphlib import TopologicalSorter

from homespec.diagnostics import Span
from homespec.graph import Graph
from homespec.graph.nodes import Objective, Port, Product, Tower
from homespec.lower.initial import starts
from homespec.lower.states import State
from homespec.resolve import Resolved
from homespec.schema.models import Tower as TowerConfig
from homespec.schema.models import overlay


def add_tower(graph: Graph, resolved: Resolved, name: str, state: State) -> None:
    """Add the tower of a task on its state, and its objective."""
    task = resolved.spec.tasks[name]
    tower = overlay(resolved.spec.towers, task.tower, to=TowerConfig)
    span = resolved.span(("tasks", name))
    has_norm = tower.norm != "none" and bool(tower.hidden)
    port = graph.add(
        Tower(
            name=f"towers.{name}",
            reads=state.ports,
            span=span,
            task=name,
            widths=(state.width, *tower.hidden, 1),
            activation=tower.activation,
            rate=task.rate,
            scale=task.scale,
            norm=tower.norm if has_norm else "none",
            eps=tower.norm_eps if has_norm else 0.0,
            dropout=tower.dropout if tower.hidden else 0.0,
            momentum=tower.norm_momentum if tower.norm == "batch" and has_norm else 0.0,
            starts=() if has_norm else starts(resolved.spec, len(tower.hidden), tower.activation),
        )
    )
    _add_objective(graph, resolved, span, name, port)


def add_products(graph: Graph, resolved: Resolved) -> None:
    """Add the products of tasks with their objectives, each after those that are its factors."""
    spec = resolved.spec
    products = {name: task.product for name, task in spec.tasks.items() if task.product}
    for name in TopologicalSorter(products).static_order():
        if name not in products:
            continue
        span = resolved.span(("tasks", name))
        kinds = (("products" if factor in products else "towers") for factor in products[name])
        reads = tuple(Port(f"{k}.{f}") for k, f in zip(kinds, products[name], strict=True))
        port = graph.add(
            Product(
                name=f"products.{name}", reads=reads, span=span, task=name, factors=products[name]
            )
        )
        _add_objective(graph, resolved, span, name, port)


def _add_objective(graph: Graph, resolved: Resolved, span: Span, name: str, port: Port) -> None:
    tasks = resolved.spec.tasks
    task = tasks[name]
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
            where_label=tasks[task.where].label if task.where else "",
            unknown=task.unknown,
            where_unknown=tasks[task.where].unknown if task.where else None,
            outside=task.outside_weight,
            sample_weight=task.sample_weight,
            pos_weight=task.pos_weight,
            focal=task.focal,
            within=task.within.column if task.within else "",
            within_weight=task.within.weight if task.within else 0.0,
        )
    )
