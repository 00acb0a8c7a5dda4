"""Streams: every row once over ranks and workers; the order by seed and epoch; resume; memory."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

import homespec
from homespec.api import LoadedSpec
from homespec.data import DataError
from homespec.data.batches import Batch
from homespec.data.cell_ids import text_id
from homespec.data.data_files import DataFiles, open_files
from homespec.data.dataset import BatchDataset
from homespec.data.in_memory import load_rows
from homespec.data.plan import Plan
from homespec.data.prefetch import prefetched
from homespec.data.sampler import WindowSampler
from homespec.schema.input_tensors import InputTensor

SPEC = """\
homespec: 1
name: s
features:
  row: {id: {buckets: 100}, dim: 4}
  halved: {bucketize: [1, 2], dim: 4}
  vec: {dense: 2}
groups: {g: [odd, late]}
tasks: {odd: {}, late: {label: row >= halved}}
"""


@pytest.fixture(scope="module")
def loaded() -> LoadedSpec:
    return homespec.loads(SPEC)


def table(low: int, high: int) -> pa.Table:
    rows = range(low, high)
    return pa.table(
        {
            "row": rows,
            "halved": [row / 2 for row in rows],
            "vec": [[row, -row] for row in rows],
            "odd": [row % 2 for row in rows],
            "user": [f"u{row % 7}" for row in rows],
        }
    )


def written(folder: Path, *sizes: int, group: int = 1000) -> DataFiles:
    """A source of files of so many rows; `row` numbers them through."""
    low = 0
    for number, size in enumerate(sizes):
        folder.mkdir(exist_ok=True)
        pq.write_table(table(low, low + size), folder / f"{number}.parquet", row_group_size=group)
        low += size
    return open_files([folder])


def order(batches: Any) -> list[list[int]]:
    """The rows of each batch; what fills it up is left away."""
    return [[row for row in batch.features["row"].tolist() if row >= 0] for batch in batches]


def flat(batches: list[list[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


SHAPES = [((100,), 1000), ((100,), 7), ((13, 1, 40, 46), 7), ((3, 97), 1000)]


@pytest.mark.parametrize(("sizes", "group"), SHAPES)
@pytest.mark.parametrize("shuffle", [0, 20, 1000])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_training_has_no_loss_and_no_repetition(
    loaded: LoadedSpec, tmp_path: Path, sizes: tuple[int, ...], group: int, shuffle: int, world: int
) -> None:
    source = written(tmp_path / "d", *sizes, group=group)
    streams = [
        BatchDataset(loaded, source, 8, shuffle=shuffle, rank=rank, world=world)
        for rank in range(world)
    ]
    found = [order(stream) for stream in streams]
    assert [len(batches) for batches in found] == [100 // (8 * world)] * world
    assert [len(stream) for stream in streams] == [100 // (8 * world)] * world
    assert {len(batch) for batches in found for batch in batches} == {8}
    rows = [row for batches in found for row in flat(batches)]
    assert len(set(rows)) == len(rows) == 100 - streams[0].left_out
    assert streams[0].left_out == 100 % (8 * world)
    assert (rows == sorted(rows)) == (shuffle == 0)


@pytest.mark.parametrize(("sizes", "group"), SHAPES)
@pytest.mark.parametrize("world", [1, 2, 3, 20])
def test_evaluation_has_every_row_once_in_order(
    loaded: LoadedSpec, tmp_path: Path, sizes: tuple[int, ...], group: int, world: int
) -> None:
    source = written(tmp_path / "d", *sizes, group=group)
    rows: list[int] = []
    for rank in range(world):
        stream = BatchDataset(
            loaded, source, 8, rank=rank, world=world, training=False, users="user"
        )
        batches = list(stream)
        assert len(batches) == len(stream) == -(-100 // (8 * world))
        for batch in batches:
            filling = batch.features["row"] < 0
            assert batch.features["row"].shape == batch.labels["odd"].shape == (8,)
            assert batch.labels["odd"].isnan().equal(filling)
            assert batch.labels["late"].isnan().equal(filling)
            assert batch.features["vec"].isnan().all(1).equal(filling)
            assert batch.users is not None
            assert (batch.users == -1).equal(filling)
        rows += flat(order(batches))
        assert stream.left_out == 0
    assert rows == list(range(100))


def test_rows_stay_together(loaded: LoadedSpec, tmp_path: Path) -> None:
    source = written(tmp_path / "d", 60, 40, group=9)
    for batch in BatchDataset(loaded, source, 8, shuffle=30, users="user"):
        row = batch.features["row"]
        assert row.dtype == torch.int64
        assert batch.features["halved"].equal(row.float() / 2)
        assert batch.features["vec"].equal(torch.stack([row, -row], 1).float())
        assert batch.labels["odd"].equal((row % 2).float())
        assert batch.labels["late"].equal(torch.ones(8))
        assert batch.users is not None
        assert batch.users.tolist() == [text_id(f"u{r % 7}") for r in row.tolist()]
    assert next(iter(BatchDataset(loaded, source, 8))).users is None


def test_seed_and_epoch_make_the_order(loaded: LoadedSpec, tmp_path: Path) -> None:
    source = written(tmp_path / "d", 50, 50, group=10)
    for shuffle in (30, 1000):
        orders = {
            (seed, epoch): flat(order(BatchDataset(loaded, source, 8, seed=seed, epoch=epoch,
                                             shuffle=shuffle)))
            for seed in range(3) for epoch in range(3)
        }  # fmt: skip
        assert len({tuple(rows) for rows in orders.values()}) == 9
        again = BatchDataset(loaded, source, 8, seed=1, epoch=2, shuffle=shuffle)
        assert flat(order(again)) == orders[1, 2] == flat(order(again))
        left_out = [next(iter(set(range(100)) - set(rows))) for rows in orders.values()]
        assert len(set(left_out)) > 3


def test_shuffling_mixes_within_the_buffer_and_chunks_over_all() -> None:
    sizes = (100,) * 50
    rows = [
        int(r) for w in WindowSampler(sizes, 10, shuffle=1000).windows()
        for r in WindowSampler(sizes, 10, shuffle=1000).rows_at(w.picks)
    ]  # fmt: skip
    assert sorted(rows) == list(range(5000))
    chunks = [len({row // 100 for row in rows[low : low + 10]}) for low in range(0, 5000, 10)]
    assert sum(chunks) / len(chunks) > 5  # a batch of 10 rows comes from about 6.5 of 10 chunks
    assert max(rows[:1000]) > 2000  # and the first window not from the first chunks


def test_a_window_of_everything_is_dealt_to_all_ranks() -> None:
    firsts = []
    for rank in range(2):
        (window,) = WindowSampler((1000,), 10, shuffle=1000, rank=rank, world=2).windows()
        firsts.append(window.picks.mean())
    assert firsts == pytest.approx([500, 500], abs=60)  # neither has one half of the file


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # few cores
@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize(
    ("workers", "start"),
    [*((0, start) for start in (0, 1, 5, 11, 12)), (1, 5), (2, 0), (2, 5), (3, 0), (3, 5)],
)
def test_start_and_workers_and_memory_give_the_same_batches(
    loaded: LoadedSpec, tmp_path: Path, held: bool, workers: int, start: int
) -> None:
    source = written(tmp_path / "d", 60, 40, group=9)
    options: dict[str, Any] = {"shuffle": 30, "seed": 3, "users": "user"}
    full = list(BatchDataset(loaded, source, 8, **options))
    memory = load_rows(loaded, source, "user") if held else None
    stream = BatchDataset(loaded, source, 8, start=start, cached=memory, **options)
    loader: Any = DataLoader(stream, batch_size=None, num_workers=workers) if workers else stream
    found = list(loader)
    assert len(found) == 12 - start
    assert len(stream) == 12
    for batch, wanted in zip(found, full[start:], strict=True):
        assert isinstance(batch, Batch)
        assert same(batch, wanted)


def same(one: Batch, other: Batch) -> bool:
    pairs = [*zip(one.features.values(), other.features.values(), strict=True)]
    pairs += zip(one.labels.values(), other.labels.values(), strict=True)
    assert (one.users is None) == (other.users is None)
    if one.users is not None and other.users is not None:
        pairs.append((one.users, other.users))
    return all(a.equal(b) for a, b in pairs)


def test_skipped_rows_are_not_converted_and_skipped_windows_not_read(
    loaded: LoadedSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = written(tmp_path / "d", 1000, group=100)
    converted: list[int] = []
    convert = Plan.convert
    monkeypatch.setattr(
        Plan, "convert", lambda self, rows: (converted.append(len(rows)), convert(self, rows))[1]
    )
    read: list[int | None] = []
    batches = type(source.chunks[0]).batches
    monkeypatch.setattr(
        type(source.chunks[0]), "batches",
        lambda self, *args: (read.append(self.group), batches(self, *args))[1],
    )  # fmt: skip
    assert len(list(BatchDataset(loaded, source, 10, shuffle=200, start=85))) == 15
    assert sum(converted) == 150
    assert len(read) == 2  # the last of five windows


def test_csv_and_parquet_give_the_same_batches(loaded: LoadedSpec, tmp_path: Path) -> None:
    rows = table(0, 100).to_pydict()
    names = list(rows)
    lines = [",".join(names)]
    for values in zip(*rows.values(), strict=True):
        lines.append(",".join(f'"{v}"' if isinstance(v, list) else str(v) for v in values))
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    source = written(tmp_path / "d", 100, group=1000)
    options: dict[str, Any] = {"shuffle": 30, "users": "user"}
    from_csv = list(BatchDataset(loaded, open_files([tmp_path / "a.csv"]), 8, **options))
    from_parquet = list(BatchDataset(loaded, source, 8, **options))
    assert len(from_csv) == 12
    assert all(same(a, b) for a, b in zip(from_csv, from_parquet, strict=True))


def test_hold_says_no_above_its_limit(loaded: LoadedSpec, tmp_path: Path) -> None:
    source = written(tmp_path / "d", 100)
    size = Plan.of(loaded, "user").bytes_per_row
    assert size == 8 + 8 + 8 + 4 * 2 + 8
    assert load_rows(loaded, source, "user", limit=100 * size - 1) is None
    held = load_rows(loaded, source, "user", limit=100 * size)
    assert held is not None
    arrays = [*held.features.values(), *held.labels.values(), held.users]
    assert sum(a.nbytes for a in arrays if a is not None) == 100 * size


@pytest.mark.parametrize("held", [False, True])
def test_too_few_rows_are_no_batch(loaded: LoadedSpec, tmp_path: Path, held: bool) -> None:
    source = written(tmp_path / "d", 7)
    memory = load_rows(loaded, source) if held else None
    stream = BatchDataset(loaded, source, 8, cached=memory)
    assert (len(stream), list(stream), stream.left_out) == (0, [], 7)
    assert len(list(BatchDataset(loaded, source, 8, cached=memory, training=False))) == 1


def test_no_rows(loaded: LoadedSpec, tmp_path: Path) -> None:
    source = written(tmp_path / "d", 0)
    for training in (True, False):
        assert list(BatchDataset(loaded, source, 8, training=training)) == []
    held = load_rows(loaded, source)
    assert held is not None
    assert held.features["vec"].shape == (0, 2)


def test_sequences_of_a_plan(loaded: LoadedSpec, tmp_path: Path) -> None:
    tensors = tuple(
        InputTensor(f"h.{name}", "h", name, kind, length=2)
        for name, kind in (("video", "id"), ("seconds", "number"))
    )  # fmt: skip
    plan = Plan(tensors, {}, frozenset())
    rows = pa.table({"video": [[1, 2, 3], None], "seconds": [[1.0, 2.0, 3.0], []]})
    found = plan.convert(rows).features
    assert found["h.video"].tolist() == [[2, 3], [-1, -1]]
    assert found["h.seconds"][0].tolist() == [2, 3]
    uneven = pa.table({"video": [[1], [1, 2, 3]], "seconds": [[1.0], [2.0]]})
    with pytest.raises(DataError, match="has 3 events in `video` and 1 in `seconds`"):
        plan.convert(uneven)


# ---------------------------------------------------------------- errors


def test_errors_name_the_data(loaded: LoadedSpec, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(table(0, 20).set_column(3, "odd", [[2] * 20]), path)
    source = open_files([path])
    with pytest.raises(DataError, match=r"a\.parquet: task `odd`: its label `odd` holds 2"):
        list(BatchDataset(loaded, source, 8))
    with pytest.raises(DataError, match=r"a\.parquet: task `odd`: its label `odd` holds 2"):
        load_rows(loaded, source)
    with pytest.raises(DataError, match=r"a\.parquet lacks columns: .*`use`.*`user`"):
        BatchDataset(loaded, source, 8, users="use")


def test_a_broken_file_ends_the_stream_with_one_error(loaded: LoadedSpec, tmp_path: Path) -> None:
    source = written(tmp_path / "d", 3000, 3000, 3000)
    path = tmp_path / "d" / "1.parquet"
    content = bytearray(path.read_bytes())
    content[4:5000] = b"\xff" * 4996
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"1\.parquet is broken") as caught:
        list(BatchDataset(loaded, source, 100, shuffle=500))
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- prefetching


def test_prefetching_passes_errors_on_and_stops_when_left() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise KeyError("x")

    broken = prefetched(items())
    assert [next(broken), next(broken), next(broken)] == [0, 1, 2]
    with pytest.raises(KeyError, match="x"):
        next(broken)
    before = threading.active_count()
    endless = prefetched(iter(int, 1))
    assert next(endless) == 0
    assert threading.active_count() == before + 1
    endless.close()
    assert threading.active_count() == before


# ---------------------------------------------------------------- larger than memory

LARGE = """
import resource, sys
from pathlib import Path
import numpy as np, pyarrow as pa, pyarrow.parquet as pq, torch
import homespec
from homespec.data.data_files import open_files
from homespec.data.dataset import BatchDataset

