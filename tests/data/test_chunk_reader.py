"""Each row comes once and holds what its file says: any chunks, files, ranks, workers, resumes."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import homespec
from homespec.data import data_files, dataset, sampler
from homespec.data.batches import Batch
from homespec.data.chunk_reader import ChunkReader
from homespec.data.data_files import SCAN_ROWS, DataFiles, open_files
from homespec.data.dataset import BatchDataset
from homespec.data.in_memory import load_rows

SPEC = homespec.loads("""\
homespec: 1
name: s
features:
  row: {id: {buckets: 100}, dim: 4}
  text: {id: {buckets: 100}, dim: 4}
  halved: {bucketize: [1, 2], dim: 4}
groups: {g: [odd, third]}
tasks: {odd: {}, third: {kind: regression}}
""")
COLUMNS = dict.fromkeys(("row", "text", "halved", "odd", "third"), "the test")


def table(low: int, high: int) -> pa.Table:
    """Rows of which every value follows from the number of the row."""
    row = np.arange(low, high)
    return pa.table(
        {
            "row": row,
            "text": pa.array((row * 7).astype(str)),
            "halved": row / 2,
            "odd": row % 2,
            "third": row / 4,
        }
    )


class Files(NamedTuple):
    """How rows are laid out."""

    sizes: tuple[int, ...]
    group: int = 1
    suffix: str = ".parquet"

    @property
    def rows(self) -> int:
        return sum(self.sizes)

    def write(self, folder: Path) -> DataFiles:
        low = 0
        for number, size in enumerate(self.sizes):
            rows, path = table(low, low + size), folder / f"{number}{self.suffix}"
            if self.suffix == ".parquet":
                pq.write_table(rows, path, row_group_size=self.group)
            else:
                path.write_bytes(as_csv(rows, packed=self.suffix.endswith(".gz")))
            low += size
        return open_files([folder])


def as_csv(rows: pa.Table, packed: bool) -> bytes:
    text = io.BytesIO()
    pa_csv.write_csv(rows, text)
    return gzip.compress(text.getvalue(), 1) if packed else text.getvalue()


def check_table(found: pa.Table, low: int, high: int) -> None:
    wanted = table(low, high)
    assert found.num_rows == high - low
    for name in COLUMNS:
        values = found[name].to_pylist()
        kind = type(wanted[name][0].as_py()) if high > low else str
        assert [kind(value) for value in values] == wanted[name].to_pylist()


def check_batch(batch: Batch) -> torch.Tensor:
    """The rows of a batch, each of which has the values of its number; what fills it up is off."""
    row = batch.features["row"]
    there = row >= 0
    assert batch.features["text"][there].equal(row[there] * 7)
    assert batch.features["halved"][there].equal(row[there].float() / 2)
    assert batch.labels["odd"][there].equal((row[there] % 2).float())
    assert batch.labels["third"][there].equal(row[there].float() / 4)
    for filled in (batch.features["halved"], *batch.labels.values()):
        assert filled.isnan().equal(~there)
    return row[there]


def rows_of(batches: Any) -> list[list[int]]:
    return [check_batch(batch).tolist() for batch in batches]


def flat(parts: list[list[int]]) -> list[int]:
    return [row for part in parts for row in part]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Another empty folder for each example."""
    return (tmp_path_factory.mktemp("rows") for _ in range(10**9))


# ---------------------------------------------------------------- any layout

FORMATS = st.sampled_from([".parquet", ".parquet", ".csv", ".csv.gz"])
FILES = st.builds(
    Files,
    st.lists(st.integers(0, 120), min_size=1, max_size=3).map(tuple),
    st.integers(1, 130),
    FORMATS,
)


@st.composite
def stretches(draw: st.DrawFn) -> tuple[Files, list[tuple[int, int]]]:
    """Files, and stretches of their rows in any order."""
    files = draw(FILES)
    place = st.integers(0, files.rows)
    pairs = draw(st.lists(st.tuples(place, place), min_size=1, max_size=6))
    return files, [(min(pair), max(pair)) for pair in pairs]


@settings(max_examples=60)
@given(case=stretches(), scan=st.integers(1, 40), limit=st.none() | st.integers(1, 200))
def test_any_stretch_holds_its_rows(
    case: tuple[Files, list[tuple[int, int]]], scan: int, limit: int | None,
    folders: Iterator[Path],
) -> None:  # fmt: skip
    files, wanted = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_files, "SCAN_ROWS", scan)
        rows = files.write(next(folders)).first(limit)
        assert rows.rows == min(files.rows, limit or files.rows)
        reader = ChunkReader(rows.chunks, rows.schema(COLUMNS), threads=False)
        for low, high in wanted:
            check_table(
                reader.table(min(low, rows.rows), min(high, rows.rows)),
                min(low, rows.rows),
                min(high, rows.rows),
            )


class Run(NamedTuple):
    """How rows are streamed."""

    batch_size: int
    world: int
    shuffle: int
    workers: int
    start: int
    limit: int | None
    epoch: int


RUNS = st.builds(
    Run,
    batch_size=st.integers(1, 30),
    world=st.integers(1, 4),
    shuffle=st.sampled_from([0, 1, 20, 50, 90, 1000]),
    workers=st.integers(0, 3),
    start=st.integers(0, 12),
    limit=st.none() | st.integers(1, 300),
    epoch=st.integers(0, 2),
)


