"""What prepared files hold nothing of, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq

FROM_HISTORY = ("user_prior_", "video_prior_", "history_")
"""How the columns begin that are made from the history."""


def empty_columns(path: Path) -> list[str]:
    """The columns of a parquet file without any value; lists count as empty without any element.

    By its statistics: the rows are not read.
    """
    about = pq.read_metadata(path)
    groups = [about.row_group(number) for number in range(about.num_row_groups)]
    empty = []
    for number in range(about.num_columns):
        parts = [group.column(number) for group in groups]
        if all(part.statistics.null_count == part.num_values for part in parts):
            empty.append(str(parts[0].path_in_schema).partition(".")[0])
    return empty


def notes(empty: Sequence[str], absent: Path | None) -> Iterator[str]:
    """What to say about empty columns; `absent` is the path of the history if it is not there."""
    missed = [name for name in empty if name.startswith(FROM_HISTORY)] if absent else []
    if absent and missed:
        yield f"{absent} is not there; empty without it: {', '.join(missed)}"
        yield (
            "KuaiRand does not publish this file. It has the last 50 impressions of each user"
            " before 25 April 2022: user_id, video_id, pos (their order, from 0), long_view,"
            " is_like. --history-from-log makes the same from the log, if that has those days:"
            " log_standard_4_08_to_4_21_pure.csv"
        )
    others = [name for name in empty if name not in missed]
    if others:
        yield f"empty since the CSV files have no values for them: {', '.join(others)}"
