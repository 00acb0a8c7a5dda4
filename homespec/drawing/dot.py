"""The graph in Graphviz' language: `homespec graph x.yaml -f dot | dot -Tsvg > x.svg`."""

from __future__ import annotations

from homespec.drawing.boxes import Box, picture
from homespec.graph import Graph

STYLES = {
    "input": "shape=ellipse",
    "experts": 'shape=box, style=filled, fillcolor="#dbeafe"',
    "state": 'shape=box, style="rounded,filled", fillcolor="#fef3c7"',
    "tower": "shape=trapezium",
    "product": "shape=circle",
}


def as_dot(graph: Graph) -> str:
    """A digraph from the features to the towers, with a cluster for each layer."""
    drawn = picture(graph)
    lines = [f'digraph "{graph.name}" {{', "  rankdir=BT;", '  node [fontname="sans-serif"];']
    for layer, boxes in drawn.layers.items():
        if layer:
            lines += [f'  subgraph "cluster_{layer}" {{', f'    label="layer {layer}";']
            lines += [f"    {_box(box)}" for box in boxes]
            lines.append("  }")
        else:
            lines += [f"  {_box(box)}" for box in boxes]
    for arrow in drawn.arrows:
        style = " [style=dashed]" if arrow.weak else ""
        lines.append(f'  "{arrow.start}" -> "{arrow.end}"{style};')
    return "\n".join([*lines, "}"]) + "\n"


def _box(box: Box) -> str:
    label = "\\n".join(box.lines)
    return f'"{box.name}" [label="{label}", {STYLES[box.kind]}];'
