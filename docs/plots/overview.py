"""Draws `overview.svg`, the README's picture: spec, checked tree and PyTorch side by side.

All of it comes from the compiler. Run it in the project's root: `python docs/plots/overview.py`.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.sax.saxutils import escape

import homespec
from homespec.api import LoadedSpec
from homespec.atomic_write import write_texts

OUT = Path(__file__).with_name("overview.svg")
SPEC = """\
homespec: 1
name: shorts
features:
  user_id: {id: {buckets: 1000}, dim: 16}
  video_id: {id: {buckets: 1000}, dim: 16}
groups:
  watch: [click, finish]
  interaction: [like, follow]
tasks:
  click:  {rate: 0.45}
  finish: {label: play_ms >= duration_ms}
  like:   {rate: 0.02}
  follow: {rate: 0.005}
"""
CARD, HEIGHT, GAP, LINE = 336, 318, 28, 17
WIDTH = 3 * CARD + 2 * GAP + 4
STYLE = """\
text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #1f2328 }
.title { font-weight: 600; fill: #59636e }
.card { fill: #f6f8fa; stroke: #d1d9e0 }
.key { fill: #0550ae } .word { fill: #cf222e } .dim { fill: #59636e }
.node { fill: #ffffff; stroke: #8c959f } .shared { fill: #8250df } .group { fill: #0969da }
.task { fill: #1a7f37 } .way { fill: none; stroke: #8c959f; stroke-width: 1.4 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .title, .dim { fill: #9198a1 } .card { fill: #151b23; stroke: #3d444d }
  .key { fill: #79c0ff } .word { fill: #ff7b72 } .node { fill: #0d1117; stroke: #656c76 }
  .shared { fill: #ab7df8 } .group { fill: #4493f8 } .task { fill: #3fb950 }
}
"""


def drawing() -> str:
    """The text of the picture."""
    spec = homespec.loads(SPEC)
    cards = (
        ("1. you declare", _yaml(SPEC)),
        ("2. homespec checks", _tree(spec)),
        ("3. you get PyTorch, batched", _python(homespec.compile(spec))),
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT + 4}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT + 4}" role="img">',
        "<title>A YAML spec, the tree of experts that it means, and the generated PyTorch</title>",
        f"<style>{STYLE}</style>",
    ]
    for number, (title, inside) in enumerate(cards):
        x = 2 + number * (CARD + GAP)
        parts += [
            f'<g transform="translate({x} 2)"><rect class="card" width="{CARD}" '
            f'height="{HEIGHT}" rx="8"/>',
            f'<text class="title" x="16" y="26">{title}</text>{inside}</g>',
        ]
        if number:
            y = HEIGHT / 2
            parts.append(f'<path class="way" d="M{x - GAP + 6} {y}h{GAP - 14}m-6-5 6 5-6 5"/>')
    return "\n".join([*parts, "</svg>", ""])


def _lines(lines: list[str], pattern: str) -> str:
    """Lines of code; words that a pattern's group names are in the style of that name."""
    texts = []
    for number, line in enumerate(lines):
        at, spans = 0, []
        for match in re.finditer(pattern, line):
            spans.append(escape(line[at : match.start()]))
            spans.append(f'<tspan class="{match.lastgroup}">{escape(match.group())}</tspan>')
            at = match.end()
        y = 52 + number * LINE
        content = "".join(spans) + escape(line[at:])
        texts.append(f'<text x="16" y="{y}" xml:space="preserve">{content}</text>')
    return "".join(texts)


def _yaml(text: str) -> str:
    return _lines(text.splitlines(), r"(?P<key>\b\w+(?=:))")


def _python(source: str) -> str:
    """The head of the last layer's `forward`, as it is in the file."""
    layer = source[source.index("class TaskLayer") :]
    body = layer[layer.index("    def forward") :].splitlines()
    end = next(number for number, line in enumerate(body) if number and not line.strip())
    shown = [line.removeprefix("    ") for line in body[:end]]
    short = [line if len(line) < 43 else line[:41] + "…" for line in shown]
    return _lines(short, r"(?P<word>\b(?:def|return)\b)|(?P<key>\bself\b)")


def _tree(spec: LoadedSpec) -> str:
    """The tree of the last layer: each node with a square for each of its experts."""
    layer = spec.analysis.layers[-1]
    counts = {name: plan.experts.count for name, plan in layer.sets.items()}
    groups = spec.groups
    tasks = [task for group in groups.values() for task in group.members]
    xs = {task: 48 + number * 80 for number, task in enumerate(tasks)}
    place = {task: (x, 208) for task, x in xs.items()}
    for name, group in groups.items():
        place[name] = (round(sum(xs[task] for task in group.members) / len(group.members)), 134)
    place["shared"] = (round(sum(xs.values()) / len(xs)), 62)
    ways = [("shared", group) for group in groups]
    ways += [(name, task) for name, group in groups.items() for task in group.members]
    lines = [
        f'<path class="way" d="M{place[up][0]} {place[up][1] + 17}L{place[to][0]} '
        f'{place[to][1] - 17}"/>'
        for up, to in ways
    ]
    nodes = [_node(name, *place[name], counts.get(name, 0), spec) for name in place]
    plans = [plan for each in spec.analysis.layers for plan in each.sets.values()]
    total = sum(plan.experts.count for plan in plans)
    notes = (
        f"{len(tasks)} tasks, {total} experts in {len(spec.analysis.layers)} layers.",
        "Every parameter gets a gradient,",
        "every width fits, and a group's gates see",
        "its own experts and shared ones alone.",
    )
    texts = [
        f'<text class="dim" x="16" y="{252 + 16 * number}">{note}</text>'
        for number, note in enumerate(notes)
    ]
    return "".join([*lines, *nodes, *texts])


def _node(name: str, x: int, y: int, experts: int, spec: LoadedSpec) -> str:
    kind = "task" if name in spec.tasks else "group" if name in spec.groups else "shared"
    width = max(70, 8 * len(name) + 6)
    squares = "".join(
        f'<rect class="{kind}" x="{x - 7 * experts + 14 * i + 1}" y="{y + 3}" width="11" '
        'height="9" rx="2"/>'
        for i in range(experts)
    )
    return (
        f'<rect class="node" x="{x - width // 2}" y="{y - 17}" width="{width}" height="34" rx="6"/>'
        f'<text x="{x}" y="{y - 3}" text-anchor="middle">{name}</text>{squares}'
    )


if __name__ == "__main__":
    for path in write_texts({OUT: drawing()}):
        print(f"wrote {path.relative_to(Path.cwd())}")
