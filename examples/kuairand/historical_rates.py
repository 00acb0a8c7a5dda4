"""What users and videos did on earlier days of the log, as numbers of views and rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from homespec.data.columns import Array

OF = {"user": ("user_id",), "user_tab": ("user_id", "tab"), "video": ("video_id",)}
"""Whose past there is, and the columns that tell them apart. A user's scenes differ in rates."""
MEASURES: Mapping[str, tuple[str, ...]] = {
    "click": ("is_click",),
    "long_view": ("long_view",),
    "like": ("is_like",),
    "finish": ("play_time_ms", "duration_ms"),
    "profile_enter": ("is_profile_enter",),
    "comment_stay": ("comment_stay_time",),
}
"""The behaviours of which there are rates, and the columns of the log that say whether one was:
that it is more than 0, or not less than the second."""
PSEUDO_VIEWS = 10.0
"""A rate counts this many more views, with the rate of all: few views prove little."""


def with_pasts(table: pa.Table, end: int) -> pa.Table:
    """`table` with `*_past_views` and `*_past_MEASURE` of its users, their scenes and its videos.

    They count the views of the days before the row's own, and none of the date `end` or later: so
    nothing that a model is measured on becomes an input. Rates are drawn towards the mean of all
    days before `end`; who has no views has that mean. A measure whose columns the table lacks is
    null, as is everything about what it cannot tell apart.
    """
    dates = table["date"].to_numpy()
    days = np.unique(dates)
    until_N = np.searchsorted(days, np.minimum(dates, end))
    before_N = dates < end
    events = {name: _events(table, columns) for name, columns in MEASURES.items()}
    for whose, columns in OF.items():
        keys_N = _keys(table, columns)
        past = None if keys_N is None else _Past(keys_N, np.searchsorted(days, dates), until_N)
        views_N = None if past is None else past.count(np.ones(len(dates)))
        table = table.append_column(f"{whose}_past_views", _numbers(views_N, len(dates)))
        for name, events_N in events.items():
            rates_N = None
            if past is not None and views_N is not None and events_N is not None:
                pseudo = PSEUDO_VIEWS * (events_N[before_N].mean() if before_N.any() else 0.0)
                rates_N = (past.count(events_N) + pseudo) / (views_N + PSEUDO_VIEWS)
            table = table.append_column(f"{whose}_past_{name}", _numbers(rates_N, len(dates)))
    return table


class _Past:
    """Sums over the rows of the same key on earlier days, for each row."""

    def __init__(self, keys_N: Array, days_N: Array, until_N: Array) -> None:
        self.keys_N, self.until_N = keys_N, until_N
        self.days = int(days_N.max()) + 1
        self.cells_N = keys_N * self.days + days_N
        self.cells = (int(keys_N.max()) + 1) * self.days

    def count(self, events_N: Array) -> Array:
        sums_KD = np.bincount(self.cells_N, events_N, self.cells).reshape(-1, self.days)
        up_to_KD = np.pad(sums_KD.cumsum(1), ((0, 0), (1, 0)))  # column d: of the days before d
        past_N: Array = up_to_KD[self.keys_N, self.until_N]
        return past_N


def _keys(table: pa.Table, columns: Sequence[str]) -> Array | None:
    """A number for each row, equal where all columns are; missing counts as a value."""
    if any(name not in table.column_names for name in columns):
        return None
    keys_N = np.zeros(table.num_rows, np.int64)
    for name in columns:
        codes = table[name].combine_chunks().dictionary_encode(null_encoding="encode")
        keys_N = keys_N * len(codes.dictionary) + codes.indices.to_numpy()
    return np.asarray(np.unique(keys_N, return_inverse=True)[1])


def _events(table: pa.Table, columns: Sequence[str]) -> Array | None:
    """1 where the behaviour was, else 0."""
    if any(name not in table.column_names for name in columns):
        return None
    values = [table[name] for name in columns]
    happened = pc.greater(*values, 0) if len(values) == 1 else pc.greater_equal(*values)
    events_N: Array = happened.cast(pa.float64()).fill_null(0).to_numpy()
    return events_N


def _numbers(values_N: Array | None, rows: int) -> pa.Array:
    return pa.nulls(rows, pa.float64()) if values_N is None else pa.array(values_N)
