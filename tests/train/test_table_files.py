"""Tables that begin with the vectors of a file: trained or frozen, and kept with the weights."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
from small_spec import SMALL
from warm_runs import SETTINGS, last

import homespec
from homespec.data import DataError
from homespec.train import run

TAB = "tab: {id: {vocab: 15}, dim: 8"
TAG = "tag: {id: {buckets: 1000}, dim: 8"
WORDS = "tag: {id: {vocab: {min_count: 1, max_size: 50}}, dim: 8"
VECTORS = np.random.default_rng(0).normal(size=(15, 8)).astype(np.float32)


def train(folder: Path, data: Path, out: str, said: list[str], **changed: Any) -> dict[str, Any]:
    """The weights of a run of the spec in a folder."""
    place = run.Place([data], folder / out, resume=changed.pop("resume", False))
    settings = dataclasses.replace(SETTINGS, **changed)
    run.train(homespec.load(folder / "s.yaml"), place, settings, said.append)
    return safetensors.torch.load_file(folder / out / "model.safetensors")


def write(folder: Path, change: tuple[str, str]) -> None:
    assert change[0] in SMALL
    (folder / "s.yaml").write_text(SMALL.replace(*change))


@pytest.mark.parametrize("options", [{}, {"table_optimizer": "adagrad"}])
def test_a_frozen_table_is_that_of_the_file_to_the_end(
    data: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    (tmp_path / "of").mkdir()
    np.save(tmp_path / "of/v.npy", VECTORS)
    write(tmp_path, (TAB, f"{TAB}, from: of/v.npy, frozen: true"))
    said: list[str] = []
    state = train(tmp_path, data, "out", said, epochs=1, schedule="constant", **options)
    table = state["features.tab.weight"].numpy()
    assert np.array_equal(table[1:], VECTORS)
    assert not table[0].any()
    assert "the table of tab begins with 15 vectors of v.npy, which are kept as they are" in said
    (tmp_path / "of/v.npy").unlink()  # it is never opened again
    more = {"epochs": 2, "schedule": "constant", "resume": True, **options}
    again = train(tmp_path, data, "out", said, **more)
    assert np.array_equal(again["features.tab.weight"].numpy(), table)
    later = last(tmp_path / "out").weights
    assert np.array_equal(later["features.tab.weight"].numpy(), table)
    assert not later["features.user_id.weight"].equal(state["features.user_id.weight"])
    warm = {"epochs": 1, "init_from": str(tmp_path / "out"), **options}
    warm_state = train(tmp_path, data, "warm", said, **warm)
    assert np.array_equal(warm_state["features.tab.weight"].numpy(), table)
    assert "the table of tab is carried over, not read from of/v.npy" in said


def test_a_trained_table_begins_with_the_file(data: Path, tmp_path: Path) -> None:
    """By name: rows of ids of a vocabulary that was fitted a moment before."""
    tags = sorted({*pq.read_table(data / "train.parquet")["tag"][:700].to_pylist()} - {None})[:20]
    vectors = np.random.default_rng(1).normal(size=(len(tags) + 1, 8))
    table = {"id": [*tags, "no such tag"], "vector": list(vectors)}
    pq.write_table(pa.table(table), tmp_path / "v.parquet")
    write(tmp_path, (TAG, f"{WORDS}, from: v.parquet"))
    said: list[str] = []
    state = train(tmp_path, data, "out", said, epochs=1, lr=1e-12, table_lr=1e-12)
    found = state["features.tag.weight"].numpy()
    assert np.abs(found).max() == pytest.approx(np.abs(vectors[:-1]).max(), abs=1e-3)
    near = [min(np.abs(found - each).max(1)) < 1e-4 for each in vectors]
    assert near == [True] * len(tags) + [False]
    assert any(f"begins with {len(tags)} vectors of v.parquet" in line for line in said)


def test_a_larger_table_keeps_what_it_has_learned(data: Path, tmp_path: Path) -> None:
    """Only the rows that are new begin with the file, unless it is frozen, and is the file's."""
    np.save(tmp_path / "v.npy", VECTORS)
    write(tmp_path, (TAB, f"{TAB}, from: v.npy"))
    before = train(tmp_path, data, "out", [], epochs=1)["features.tab.weight"].numpy()
    assert np.abs(before[1:] - VECTORS).max() > 1e-3
    larger = np.concatenate([VECTORS, np.full((5, 8), 3, np.float32)])
    np.save(tmp_path / "more.npy", larger)
    warm = {"epochs": 1, "lr": 1e-12, "init_from": str(tmp_path / "out"), "new_row": "fresh"}
    write(tmp_path, (TAB, f"{TAB.replace('15', '20')}, from: more.npy"))
    said: list[str] = []
    found = train(tmp_path, data, "warm", said, **warm)["features.tab.weight"].numpy()
    np.testing.assert_allclose(found[:16], before, atol=1e-6)
    np.testing.assert_allclose(found[16:], larger[15:], atol=1e-6)
    carried = "the table of tab has 16 rows carried over, and 5 more begin with vectors of more.npy"
    assert carried in said
    write(tmp_path, (TAB, f"{TAB.replace('15', '20')}, from: more.npy, frozen: true"))
    frozen = train(tmp_path, data, "frozen", [], **warm)["features.tab.weight"].numpy()
    assert np.array_equal(frozen[1:], larger)


