"""Batches that keep the rows of a session together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import homespec
from homespec.data.data_files import DataFiles, open_files
from homespec.data.dataset import BatchDataset
from homespec.data.in_memory import load_rows
from homespec.data.sampler import WindowSampler
from homespec.data.sessions import (
    Sessions,
    compared,
    run_starts,
    scattered,
    shuffled_runs,
)

SPEC = """\
homespec: 1
name: s
features: {row: {id: {buckets: 100}, dim: 4}}
family: mmoe
tasks: {y: {within: {column: request}}}
"""
ROWS = 600


def ids(seed: int = 0) -> np.ndarray:
    """Sessions of 1 to 9 rows next to each other; some rows have none."""
    draw = np.random.default_rng(seed)
    made = np.repeat(np.arange(ROWS), draw.integers(1, 10, ROWS))[:ROWS]
    return np.where(draw.random(ROWS) < 0.05, -1, made)


def files(folder: Path, group: int, csv: bool = False) -> DataFiles:
    own = [None if each == -1 else f"r{each}" for each in ids()]
    table = pa.table({"row": range(ROWS), "y": np.arange(ROWS) % 2, "request": own})
    folder.mkdir(exist_ok=True)
    pq.write_table(table, folder / "train.parquet", row_group_size=group)
    return open_files([folder])


def cut(found: list[np.ndarray], group: int) -> int:
    """Runs of the files whose rows are in several batches, or in one but not in their order."""
    runs = np.cumsum(run_starts(ids()) | (np.arange(ROWS) % group == 0))
    torn = 0
    for number in np.unique(runs):
        rows = np.flatnonzero(runs == number)
        whole = any(
            (batch[i : i + len(rows)] == rows).all()
            for batch in found
            for i in np.flatnonzero(batch == rows[0])
            if i + len(rows) <= len(batch)
        )
        torn += not whole
    return torn  # fmt: skip


@pytest.mark.parametrize("shuffle", [1000, 128])
@pytest.mark.parametrize("group", [1000, 100])
@pytest.mark.parametrize("world", [1, 2])
def test_sessions_stay_together(tmp_path: Path, shuffle: int, group: int, world: int) -> None:
    """Batches are full; only the sessions at their ends are cut, and those at ends of windows."""
    spec, source = homespec.loads(SPEC), files(tmp_path, group)
    found = []
    for rank in range(world):
        batches = BatchDataset(
            spec, source, 50, seed=1, epoch=2, shuffle=shuffle, rank=rank, world=world
        )
        found += [batch.features["row"].numpy() for batch in batches]
    assert [len(batch) for batch in found] == [50] * 12
    assert sorted(np.concatenate(found)) == list(range(ROWS))
    ends = len(found) + ROWS // min(group, ROWS) + 2 * (ROWS // shuffle)
    assert cut(found, group) <= ends
    flat = np.concatenate(found)
    assert (np.abs(np.diff(flat)) > 20).sum() > 60  # it is shuffled


def test_order_is_that_from_memory_and_after_a_start(tmp_path: Path) -> None:
    spec, source = homespec.loads(SPEC), files(tmp_path, 100)
    held = load_rows(spec, source)
    assert held is not None
    kept = Sessions(source, "request", held.sessions)
    streamed = list(BatchDataset(spec, source, 50, shuffle=150))
    cached = list(BatchDataset(spec, source, 50, shuffle=150, cached=held, sessions=kept))
    later = list(BatchDataset(spec, source, 50, shuffle=150, start=5))
    for one, other in [*zip(streamed, cached, strict=True), *zip(streamed[5:], later, strict=True)]:
        assert torch.equal(one.features["row"], other.features["row"])
        assert one.sessions is not None
        assert other.sessions is not None
        assert torch.equal(one.sessions, other.sessions)
        assert int((one.sessions == -1).sum()) == int((ids()[one.features["row"]] == -1).sum())


def test_without_sessions_the_order_is_that_of_rows() -> None:
    one = next(WindowSampler((300, 300), 50, 3, 1, shuffle=600).windows())
    expected = np.random.default_rng([3, 1, 1]).permutation(600)
    assert (one.picks == expected).all()


@pytest.mark.parametrize("most", [1, 3, 8, 100])
def test_runs_are_shuffled_whole_or_split(most: int) -> None:
    starts = run_starts(ids())
    order = shuffled_runs(starts, most, np.random.default_rng(0))
    assert sorted(order) == list(range(ROWS))
    again = shuffled_runs(starts, most, np.random.default_rng(1))
    assert (order != again).any()
    runs = np.cumsum(starts)
    lengths = np.diff(np.flatnonzero(starts), append=ROWS)
    parts = int((-(-lengths // most)).sum())
    steps = np.diff(order)
    broken = (steps != 1) | (np.diff(runs[order]) != 0)
    assert parts - 10 < broken.sum() < parts  # some follow each other as before, by chance


@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows(rows: int) -> None:
    assert list(shuffled_runs(np.ones(rows, bool), 4, np.random.default_rng(0))) == [*range(rows)]
    assert len(run_starts(np.zeros(rows, np.int64))) == rows


def test_rows_without_a_session_are_alone() -> None:
    assert list(run_starts(np.array([7, 7, -1, -1, 7]))) == [True, False, True, True, True]
    assert scattered(np.array([7, -1, -1, 7, 3])) == 0.5


def test_which_rows_are_compared() -> None:
    sessions = np.array([1, 1, 1, 2, 2, 3, -1, -1, 4, 4])
    labels = np.array([1, 0, 0, 1, 1, 0, 1, 0, 1, np.nan])
    counts = np.array([True, True, False, *[True] * 7])
    assert list(np.flatnonzero(compared(sessions, labels, counts))) == [0, 1]
