"""Stage 5, checks: the rules HS2xx to HS4xx, and the order in which they run.

Rules run in rounds. A round in which a rule finds an error is the last one: the rules of the next
may rely on it. So all mistakes of one round are reported at once, and no echoes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from homespec.checks import (
    design_rules,
    event_rules,
    expert_rules,
    graph_rules,
    group_rules,
    label_rules,
    layer_rules,
    rename_rules,
    size_rules,
    table_rules,
    topology_rules,
)
from homespec.diagnostics import Diagnostic, Severity
from homespec.lower import Lowered
from homespec.resolve import Resolved

S = TypeVar("S", bound=Resolved)
Check = Callable[[S], list[Diagnostic]]


def check_names(resolved: Resolved) -> list[Diagnostic]:
    """HS2xx, and those of HS3xx that must hold before there can be a graph."""
    return _in_rounds(
        resolved,
        [group_rules.name_clash],
        [
            group_rules.unknown_member,
            group_rules.repeated_member,
            group_rules.in_two_groups,
            group_rules.group_cycle,
            group_rules.task_without_group,
            _check_labels,
            _check_features,
            rename_rules.was_taken,
        ],
        [group_rules.nested_too_deep],
        [topology_rules.layers_and_family, topology_rules.fixed_layers],
        [
            topology_rules.layer_list_length,
            topology_rules.unknown_node,
            topology_rules.repeated_output,
            topology_rules.repeated_layer,
            topology_rules.shared_bottom_experts,
            topology_rules.unused_section,
        ],
        [layer_rules.too_big],
        [layer_rules.gate_over_nothing, layer_rules.no_state, layer_rules.many_states],
    )


def _check_labels(resolved: Resolved) -> list[Diagnostic]:
    """How tasks depend on each other; cycles only once all names are known."""
    return [
        *_in_rounds(resolved, [label_rules.unknown_task], [label_rules.task_cycle]),
        *label_rules.product_task(resolved),
        *_in_rounds(resolved, [label_rules.unlabelled], [label_rules.label_kind]),
    ]


def _check_features(resolved: Resolved) -> list[Diagnostic]:
    """Shared tables, then the sequences that look up in them."""
    return _in_rounds(
        resolved,
        [
            table_rules.unknown_table,
            table_rules.feature_without_table,
            table_rules.table_cycle,
            table_rules.table_of_table,
        ],
        [
            event_rules.unknown_event_field,
            event_rules.not_a_field,
            event_rules.repeated_field,
            event_rules.search_field,
            event_rules.unknown_event_column,
            event_rules.top_of_too_few,
            event_rules.indivisible_heads,
        ],
    )


def check_graph(lowered: Lowered) -> list[Diagnostic]:
    """HS3xx, what is wrong with a graph, then HS4xx, what is unwise about a sound one."""
    return _in_rounds(
        lowered,
        [graph_rules.width_mismatch],
        [
            size_rules.too_many_bytes,
            size_rules.more_than_a_machine,
            graph_rules.dead_parameters,
            graph_rules.unread_experts,
            graph_rules.constant_norm,
            graph_rules.one_choice,
        ],
        [
            expert_rules.relu_without_norm,
            expert_rules.published_experts,
            expert_rules.unnormalised_experts,
            expert_rules.experts_not_home,
            design_rules.no_shared_experts,
            design_rules.single_group,
            design_rules.one_task_group,
            design_rules.sparse_without_own,
            design_rules.no_underfitting_gates,
            design_rules.rank_not_low,
            design_rules.label_leak,
            design_rules.repeated_label,
            design_rules.rates_far_apart,
            design_rules.self_gate_without_set,
            design_rules.wide_table,
            design_rules.long_recurrence,
        ],
    )


def _in_rounds(subject: S, *rounds: Iterable[Check[S]]) -> list[Diagnostic]:
    """What the rules of all rounds find, up to the first round that finds an error."""
    diagnostics: list[Diagnostic] = []
    for checks in rounds:
        for check in checks:
            diagnostics += check(subject)
        if any(d.rule.severity is Severity.ERROR for d in diagnostics):
            break
    return diagnostics


__all__ = ["check_graph", "check_names"]
