"""The playground: an untrained model, drawn as in the doctor's report.

Rows are the task tree, columns the layers. Every part leads to the line of the spec that made it.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from homespec.analysis.costs import Cost, cost_of
from homespec.analysis.summary import Summary
from homespec.doctor.report import model, svg
from homespec.doctor.report.layout import SQUARE, Layout
from homespec.graph.nodes import ExpertSet, Mix, Node, Product, SelfGate, Tower
from homespec.lower import Lowered


def drawing(lowered: Lowered, summary: Summary, file: str) -> list[str]:
    """Two drawings side by side: the names of the rows, and the parts of the model."""
    layout = Layout(lowered)
    shapes = [
        *model.heads(layout),
        *model.bands(layout),
        *(svg.link(start, end, 1, "feed") for start, end in layout.feeds()),
        *(_state(layout, node, file) for node in layout.states),
        *(_set(layout, node, summary, file) for node in layout.sets),
        *(_end(layout, node, file) for node in layout.ends),
    ]
    label = f"The model {summary.name}: {len(layout.sets)} sets of experts"
    parts = svg.drawing(layout.width, layout.height, label, shapes, "group")
    return [model.names(layout), parts]


def _part(node: Node, file: str, title: str, shapes: Iterator[str]) -> str:
    """The shapes of a part, which lead to its line if that is in the spec itself."""
    inner = f"<title>{escape(title)}</title>{''.join(shapes)}"
    if node.span.file == file:
        return svg.anchor(f"#line-{node.span.start.line}", title, [inner])
    return f'<g class="part">{inner}</g>'


def _state(layout: Layout, node: Mix, file: str) -> str:
    return _part(node, file, _mixes(layout, node), _gate(layout, node))


def _mixes(layout: Layout, node: Mix) -> str:
    sets = [layout.set_named[port.node] for port in node.sets]
    mixed = ", ".join(f"{each.count} of {each.place}" for each in sets)
    return f"{node.place} in layer {node.layer} mixes experts: {mixed}"


def _gate(layout: Layout, node: Mix) -> Iterator[str]:
    (x, y) = layout.state(node)
    for port in node.sets:
        yield svg.link(layout.set_ends(layout.set_named[port.node]), (x, y), 2, "link")
    if any(s.place == node.place and s.layer == node.layer for s in layout.graph.of(SelfGate)):
        yield svg.circle(x, y, 7.5, "ring")
    yield svg.circle(x, y, 4.5, "gate")


def _set(layout: Layout, node: ExpertSet, summary: Summary, file: str) -> str:
    layer = next(each for each in summary.layers if each.name == node.layer)
    row = next(each for each in layer.sets if each.node == node.place)
    experts = "1 expert" if node.count == 1 else f"{node.count} experts"
    widths = "→".join(map(str, node.widths))
    title = f"{node.place} in layer {node.layer}: {experts} {widths}, {_cost(row.cost)}"
    return _part(node, file, title, _squares(layout, node))


def _squares(layout: Layout, node: ExpertSet) -> Iterator[str]:
    kind = "task" if node.place in layout.lowered.spec.tasks else "group" if node.level else "root"
    if layout.has_feature_gate(node):
        x, y = layout.set_starts(node)
        yield model.diamond((x - 12, y))
    for x, y in layout.squares(node):
        yield svg.rect(x, y, model.BOX, model.BOX, f"expert {kind}")


def _end(layout: Layout, node: Tower | Product, file: str) -> str:
    if isinstance(node, Product):
        title = f"{node.task}: the product of {' and '.join(node.factors)}"
    else:
        title = f"the tower of {node.task}: {_cost(cost_of([node]))}"
    return _part(node, file, title, _flag(layout, node))


def _flag(layout: Layout, node: Tower | Product) -> Iterator[str]:
    x, y = layout.end(node)
    if isinstance(node, Tower):
        yield svg.shape([(x, y - 7), (x + 10, y - 4), (x + 10, y + 4), (x, y + 7)], "gate")
    else:
        yield svg.text(x + 4, y + 4, " × ".join(node.factors) + " =", "small", "end")
    yield svg.text(x + SQUARE, y + 4, node.task, "label")


def _cost(cost: Cost) -> str:
    return f"{cost.parameters:,} parameters, {cost.flops:,} FLOPs a sample"
