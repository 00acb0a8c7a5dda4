"""Draws `hierarchy.svg`: which experts of the last layer the gate of one task can mix.

The spec is that of the tutorial's third page, and the compiler answers. Run it in the project's
root: `python docs/tutorial/hierarchy.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

import homespec
from homespec.atomic_write import write_texts
from homespec.resolve.tree import TreeNode

HERE = Path(__file__).parent
OUT = HERE / "hierarchy.svg"
GATE = "like"
STEP, DOWN, BOX, MARGIN = 108, 92, (92, 44), 24
STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328; text-anchor: middle }
.way { stroke: #8c959f; stroke-width: 1.4 } .box { fill: #ffffff; stroke: #8c959f }
.square { fill: none; stroke: #8c959f } .dim { fill: #59636e }
.in .box { stroke: #8250df; stroke-width: 2 } .in .square { fill: #8250df; stroke: #8250df }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .box { fill: #151b23 } .dim { fill: #9198a1 }
  .in .box { stroke: #ab7df8 } .in .square { fill: #ab7df8; stroke: #ab7df8 }
}
"""


def drawing() -> str:
    """The text of the picture."""
    page = (HERE / "3-tasks.md").read_text("utf-8")
    spec = re.search(r"^```yaml\n(# specs/feed\.yaml\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert spec
    analysis = homespec.loads(spec[1]).analysis
    assert analysis.root
    nodes = {node.name: node for node in analysis.root.walk()}
    layer = analysis.layers[-1]
    seen = {plan.node.name for plan in layer.visible(nodes[GATE])}
    counts = {name: plan.experts.count for name, plan in layer.sets.items()}
    at = _places(analysis.root)
    width = max(x for x, _ in at.values()) + BOX[0] / 2 + MARGIN
    height = max(y for _, y in at.values()) + BOX[1] / 2 + 44
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img">',
        f"<title>The gate of {GATE} mixes the experts of {', '.join(sorted(seen))}</title>",
        f"<style>{STYLE}</style>",
        *(_way(at[node.parent.name], at[node.name]) for node in nodes.values() if node.parent),
        *(_node(name, at[name], counts.get(name, 0), name in seen) for name in nodes),
        f'<text class="dim" x="{width / 2:g}" y="{height - 14:g}">'
        f"filled: experts that the gate of {GATE} can mix</text>",
        "</svg>",
        "",
    ])  # fmt: skip


def _places(root: TreeNode) -> dict[str, tuple[float, float]]:
    """Where each node is: tasks side by side, every other node above the middle of its children."""
    found: dict[str, tuple[float, float]] = {}
    leaves = 0
    for node in reversed(list(root.walk())):  # children before their parents
        if node.children:
            x = sum(found[child.name][0] for child in node.children) / len(node.children)
        else:
            leaves += 1
            x = -leaves * STEP
        found[node.name] = (x, MARGIN + BOX[1] / 2 + DOWN * node.depth)
    right = MARGIN + BOX[0] / 2 + leaves * STEP
    return {name: (x + right, y) for name, (x, y) in found.items()}


def _way(up: tuple[float, float], to: tuple[float, float]) -> str:
    half = BOX[1] / 2
    return (
        f'<path class="way" d="M{up[0]:g} {up[1] + half:g}L{to[0]:g} {to[1] - half:g}" '
        'fill="none"/>'
    )


def _node(name: str, at: tuple[float, float], experts: int, seen: bool) -> str:
    """A node with a square for each of its experts."""
    (x, y), (width, height) = at, BOX
    squares = "".join(
        f'<rect class="square" x="{x + 18 * (i - experts / 2) + 2:g}" y="{y + 3:g}" width="14" '
        'height="11" rx="2"/>'
        for i in range(experts)
    )
    return (
        f'<g class="{"in" if seen else "out"}"><rect class="box" x="{x - width / 2:g}" '
        f'y="{y - height / 2:g}" width="{width}" height="{height}" rx="7"/>'
        f'<text x="{x:g}" y="{y - 5:g}">{name}</text>{squares}</g>'
    )


if __name__ == "__main__":
    for path in write_texts({OUT: drawing()}):
        print(f"wrote {path.relative_to(Path.cwd())}")
