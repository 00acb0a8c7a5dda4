"""The vector of scaled numbers: values, missing ones, and that held-out rows do not count."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from examples.kuairand.standardize import NAMES, with_scaled

END = 20220503
DATES = [20220501, 20220501, 20220502, 20220503]


def vectors(
    columns: dict[str, list[float | None]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The vectors [4, 28] of four rows, the last of them held out."""
    table = with_scaled(pa.table({"date": DATES, **columns}), END)
    found: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = (
        table["scaled"].combine_chunks().flatten().to_numpy().reshape(4, len(NAMES))
    )
    return found


@pytest.mark.parametrize(
    ("name", "values", "logarithms"),
    [
        ("duration_ms", [0, 2000, 8000, 4000], [math.log(n) for n in (1000, 2000, 8000, 4000)]),
        ("user_past_views", [0, 1, 3, 7], [0, math.log(2), math.log(4), math.log(8)]),
        ("video_past_finish", [0.2, 0.5, 0.8, 0.5], [math.log(0.2001 / 0.8001), 0, None, 0]),
    ],
)
def test_logarithms_standardised_by_the_days_before(
    name: str, values: list[float | None], logarithms: list[float | None]
) -> None:
    log = np.array([-logarithms[0] if x is None else x for x in logarithms])  # type: ignore[operator]
    expected = (log - log[:3].mean()) / log[:3].std()
    assert vectors({name: values})[:, NAMES.index(name)] == pytest.approx(expected, abs=1e-6)


def test_missing_is_the_mean() -> None:
    found = vectors({"user_prior_like": [0.1, None, 0.3, None], "video_prior_like": [None] * 4})
    at = NAMES.index("user_prior_like")
    assert found[:, at] == pytest.approx([-1, 0, 1, 0])
    assert not np.delete(found, at, axis=1).any()  # and so are columns that are not there


def test_rates_of_all_and_nothing_stay_finite() -> None:
    found = vectors({"user_past_click": [0, 1, 0.5, 1]})[:, NAMES.index("user_past_click")]
    assert np.isfinite(found).all()
    assert found[1] == found[3] == -found[0] > 1


def test_far_numbers_are_cut_off() -> None:
    found = vectors({"user_past_views": [1, 2, 3, 1e9]})[:, NAMES.index("user_past_views")]
    assert found[3] == 4


def test_held_out_rows_do_not_matter() -> None:
    one = vectors({"user_past_views": [1, 2, 3, 4]})
    other = vectors({"user_past_views": [1, 2, 3, 400]})
    assert (one[:3] == other[:3]).all()
    assert NAMES.index("video_past_comment_stay") == len(NAMES) - 1 == 27
