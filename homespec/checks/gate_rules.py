"""HS417: options of gates without inputs."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.diagnostics import Finding, Severity, rule
from homespec.lower import Lowered

READERS = {"hidden": "[]", "gated": "false"}
"""Options of gates that have no effect without inputs, and how to switch them off."""


@rule("HS417", "static-gate-option", Severity.WARNING)
def static_gate_option(lowered: Lowered) -> Iterator[Finding]:
    """An option of a gate that reads nothing has no effect.

    With `input: none` the weights of a gate are parameters, the same in all rows. There is nothing
    for a hidden layer to work on, and there are no states whose gated copies the gate could read.
    Remove the option, or let the gate read something.
    """
    reported = set()
    for layer in lowered.layers:
        for kind in ("mixture", "self"):
            gate = getattr(layer.gates, kind)
            sections = [(*path, kind) for path in layer.gate_sections]
            given = [key for key in READERS if getattr(gate, key, None)]
            for key in given if gate.input == "none" else ():
                span = lowered.span_giving(sections, key)
                if span and span not in reported:
                    reported.add(span)
                    yield Finding(
                        span,
                        f"`{kind}.{key}` has no effect: the {kind} gates of layer `{layer.name}` "
                        "read nothing",
                        label="input: none",
                        help=f"use `{key}: {READERS[key]}` there, or another `input`",
                    )
