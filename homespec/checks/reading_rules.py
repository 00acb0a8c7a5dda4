"""HS318 and HS319: features without a reader, and parts that are read but never trained."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.checks.causes import listed
from homespec.diagnostics import Finding, rule
from homespec.graph import Graph
from homespec.graph.feature_nodes import Feature, Reading
from homespec.graph.inputs import inputs_of
from homespec.graph.nodes import ExpertSet, Mix, Objective
from homespec.lower import Lowered
from homespec.resolve.tree import TreeNode
from homespec.schema.identifiers import ROOT


@rule("HS318", "unread-feature")
def unread_feature(lowered: Lowered) -> Iterator[Finding]:
    """No expert and no gate reads a feature at its node of the task tree.

    Features are read in the first layer, by the experts and gates at or below their node. In HoME's
    first layer, tasks have neither: only the root and groups do. A table at the root is not read
    either if all experts and gates have a nearer table of the same feature.
    """
    graph = lowered.graph
    if not graph.of(Reading):
        return
    alive = graph.ancestors([objective.name for objective in graph.of(Objective)])
    for name, tables in inputs_of(graph).items():
        dead = [table.place for table in tables if table.name not in alive]
        if dead:
            several = len(tables) > 1
            what = (
                f"the table of `{name}` at {listed(dead)}"
                if several
                else f"`{name}`, at {listed(dead)}"
            )
            yield Finding(
                lowered.first_span((("features", name, "at"), ("features", name))),
                f"nothing reads {what}",
                label=_why(lowered, dead),
                help=_remedy(lowered, dead),
            )


def _first_nodes(lowered: Lowered) -> list[TreeNode]:
    """The nodes with experts or a state in the first layer, in the order of the tree."""
    layer = lowered.layers[0]
    own = {*layer.sets, *(node.name for node in layer.outputs)}
    return [node for node in lowered.root.walk() if node.name in own]


def _why(lowered: Lowered, dead: list[str]) -> str:
    readers = {step.name for node in _first_nodes(lowered) for step in node.path}
    if any(name in readers for name in dead):
        return "all experts and gates below have a nearer table"
    return f"no experts or gates there in layer `{lowered.layers[0].name}`"


def _remedy(lowered: Lowered, dead: list[str]) -> str:
    nodes = [node.name for node in _first_nodes(lowered)]
    away = f"leave {listed(dead)} out of `at`"
    if all(name == ROOT for name in dead):
        return away
    return f"{away}, or use nodes that the first layer has: {listed(nodes, 6)}"


@rule("HS319", "untrained-experts")
def untrained_experts(lowered: Lowered) -> Iterator[Finding]:
    """Experts or tables that gates mix only without gradients.

    With `sees: forward`, a gate sends gradients to the sets on its path alone. The loss of a task
    is therefore the only one that trains the task's own experts and tables. With a weight of 0 they
    stay what they were at the start, and the other tasks mix noise.
    """
    graph = lowered.graph
    goals = [objective.name for objective in graph.of(Objective) if objective.weight > 0]
    alive, trained = graph.ancestors(goals), _trained(graph, goals)
    sets = [s for s in graph.of(ExpertSet) if s.name in alive - trained]
    tables = [f for f in graph.of(Feature) if f.rows and f.name in alive - trained]
    if not sets:
        return
    places = list(dict.fromkeys(experts.place for experts in sets))
    more = f" and the tables of {listed(sorted({t.short for t in tables}))} there" if tables else ""
    tasks = [name for name in places if name in lowered.spec.tasks]
    yield Finding(
        lowered.first_span([("tasks", *tasks[:1]), ("layers",)]),
        f"no loss trains the experts of {listed(places)}{more}: other gates mix them by "
        "`sees: forward`, without gradients",
        label="sends no gradient",
        help="give the task a positive weight, or remove its experts",
    )


def _trained(graph: Graph, goals: list[str]) -> set[str]:
    """The nodes that gradients of the goals reach."""
    found: set[str] = set()
    waiting = list(goals)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            node = graph[name]
            foreign = {node.sets[at] for at in node.foreign} if isinstance(node, Mix) else set()
            waiting += [port.node for port in node.reads if port not in foreign]
    return found