folder, rows = Path(sys.argv[1]), 1_500_000
features = ", ".join(f"f{i}: {{id: {{buckets: 9}}, dim: 4}}" for i in range(20))
spec = homespec.loads(
    f"homespec: 1\\nname: s\\nfeatures: {{{features}}}\\ngroups: {{g: [t]}}\\ntasks: {{t: {{}}}}\\n"
)
schema = pa.schema([(name, pa.int64()) for name in [*spec.features, "t"]])
random = np.random.default_rng(0)
with pq.ParquetWriter(folder / "a.parquet", schema, use_dictionary=False) as writer:
    for _ in range(rows // 50_000):
        columns = [random.integers(0, 2**40, 50_000) for _ in spec.features]
        writer.write_table(pa.table([*columns, np.zeros(50_000, np.int64)], schema=schema))

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

before, most = resident(), 0
for number, batch in enumerate(BatchDataset(spec, open_files([folder]), 5000, shuffle=50_000)):
    most = max(most, resident())
assert number == 299
print(rows * 21 * 8 >> 20, (most - before) >> 20)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_memory_is_bounded_by_the_buffer(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", LARGE, str(tmp_path)], capture_output=True, text=True, check=True
    )
    data, grown = map(int, result.stdout.split())
    assert data > 230  # MiB of values in the file
    assert grown < 110  # the buffer and a row group have 8 MiB each
