"""Past rates: against a loop over rows, and that no row's own day or held-out day counts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from examples.kuairand.historical_rates import MEASURES, OF, PSEUDO_VIEWS, with_pasts

END = 20220503


def views(seed: int = 0, rows: int = 300) -> pa.Table:
    """Views of few users and videos on seven days, the last two held out; scenes may be missing."""
    rng = np.random.default_rng(seed)
    tab = rng.integers(0, 3, rows)
    days = [*range(20220427, 20220431), 20220501, 20220503, 20220504]
    return pa.table(
        {
            "user_id": rng.integers(0, 12, rows),
            "video_id": rng.integers(5, 12, rows),
            "tab": pa.array(tab, mask=tab == 2),
            "date": rng.choice(days, rows),
            "is_click": rng.integers(0, 2, rows),
            "long_view": rng.integers(0, 2, rows),
            "is_like": rng.integers(0, 2, rows),
            "is_profile_enter": rng.integers(0, 2, rows),
            "comment_stay_time": rng.integers(0, 3, rows),
            "play_time_ms": rng.integers(0, 9, rows),
            "duration_ms": rng.integers(0, 9, rows),
        }
    )


def happened(row: dict[str, int], measure: str) -> bool:
    columns = MEASURES[measure]
    return row[columns[0]] >= row[columns[1]] if len(columns) == 2 else row[columns[0]] > 0


@pytest.mark.parametrize("whose", OF)
@pytest.mark.parametrize("measure", MEASURES)
def test_counts_the_days_before(whose: str, measure: str) -> None:
    found = with_pasts(views(), END)
    rows = found.to_pylist()
    train = [happened(row, measure) for row in rows if row["date"] < END]
    for row in rows:
        until = min(row["date"], END)
        past = [
            happened(other, measure)
            for other in rows
            if other["date"] < until and all(other[name] == row[name] for name in OF[whose])
        ]
        assert row[f"{whose}_past_views"] == len(past)
        drawn = sum(past) + PSEUDO_VIEWS * sum(train) / len(train)
        assert row[f"{whose}_past_{measure}"] == pytest.approx(drawn / (len(past) + PSEUDO_VIEWS))


def test_held_out_labels_do_not_matter() -> None:
    table = views()
    held_out = table["date"].to_numpy() >= END
    swapped = np.where(held_out, 1 - table["is_click"].to_numpy(), table["is_click"].to_numpy())
    at = table.column_names.index("is_click")
    other = with_pasts(table.set_column(at, "is_click", pa.array(swapped)), END)
    for name in ("user_past_click", "user_tab_past_click", "video_past_click"):
        assert other[name] == with_pasts(table, END)[name]


def test_what_the_log_lacks_is_null() -> None:
    found = with_pasts(views().drop_columns(["tab", "is_like", "duration_ms"]), END)
    assert found["user_tab_past_views"].null_count == found["user_past_like"].null_count == 300
    assert found["video_past_finish"].null_count == 300
    assert found["video_past_click"].null_count == 0
    assert found["video_past_click"].type == pa.float64()
