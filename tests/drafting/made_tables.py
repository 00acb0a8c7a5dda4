"""Made tables for `homespec new --from`, and what is written for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from click.testing import CliRunner

import homespec
from homespec.cli.main import cli

ROWS = 2000


def table(**columns: Any) -> pa.Table:
    """A table of columns: arrays of arrow, numpy, or lists."""
    return pa.table(columns)


def written(folder: Path, rows: pa.Table, *options: str) -> dict[str, Any]:
    """What `homespec new t --from` writes for a table, as data; it has to be valid."""
    file = folder / "rows.parquet"
    pq.write_table(rows, file)
    return written_of(folder, file, *options)


def written_of(folder: Path, file: Path, *options: str) -> dict[str, Any]:
    """The same for a file."""
    result = new(file, *options)
    assert result.exit_code == 0, result.output
    spec = folder / "specs/t.yaml"
    assert not [d for d in homespec.validate(spec).diagnostics if d.rule.code != "HS414"]
    text = spec.read_text()
    assert max(map(len, text.splitlines())) <= 100 or "#   homespec" in text
    data: dict[str, Any] = yaml.safe_load(text)
    return data


def new(file: Path, *options: str) -> Any:
    """Call `homespec new t --from FILE` in the present folder."""
    command = ["new", "t", "--from", str(file), "--force", *options]
    return CliRunner().invoke(cli, command)


def log() -> pa.Table:
    """A log of impressions as products have them: ids, attributes, behaviours, times."""
    random = np.random.default_rng(0)
    user, video = random.integers(0, 150, ROWS), random.integers(0, 90, ROWS)
    taste = random.normal(size=150)[user] + random.normal(size=90)[video]
    click = taste + random.normal(size=ROWS) > 0
    long_view = click & (random.random(ROWS) < 0.7)
    like = random.random(ROWS) < 0.05 + 0.1 * (taste > 1)
    follow = like & (random.random(ROWS) < 0.4)
    play = np.where(click, random.lognormal(9, 1, ROWS), random.lognormal(6, 1, ROWS))
    return pa.table(
        {
            "user_id": user,
            "video_id": video,
            "is_author": (np.arange(150) % 3 == 0).astype(int)[user],
            "country": pa.array(["US", "DE", "FR"]).take(pa.array(user % 3)),
            "city": pa.array([f"city {place:02}" for place in range(40)]).take(pa.array(user % 40)),
            "duration_ms": random.lognormal(9, 1, ROWS).round().astype(int),
            "hour": random.integers(0, 24, ROWS),
            "tags": [[f"t{t}" for t in random.integers(0, 25, random.integers(0, 6))]
                     for _ in range(ROWS)],
            "hist_video_id": [random.integers(0, 90, random.integers(0, 20)).tolist()
                              for _ in range(ROWS)],
            "embedding": list(random.normal(size=(ROWS, 4)).astype(np.float32)),
            "request_id": [f"r{row:05}" for row in random.permutation(ROWS)],
            "constant": pa.array(["same"] * ROWS),
            "date": 20240501 + np.arange(ROWS) // 200,
            "play_time_ms": play.round().astype(int),
            "is_click": click.astype(int),
            "long_view": long_view.astype(int),
            "is_like": like.astype(int),
            "is_follow": follow.astype(int),
        }
    )  # fmt: skip
