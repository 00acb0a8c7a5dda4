"""Stage 5, checks: the rules HS2xx to HS4xx, and the order in which they run.

Rules run in rounds, most of them the rules of a file or two. A round in which a rule finds an error
is the last one, because later rules may rely on the absence of such errors. So all mistakes of one
round are reported at once, without their consequences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, TypeVar

from homespec.checks import (
    cross_rules,
    design_rules,
    event_rules,
    expert_rules,
    gate_input_rules,
    gate_rules,
    graph_rules,
    group_rules,
    label_rules,
    layer_rules,
    place_rules,
    promise_rules,
    reading_rules,
    rename_rules,
    session_rules,
    size_rules,
    table_file_rules,
    table_rules,
    topology_rules,
    tower_rules,
)
from homespec.diagnostics import Diagnostic, Severity
from homespec.diagnostics.registry import CHECKS
from homespec.lower import Lowered
from homespec.resolve import Resolved

S = TypeVar("S", bound=Resolved)
Check = Callable[[S], list[Diagnostic]]
OF_GRAPHS = (gate_input_rules.detached_parameters, gate_input_rules.all_features_listed)
"""Rules on what gates read that need the graph."""


def check_names(resolved: Resolved) -> list[Diagnostic]:
    """HS2xx, and the rules of HS3xx that must hold before a graph can be built."""
    clash, depth = group_rules.name_clash, group_rules.nested_too_deep
    mixed = (topology_rules.layers_and_family, topology_rules.fixed_layers)
    return _in_rounds(
        resolved,
        [clash],
        [
            *_rules(group_rules, clash, depth),
            _check_labels,
            _check_features,
            *_rules(rename_rules),
            promise_rules.unknown_promise,
        ],
        [depth],
        mixed,
        _rules(topology_rules, *mixed),
        [layer_rules.too_big],
        _rules(layer_rules, layer_rules.too_big),
        _rules(gate_input_rules, *OF_GRAPHS),
    )


def _check_labels(resolved: Resolved) -> list[Diagnostic]:
    """Dependencies between tasks; cycles only once all names are known."""
    return [
        *_in_rounds(resolved, [label_rules.unknown_task], [label_rules.task_cycle]),
        *label_rules.product_task(resolved),
        *_in_rounds(resolved, [label_rules.unlabelled], [label_rules.label_kind]),
        *_in_rounds(resolved, [label_rules.outside_without_where]),
        *session_rules.one_session_column(resolved),
    ]


def _check_features(resolved: Resolved) -> list[Diagnostic]:
    """Shared tables, then the sequences that use them, and crosses."""
    return [
        *_in_rounds(
            resolved,
            _rules(table_rules),
            [*_rules(event_rules), *_rules(cross_rules)],
            _rules(place_rules),
        ),
        *_in_rounds(resolved, _rules(table_file_rules)),
    ]


def check_graph(lowered: Lowered) -> list[Diagnostic]:
    """HS3xx, mistakes in a graph, then HS4xx, the design of a sound one."""
    widths = graph_rules.width_mismatch
    return _in_rounds(
        lowered,
        [widths],
        [
            *_rules(size_rules),
            *_rules(graph_rules, widths),
            *_rules(tower_rules),
            *_rules(reading_rules),
            gate_input_rules.detached_parameters,
            *_rules(promise_rules, promise_rules.unknown_promise),
        ],
        [
            *_rules(expert_rules),
            *_rules(design_rules),
            *_rules(gate_rules),
            gate_input_rules.all_features_listed,
            session_rules.sessions_of_an_input,
        ],
    )


def _rules(module: ModuleType, *apart: Check[Any]) -> list[Check[Any]]:
    """The rules of a file in order, except those that have their own round."""
    rules = (check for check in CHECKS.values() if check.__module__ == module.__name__)
    return [check for check in rules if check not in apart]


def _in_rounds(subject: S, *rounds: Iterable[Check[S]]) -> list[Diagnostic]:
    """The findings of all rounds, up to the first round that finds an error."""
    diagnostics: list[Diagnostic] = []
    for checks in rounds:
        for check in checks:
            diagnostics += check(subject)
        if any(d.rule.severity is Severity.ERROR for d in diagnostics):
            break
    return diagnostics


__all__ = ["check_graph", "check_names"]
