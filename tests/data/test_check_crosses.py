"""check-data on the pairs of crosses: too few rows for them, and far too many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import homespec
from homespec.data.data_files import open_files
from homespec.data.data_rules import check
from homespec.data.pair_profile import PairProfile, sharing
from homespec.data.profiled import ProfiledData
from homespec.data.profiler import profile
from homespec.diagnostics import Diagnostic

ROWS = 1000
SPEC = """\
homespec: 1
name: s
family: mmoe
features:
  user: {id: {buckets: 10000}, dim: 8}
  tab: {id: {vocab: 4}, dim: 2}
  pair: {cross: {of: [user, tab], buckets: BUCKETS}, dim: 8}
tasks: {y: {}}
"""


def measured(tmp_path: Path, buckets: int, **columns: Any) -> ProfiledData:
    loaded = homespec.loads(SPEC.replace("BUCKETS", str(buckets)))
    rows = np.arange(ROWS)
    table = pa.table({"user": rows % 250, "tab": rows // 250, "y": rows % 2} | columns)
    pq.write_table(table, tmp_path / "train.parquet")
    known = profile(loaded, open_files([tmp_path / "train.parquet"]))
    return ProfiledData(loaded, loaded.analysis.document, known)


def of_crosses(data: ProfiledData) -> list[Diagnostic]:
    return [each for each in check(data) if each.rule.code in ("HS526", "HS529")]


def test_pairs_are_counted(tmp_path: Path) -> None:
    """Those of a missing or unknown id are no pairs."""
    pairs = measured(tmp_path, 10_000).train.pairs["pair"]
    assert len(pairs.distinct) == 1000
    user = [-1, *range(1, 500), *range(500)]
    tab = [0] * 499 + [7, *[1] * 500]
    pairs = measured(tmp_path, 10_000, user=user, tab=tab).train.pairs["pair"]
    assert len(pairs.distinct) == len({*zip(user, tab, strict=True)}) - 2


def test_a_crowded_cross_and_its_remedy(tmp_path: Path) -> None:
    (one,) = of_crosses(measured(tmp_path, 1000))
    assert (one.rule.code, one.rule.severity.value) == ("HS526", "warning")
    assert "about 63% of the 1,000 pairs of `pair` share a row" in one.message
    assert one.help == "write `buckets: 10000`, with which about 10% share a row"
    assert one.span.start.line == 7
    assert not of_crosses(measured(tmp_path, 10_000))


def test_a_roomy_cross_and_its_remedy(tmp_path: Path) -> None:
    (one,) = of_crosses(measured(tmp_path, 10_000_000))
    assert (one.rule.code, one.rule.severity.value) == ("HS529", "note")
    assert "`pair` has 10,000,000 rows for 1,000 pairs" in one.message
    assert one.help == "write `buckets: 10000`, with which only about 10% share a row"
    assert not of_crosses(measured(tmp_path, 120_000))  # too small to matter


def test_an_unreadable_id_has_no_pairs(tmp_path: Path) -> None:
    data = measured(tmp_path, 1, tab=[1.5] * ROWS)
    assert data.train.features["tab"].problem
    assert not of_crosses(data)


@pytest.mark.parametrize(("pairs", "buckets"), [(1000, 1000), (300, 1000), (2, 1), (1, 1)])
def test_the_share_is_that_of_random_rows(pairs: int, buckets: int) -> None:
    random = np.random.default_rng(0)
    seen = []
    for _ in range(200):
        _, counts = np.unique(random.integers(0, buckets, pairs), return_counts=True)
        seen.append(counts[counts > 1].sum() / pairs)
    assert sharing(pairs, buckets) == pytest.approx(np.mean(seen), abs=0.02)


def test_no_two_pairs_are_one() -> None:
    grid = np.meshgrid(np.arange(-500, 500), np.arange(2**62, 2**62 + 300))
    pairs = PairProfile(("a", "b"), 10, (0, 0))
    first, second = (each.ravel() for each in grid)
    pairs.add({"a": first, "b": second})
    assert len(pairs.distinct) == 999 * 300  # -1 is missing
