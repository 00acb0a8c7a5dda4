"""HS316: options for hidden layers of towers without any."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.diagnostics import Finding, Severity, rule
from homespec.graph.nodes import Tower
from homespec.lower import Lowered
from homespec.resolve.layers import Path

KEYS = ("norm", "dropout")
"""Options that only affect hidden layers and are off by default."""


@rule("HS316", "no-hidden-layer", Severity.WARNING)
def no_hidden_layer(lowered: Lowered) -> Iterator[Finding]:
    """A norm or dropout of towers that have no hidden layer.

    `norm` and `dropout` act on the hidden layers of towers. Their last layer is bare, since it
    computes the logit, and with `hidden: []` a tower is that layer alone: the key changes nothing.
    """
    for key in KEYS:
        for path, towers in towers_by_giving(lowered, key).items():
            if all(len(tower.widths) == 2 for tower in towers):
                whose = "the towers have" if len(path) == 2 else f"the tower of `{path[1]}` has"
                yield Finding(
                    lowered.span(path),
                    f"`{key}` changes nothing: {whose} no hidden layer",
                    label="acts on hidden layers",
                    help="remove it, or give hidden layers, such as `hidden: [64]`",
                )


def towers_by_giving(lowered: Lowered, key: str) -> dict[Path, list[Tower]]:
    """The towers for which a key is on, by the place in the spec that sets it."""
    spec = lowered.spec
    found: dict[Path, list[Tower]] = {}
    for tower in lowered.graph.of(Tower):
        own: Path = ("tasks", tower.task, "tower", key)
        is_own = lowered.has(own)
        section = spec.tasks[tower.task].tower if is_own else spec.towers
        if (is_own or lowered.has(("towers", key))) and getattr(section, key) not in ("none", 0):
            found.setdefault(own if is_own else ("towers", key), []).append(tower)
    return found
