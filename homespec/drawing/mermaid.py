"""The graph as a mermaid flowchart, which GitHub and GitLab show in Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.drawing.boxes import Box, picture
from homespec.graph import Graph

SHAPES = {
    "input": ('(["', '"])'),
    "experts": ('["', '"]'),
    "state": ('("', '")'),
    "product": ("((", "))"),
    "tower": ('[/"', '"\\]'),
}


def as_mermaid(graph: Graph) -> str:
    """A flowchart from the features to the towers, with a subgraph for each layer."""
    drawn = picture(graph)
    lines = ["flowchart BT"]
    for layer, boxes in drawn.layers.items():
        below = [_box(box) for box in boxes]
        if layer:
            lines.append(f'  subgraph layer_{layer}["layer {layer}"]')
            lines += [f"    {line}" for line in below]
            lines.append("  end")
        else:
            lines += [f"  {line}" for line in below]
    for arrow in drawn.arrows:
        link = "-.->" if arrow.weak else "-->"
        lines.append(f"  {_id(arrow.start)} {link} {_id(arrow.end)}")
    lines += _styles(drawn.boxes)
    return "\n".join(lines) + "\n"


def _box(box: Box) -> str:
    left, right = SHAPES[box.kind]
    return f"{_id(box.name)}{left}{'<br/>'.join(box.lines)}{right}"


def _id(name: str) -> str:
    """Names for mermaid, which allows no dots: `states.meta.watch.0` -> `states_meta_0_watch`.

    Names of nodes begin with a letter, so no other name becomes `0_watch`.
    """
    start, _, index = name.rpartition(".")
    if index.isdigit():
        head, _, place = start.rpartition(".")
        name = f"{head}.{index}.{place}"
    return name.replace(".", "_")


def _styles(boxes: tuple[Box, ...]) -> Iterator[str]:
    yield "  classDef experts fill:#dbeafe,stroke:#1d4ed8,color:#111"
    yield "  classDef state fill:#fef3c7,stroke:#b45309,color:#111"
    for kind in ("experts", "state"):
        yield f"  class {','.join(_id(box.name) for box in boxes if box.kind == kind)} {kind}"