def test_ids_that_a_later_day_brings_begin_with_the_file(data: Path, tmp_path: Path) -> None:
    """The rows of earlier ids keep what they have learned."""
    tags = sorted({*pq.read_table(data / "train.parquet")["tag"].to_pylist()} - {None})
    vectors = np.random.default_rng(1).normal(size=(len(tags), 8)).astype(np.float32)
    pq.write_table(pa.table({"id": tags, "vector": list(vectors)}), tmp_path / "v.parquet")
    few = WORDS.replace("min_count: 1", "min_count: 20")
    assert few != WORDS
    write(tmp_path, (TAG, f"{few}, from: v.parquet"))
    before = train(tmp_path, data, "out", [], epochs=1)
    known = len(
        json.loads((tmp_path / "out/vocabularies.json").read_text())["features"]["tag"]["ids"]
    )
    write(tmp_path, (TAG, f"{WORDS}, from: v.parquet"))
    said: list[str] = []
    warm = {"epochs": 1, "lr": 1e-12, "table_lr": 1e-12, "init_from": str(tmp_path / "out")}
    found = train(tmp_path, data, "warm", said, **warm)["features.tag.weight"].numpy()
    own = json.loads((tmp_path / "warm/vocabularies.json").read_text())["features"]["tag"]
    assert 0 < known < len(own["ids"])
    kept = before["features.tag.weight"].numpy()[: 1 + known]
    np.testing.assert_allclose(found[: 1 + known], kept, atol=1e-6)
    for row, text in enumerate(own["texts"][known:], 1 + known):
        np.testing.assert_allclose(found[row], vectors[tags.index(text)], atol=1e-6)
    more = len(own["ids"]) - known
    line = f"the table of tag has {1 + known} rows carried over, and {more} more begin with vectors"
    assert any(line in each for each in said)


def test_files_elsewhere_and_missing_ones_are_refused(data: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "secret.npy", VECTORS)
    own = tmp_path / "own"
    own.mkdir()
    write(own, (TAB, f"{TAB}, from: v.npy"))
    with pytest.raises(DataError, match=r"v\.npy, of the feature `tab`, does not exist"):
        train(own, data, "out", [])
    (own / "v.npy").symlink_to(tmp_path / "secret.npy")
    with pytest.raises(DataError, match="leads out of the spec's repository"):
        train(own, data, "out", [])
    (own / "v.npy").unlink()
    np.save(own / "v.npy", VECTORS[:3])
    with pytest.raises(DataError, match=r"is \[3, 8\], and the spec has 15 ids of `dim` 8"):
        train(own, data, "out", [])
    text = SMALL.replace(TAB, f"{TAB}, from: v.npy")
    place = run.Place([data], own / "out")
    with pytest.raises(DataError, match="save the spec as a file first"):
        run.train(homespec.loads(text), place, SETTINGS, print)
    pq.write_table(pa.table({"id": ["x"], "vector": [[0.0] * 8]}), own / "v.parquet")
    write(own, (TAB, f"{TAB}, from: v.parquet"))
    with pytest.raises(DataError, match="has no vector for any id of `tab`"):
        train(own, data, "out", [])
