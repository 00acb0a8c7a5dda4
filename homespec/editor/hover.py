"""Editor: documentation of the key, name or rule at the cursor, as markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from homespec.analysis.costs import Cost
from homespec.analysis.summary import LayerSummary, SetRow, StateRow, Summary, summarise
from homespec.catalogue import find_rule
from homespec.editor.cursor import Path, cursor_at
from homespec.editor.mentions import Mention, mention_at
from homespec.lower import Lowered
from homespec.schema.jsonschema import properties_at
from homespec.source import Document

IGNORED = re.compile(r"# *homespec: *ignore(?:-file)?\[([^\]\n]*)\]")


def hover(document: Document, offset: int, lowered: Lowered | None) -> str:
    """Markdown about the part at `offset` of a file's own document; empty if nothing is known.

    `lowered` is the spec when it was last sound.
    """
    if rule := _rule_at(document.text, offset):
        return rule
    mention = mention_at(document, offset)
    about = _about_name(mention, summarise(lowered)) if mention and lowered else ""
    cursor = cursor_at(document.root, offset)
    key = _about_key(cursor.path) if cursor.on_key and not about else ""
    return about or key


def _rule_at(text: str, offset: int) -> str:
    """The documentation of a rule that a comment ignores."""
    start = text.rfind("\n", 0, offset) + 1
    for comment in IGNORED.finditer(text, start, text.find("\n", offset) % (len(text) + 1)):
        for word in re.finditer(r"[^\s,]+", comment[1]):
            at = comment.start(1) + word.start()
            rule = find_rule(word.group())
            if rule and at <= offset <= at + len(word.group()):
                return f"**{rule.code} {rule.name}** ({rule.severity})\n\n{rule.doc}"
    return ""


def _about_key(path: Path) -> str:
    """The documentation of a key of the language."""
    key = path[-1]
    schema = properties_at(path[:-1]).get(key) if isinstance(key, str) else None
    if schema is None:
        return ""
    lines = [f"**{key}**", "", str(schema.get("description", ""))]
    if schema.get("default") not in (None, []):
        lines += ["", f"Default: `{json.dumps(schema['default'])}`"]
    if words := schema.get("enum"):
        lines += ["", " · ".join(f"`{word}`" for word in words)]
    return "\n".join(lines)


# ------------------------------------------------------------------ names


def _about_name(mention: Mention, summary: Summary) -> str:
    """The card of a feature, task or group: its kind, its width, its cost and its inputs."""
    name = mention.name
    for kind in mention.place.kinds:
        lines = list(_feature(name, summary) if kind == "feature" else _node(name, kind, summary))
        if lines:
            return "\n".join([f"**{name}** ({kind})", "", *(f"* {line}" for line in lines)])
    return ""


def _feature(name: str, summary: Summary) -> Iterator[str]:
    for row in summary.features:
        if row.name == name:
            rows = f", a table of {row.rows:,} rows" if row.rows else ""
            yield f"{row.kind}{rows}, {row.width} wide of the {summary.width} of v"
            yield f"column `{row.column}`"
            yield _cost(row.cost)


def _node(name: str, kind: str, summary: Summary) -> Iterator[str]:
    if kind == "task":
        yield from _task(name, summary)
    elif members := _members(name, summary.tree):
        yield f"members: {', '.join(members)}"
    for layer in summary.layers:
        yield from _layer(name, layer)


def _task(name: str, summary: Summary) -> Iterator[str]:
    for tower in (row for row in summary.towers if row.task == name):
        where = f", rows where `{tower.where}`" if tower.where else ""
        rate = f", rate {tower.rate:g}" if tower.rate else ""
        yield f"{tower.kind} label `{tower.label}`{where}{rate}"
        yield f"tower {_arrow(tower.widths)}: {_cost(tower.cost)}"
    for product in (row for row in summary.products if row.task == name):
        yield f"the product of {' × '.join(product.factors)}, label `{product.label}`"


def _layer(name: str, layer: LayerSummary) -> Iterator[str]:
    yield from (_set(layer.name, row) for row in layer.sets if row.node == name)
    yield from (_state(layer.name, row) for row in layer.states if row.node == name)


def _set(layer: str, row: SetRow) -> str:
    experts = "1 expert" if row.count == 1 else f"{row.count} experts"
    gate = f" through {row.feature_gate.loras} LoRAs" if row.feature_gate else ""
    return f"layer {layer}: {experts} {_arrow(row.widths)}, reading {row.reads}{gate}: " + _cost(
        row.cost
    )


def _state(layer: str, row: StateRow) -> str:
    mixed = ", ".join(f"{count} of {node}" for node, count in row.mixes.items())
    reads = f"; its gate reads {', '.join(row.gate_reads)}" if row.gate_reads else ""
    return f"layer {layer}: state of width {row.width}, mixing experts: {mixed}{reads}"


def _members(name: str, tree: dict[str, object]) -> list[str]:
    for member, below in tree.items():
        if isinstance(below, dict):
            if member == name:
                return list(below)
            if found := _members(name, below):
                return found
    return []


def _cost(cost: Cost) -> str:
    return f"{cost.parameters:,} parameters, {cost.flops:,} FLOPs a sample"


def _arrow(widths: tuple[int, ...]) -> str:
    return "→".join(map(str, widths))
