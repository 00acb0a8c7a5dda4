"""Data: all rules of `check-data`. They see profiles of the files, so they need no pyarrow."""

from __future__ import annotations

from homespec.data import (
    column_rules,
    cross_rules,
    id_rules,
    label_value_rules,
    list_rules,
    number_rules,
    sample_weight_rules,
    session_rules,
    weight_rules,
    word_rules,
)
from homespec.data.profiled import ProfiledData
from homespec.diagnostics import Diagnostic

RULES = (
    column_rules.missing_column,
    column_rules.unusable_column,
    column_rules.constant_column,
    column_rules.mostly_missing,
    column_rules.repeated_rows,
    number_rules.equal_boundaries,
    number_rules.unscaled_number,
    number_rules.far_number,
    label_value_rules.label_not_binary,
    label_value_rules.child_without_parent,
    label_value_rules.rate_differs,
    label_value_rules.one_class,
    label_value_rules.rate_shift,
    label_value_rules.regression_scale,
    sample_weight_rules.unusable_weights,
    sample_weight_rules.few_heavy_rows,
    session_rules.scattered_sessions,
    session_rules.few_compared_rows,
    word_rules.empty_vocabulary,
    word_rules.full_vocabulary,
    id_rules.unknown_ids,
    id_rules.unseen_ids,
    id_rules.patterned_ids,
    id_rules.shared_rows,
    cross_rules.crowded_cross,
    cross_rules.roomy_cross,
    list_rules.cut_sequences,
    list_rules.padded_sequence,
    list_rules.unsplit_lists,
    weight_rules.negative_weights,
)


def check(data: ProfiledData) -> list[Diagnostic]:
    """All findings about the data."""
    return [finding for rule in RULES for finding in rule(data)]
