"""Impressions before the log that is trained on, in the form of history_before_4_25.csv."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from examples.kuairand.histories import MAX_EVENTS, OF_EVENTS
from homespec.data import DataError


def split_off(log: pa.Table, first_date: int) -> tuple[pa.Table, pa.Table]:
    """The impressions from the date on, and the history: what each user saw before it.

    The history has the latest `MAX_EVENTS` impressions of each user, oldest first, numbered by
    `pos`. Raises DataError if there are none, or if the log lacks one of their columns.
    """
    missing = [name for name in OF_EVENTS if name not in log.column_names]
    if missing:
        raise DataError(f"the log lacks the column {missing[0]}, which --history-from-log needs")
    early = pc.less(log["date"], first_date)
    before = log.filter(early)
    if not before.num_rows:
        raise DataError(
            f"the log has no impression before {first_date} for --history-from-log: add KuaiRand's"
            " log_standard_4_08_to_4_21_pure.csv to the folder"
        )
    order = [(name, "ascending") for name in ("user_id", "time_ms")]
    before = before.select(["user_id", "time_ms", *OF_EVENTS]).sort_by(order)
    users = before["user_id"].to_numpy()
    ends = np.searchsorted(users, users, side="right")
    latest = ends - np.arange(len(users)) <= MAX_EVENTS
    kept = before.drop_columns("time_ms").filter(pa.array(latest))
    users = users[latest]
    pos = np.arange(len(users)) - np.searchsorted(users, users)
    return log.filter(pc.invert(early)), kept.append_column("pos", pa.array(pos))
