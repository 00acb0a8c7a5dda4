"""Synthetic users, videos and impressions with the columns of the KuaiRand files.

Distributions are rough likenesses of the real ones (missing values and -124 codes included).
Which columns carry signal is `synthesize.py`'s business.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Table: TypeAlias = dict[str, Array]
"""Columns of equal length, by name. Missing is NaN in float columns and "" in text columns."""

DATES = np.array([20220420 + d for d in range(11)] + [20220501 + d for d in range(4)])
HISTORY_DAYS = 5
"""How many of the dates are before the log begins."""
FIRST_MIDNIGHT_MS = 1650384000_000  # 20 April 2022, 00:00 in Beijing
HOUR_MS = 3_600_000
MISSING_CODE = -124

TABS = np.array([0, 1, 2, 4, 5, 6, 8])
TAB_SHARES = np.array([0.09, 0.75, 0.03, 0.06, 0.01, 0.05, 0.01])

ACTIVE_DEGREES = ("full_active", "high_active", "middle_active", "low_active", "UNKNOWN")
ACTIVE_SHARES = (0.65, 0.22, 0.08, 0.04, 0.01)
UPLOAD_TYPES = (
    "LongImport", "Web", "ShortImport", "Kmovie", "LongPicture", "PictureSet", "LongCamera",
)  # fmt: skip
FOLLOW_RANGES = (
    (1, 11, 51, 101, 151, 251, 501),
    ("0", "(0,10]", "(10,50]", "(50,100]", "(100,150]", "(150,250]", "(250,500]", "500+"),
)
FANS_RANGES = (
    (1, 10, 100, 1000, 5000, 10_000, 100_000),
    ("0", "[1,10)", "[10,100)", "[100,1k)", "[1k,5k)", "[5k,1w)", "[1w,10w)", "[10w,100w)"),
)
FRIEND_RANGES = (
    (1, 5, 30, 60, 120, 250),
    ("0", "[1,5)", "[5,30)", "[30,60)", "[60,120)", "[120,250)", "250+"),
)
REGISTER_RANGES = (
    (15, 31, 61, 91, 181, 366, 731),
    ("8-14", "15-30", "31-60", "61-90", "91-180", "181-365", "366-730", "730+"),
)
ONEHOT_SIZES = {0: 2, 1: 7, 2: 50, 3: 1471, 5: 34, 6: 3, 7: 118, 8: 454, 9: 7, 10: 5, 11: 5}
TAG_COUNT = 40


def make_users(rng: np.random.Generator, count: int) -> Table:
    """The side features of `count` users, in the order of user_features_pure.csv."""
    follow, fans, friend = (
        np.floor(rng.lognormal(mean, 1.5, count)).astype(np.int64) for mean in (4.3, 3.8, 2.8)
    )
    register = np.minimum(14 + np.floor(rng.lognormal(7.0, 0.8, count)), 3624).astype(np.int64)
    users: Table = {
        "user_id": np.arange(count),
        "user_active_degree": rng.choice(ACTIVE_DEGREES, count, p=ACTIVE_SHARES),
        "is_lowactive_period": np.zeros(count, np.int64),
        "is_live_streamer": np.where(rng.random(count) < 0.23, 1, MISSING_CODE),
        "is_video_author": (rng.random(count) < 0.82).astype(np.int64),
    }
    numbers = {"follow_user_num": follow, "fans_user_num": fans, "friend_user_num": friend,
               "register_days": register}  # fmt: skip
    for (name, number), (edges, texts) in zip(
        numbers.items(), (FOLLOW_RANGES, FANS_RANGES, FRIEND_RANGES, REGISTER_RANGES), strict=True
    ):
        users[name] = number
        users[f"{name}_range"] = np.array(texts)[np.digitize(number, edges)]
    return users | _onehots(rng, count)


def _onehots(rng: np.random.Generator, count: int) -> Table:
    """The encrypted features: small codes are commoner; 4 and 12 to 17 are sometimes missing."""
    columns: Table = {}
    for i in range(18):
        if i in ONEHOT_SIZES:
            size = ONEHOT_SIZES[i]
            columns[f"onehot_feat{i}"] = _skewed(rng, size, count, exponent=0.5)
        else:
            codes = _skewed(rng, 15 if i == 4 else 2, count, exponent=1.0).astype(np.float64)
            columns[f"onehot_feat{i}"] = _with_missing(rng, codes, 0.03)
    return columns


def make_videos(rng: np.random.Generator, count: int) -> Table:
    """The basic features of `count` videos, in the order of video_features_basic_pure.csv."""
    duration = np.clip(np.floor(rng.lognormal(np.log(70_000), 1.0, count)), 5_000, 1_200_000)
    tag = _skewed(rng, TAG_COUNT, count, exponent=0.5)
    second = rng.integers(TAG_COUNT, TAG_COUNT + 30, count)
    pairs = zip(tag, second, strict=True)
    text = np.array([f"{one},{two}" if two % 10 == 0 else f"{one}" for one, two in pairs])
    return {
        "video_id": np.arange(count),
        "author_id": rng.integers(0, 8_800_000, max(1, count * 6 // 7))[
            rng.integers(0, max(1, count * 6 // 7), count)
        ],
        "video_type": np.where(rng.random(count) < 0.99, "NORMAL", "AD"),
        "upload_dt": rng.choice(("2022-04-09", "2022-04-10", "2022-04-11"), count),
        "upload_type": np.array(UPLOAD_TYPES)[_skewed(rng, len(UPLOAD_TYPES), count, 1.0)],
        "visible_status": np.zeros(count),
        "video_duration": _with_missing(rng, duration, 0.03),
        "server_width": rng.choice((720.0, 1280.0, 960.0), count, p=(0.75, 0.2, 0.05)),
        "server_height": rng.choice((1280.0, 720.0, 1440.0), count, p=(0.7, 0.25, 0.05)),
        "music_id": rng.integers(0, 9_200_000_000, count),
        "music_type": _with_missing(rng, rng.choice((9.0, 4.0, 8.0, 7.0), count), 0.03),
        "tag": np.where(rng.random(count) < 0.01, "", text),
    }


def make_impressions(
    rng: np.random.Generator, before: int, rows: int, users: int, videos: int
) -> Table:
    """Who was shown what, where and when, in order of time; no impression occurs twice.

    The first `before` impressions are before the log, the other `rows` are the log's. Returns
    user_id and video_id (both also positions in their tables), date, hourmin, time_ms and tab.
    """
    day_before = rng.integers(0, HISTORY_DAYS, before)
    day = np.concatenate([day_before, rng.integers(HISTORY_DAYS, len(DATES), rows)])
    rows = len(day)
    hour_shares = 1.3 + np.sin((np.arange(24) - 13) * 2 * np.pi / 24) + 0.8 * (np.arange(24) > 8)
    hour = rng.choice(24, rows, p=hour_shares / hour_shares.sum())
    time_ms = FIRST_MIDNIGHT_MS + (day * 24 + hour) * HOUR_MS + rng.integers(0, HOUR_MS, rows)
    order = np.argsort(time_ms, kind="stable")
    day, hour, time_ms = day[order], hour[order], time_ms[order]
    row = np.arange(rows)
    time_ms = np.maximum.accumulate(time_ms - row) + row  # strictly increasing: no duplicates
    return {
        "user_id": _skewed(rng, users, rows, exponent=0.4),
        "video_id": _skewed(rng, videos, rows, exponent=0.4),
        "date": DATES[day],
        "hourmin": hour * 100,
        "time_ms": time_ms,
        "tab": rng.choice(TABS, rows, p=TAB_SHARES),
    }


def _skewed(rng: np.random.Generator, size: int, count: int, exponent: float) -> Array:
    """Codes 0 to size - 1 with probability proportional to (code + 1) ** -exponent."""
    shares = np.arange(1, size + 1) ** -exponent
    return rng.choice(size, count, p=shares / shares.sum())


def _with_missing(rng: np.random.Generator, values: Array, share: float) -> Array:
    return np.where(rng.random(len(values)) < share, np.nan, values)