@pytest.mark.parametrize("training", [True, False])
@settings(max_examples=40)
@given(files=FILES, run=RUNS, scan=st.integers(1, 40))
def test_any_stream_has_each_row_once(
    files: Files, run: Run, scan: int, folders: Iterator[Path], training: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_files, "SCAN_ROWS", scan)
        patch.setattr(sampler, "IN_ORDER", 50)
        check_streams(files.write(next(folders)).first(run.limit), run, training, patch)


def check_streams(
    rows: DataFiles, run: Run, training: bool, patch: pytest.MonkeyPatch | None = None
) -> None:
    """Each row once over all ranks; resumed, by workers and from memory the same batches."""
    held = load_rows(SPEC, rows)
    assert held is not None
    options: dict[str, Any] = {"shuffle": run.shuffle, "epoch": run.epoch, "training": training}
    seen: list[int] = []
    for rank in range(run.world):
        options |= {"rank": rank, "world": run.world}
        whole = rows_of(BatchDataset(SPEC, rows, run.batch_size, **options))
        seen += flat(whole)
        assert whole == rows_of(BatchDataset(SPEC, rows, run.batch_size, cached=held, **options))
        rest = BatchDataset(SPEC, rows, run.batch_size, start=run.start, **options)
        assert whole[run.start :] == rows_of(rest)
        if run.workers and patch is not None:
            assert whole[run.start :] == by_workers(rest, run.workers, patch)
    if training:
        left_out = rows.rows % (run.batch_size * run.world)
        assert len(seen) == len(set(seen)) == rows.rows - left_out
        assert set(seen) <= set(range(rows.rows))
    else:
        assert seen == list(range(rows.rows))


def by_workers(rest: BatchDataset, workers: int, patch: pytest.MonkeyPatch) -> list[list[int]]:
    """The batches of a DataLoader with so many workers, made here one worker after the other."""
    parts = []
    for worker in range(workers):
        about = SimpleNamespace(id=worker, num_workers=workers)
        with patch.context() as inside:
            inside.setattr(dataset, "get_worker_info", lambda about=about: about)
            parts.append(rows_of(rest))
    turns = range(max(map(len, parts)))
    return [part[turn] for turn in turns for part in parts if turn < len(part)]


# ---------------------------------------------------------------- chunks beyond a scan batch

LARGE = [
    Files((70_000,), 70_000),
    Files((200_000,), 200_000),
    Files((SCAN_ROWS + 1, 3, 50_000), 65_536),
    Files((70_000,), SCAN_ROWS - 1),
    Files((300,), 1),
    Files((70_000, 20_000), suffix=".csv"),
    Files((70_000,), suffix=".csv.gz"),
]


@pytest.fixture(scope="module", params=LARGE, ids=lambda f: f"{f.sizes} by {f.group}{f.suffix}")
def large(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DataFiles:
    files: Files = request.param
    return files.write(tmp_path_factory.mktemp("large"))


@pytest.mark.parametrize("threads", [True, False])
def test_a_stretch_deep_inside_a_chunk(large: DataFiles, threads: bool) -> None:
    reader = ChunkReader(large.chunks, large.schema(COLUMNS), threads)
    last = large.rows
    deep = [low for low in (SCAN_ROWS, 40_000, 65_000, 150_000) if low + 9 < last]
    for low, high in ((last - 5, last), *((low, low + 9) for low in deep), (0, 3), (2, last)):
        found = reader.table(low, high)
        assert found["row"].cast(pa.int64()).to_numpy().tolist() == list(range(low, high))
        check_table(found.slice(found.num_rows - 3), high - 3, high)


@pytest.mark.parametrize(
    ("training", "shuffle"), [(False, 0), (True, 0), (True, 5_000), (True, 10**6)]
)
def test_a_stream_over_large_chunks(large: DataFiles, training: bool, shuffle: int) -> None:
    size = 1 + large.rows // 70
    check_streams(large, Run(size, 3, shuffle, 0, start=17, limit=None, epoch=1), training)


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # few cores
def test_workers_over_a_large_chunk(tmp_path: Path) -> None:
    rows = Files((70_000,), 70_000).write(tmp_path).first(66_000)
    rest = BatchDataset(SPEC, rows, 1000, shuffle=9000, rank=1, world=2, start=20)
    loader: Any = DataLoader(rest, batch_size=None, num_workers=2)
    assert rows_of(loader) == rows_of(rest)
    assert len(rest) - rest.start == 13


# ---------------------------------------------------------------- CSV


def test_quoted_lines_may_stand_anywhere(tmp_path: Path) -> None:
    """One may stand where a block of pyarrow, of 1 MiB, ends."""
    path = tmp_path / "a.csv"
    cells = [f"{'x' * (row % 23)}\n{row}" for row in range(100_000)]
    path.write_text("row,note\n" + "".join(f'{n},"{cell}"\n' for n, cell in enumerate(cells)))
    rows = open_files([path])
    found = ChunkReader(rows.chunks, rows.schema({"row": "x", "note": "x"})).table(0, rows.rows)
    assert found["row"].to_pylist() == [str(row) for row in range(100_000)]
    assert found["note"].to_pylist() == cells
