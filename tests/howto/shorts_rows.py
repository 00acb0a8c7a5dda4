"""Rows for `specs/shorts.yaml` of the README: behaviours that depend on users and videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

USERS, VIDEOS, KINDS = 300, 200, 6


def rows(count: int, seed: int) -> pa.Table:
    """Impressions with labels of five tasks; tastes are those of seed 0 for every seed."""
    world, random = np.random.default_rng(0), np.random.default_rng(seed)
    taste = world.normal(size=(USERS, KINDS))
    kind = world.integers(0, KINDS, VIDEOS)
    appeal, length = world.normal(size=VIDEOS), world.integers(3_000, 60_000, VIDEOS)
    user, video = random.integers(0, USERS, count), random.integers(0, VIDEOS, count)
    score = taste[user, kind[video]] + 0.7 * appeal[video]

    def drawn(shift: float, slope: float = 1.5) -> np.ndarray:
        return random.random(count) < 1 / (1 + np.exp(-(slope * score + shift)))

    click = drawn(-0.2)
    share = random.random(count) + 0.2 * score + 0.3 * click
    return pa.table(
        {
            "user_id": user,
            "video_id": video,
            "tab": random.integers(0, 15, count),
            "duration_ms": length[video],
            "is_click": click.astype("int8"),
            "play_time_ms": (np.clip(share, 0, 1.2) * length[video]).astype("int64"),
            "is_like": (click & drawn(-2.0)).astype("int8"),
            "is_follow": (click & drawn(-3.0)).astype("int8"),
            "is_share": (click & drawn(-2.5)).astype("int8"),
        }
    )


def write(folder: Path, count: int = 8_000) -> None:
    """A folder that holds `train` and `valid`."""
    folder.mkdir(parents=True)
    for seed, (name, size) in enumerate((("train", count), ("valid", count // 4)), 1):
        pq.write_table(rows(size, seed), folder / f"{name}.parquet")
