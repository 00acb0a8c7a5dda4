"""Runs on lists of the candidate: from parquet and CSV, resumed, and with sparse gradients."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
import yaml
from input_specs import random_lists

import homespec
from homespec import runtime
from homespec.data.data_files import open_files
from homespec.data.in_memory import load_rows
from homespec.train import run
from homespec.train.settings import Settings
from homespec.train.sparse_embeddings import SparseTables

TEXT = """\
homespec: 1
name: lists
family: mmoe
features:
  user: {id: {buckets: 20}, dim: 4}
  tags: {id: {buckets: 20}, dim: 4, list: {max_len: 3, weights: scores}}
  likes: {table: tags, list: {max_len: 4, pool: max}}
  prices: {bucketize: {quantiles: 4}, dim: 4, list: {max_len: 3, pool: sum}}
tasks: {click: {}, buy: {}}
experts: {width: 4, hidden: []}
"""
SPEC = homespec.loads(TEXT)
SETTINGS = Settings(schedule="constant", epochs=1, batch_size=32, compile=False, lr=1e-2)
ROWS = 300


def columns() -> dict[str, list[Any]]:
    draw = np.random.default_rng(0)
    sizes = draw.integers(0, 6, ROWS)
    return {
        "user": draw.integers(0, 99, ROWS).tolist(),
        "tags": [[f"t{tag}" for tag in draw.integers(0, 9, size)] for size in sizes],
        "scores": [draw.random(size).round(3).tolist() for size in sizes],
        "likes": [[f"t{tag}" for tag in draw.integers(0, 9, 3)] for _ in sizes],
        "prices": [draw.normal(size=size).round(3).tolist() for size in sizes],
        "click": draw.integers(0, 2, ROWS).tolist(),
        "buy": draw.integers(0, 2, ROWS).tolist(),
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for part in ("train", "valid"):
        pq.write_table(pa.table(columns()), folder / f"{part}.parquet")
    return folder


def test_csv_is_parquet_and_the_first_values_are_kept(data: Path, tmp_path: Path) -> None:
    def cell(value: Any) -> str:
        return " ".join(map(str, value)) if isinstance(value, list) else str(value)

    rows = zip(*columns().values(), strict=True)
    lines = [",".join(columns()), *(",".join(map(cell, row)) for row in rows)]
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    held = [load_rows(SPEC, open_files([path])) for path in (data / "train.parquet",
                                                            tmp_path / "train.csv")]  # fmt: skip
    for name, array in held[0].features.items():
        np.testing.assert_array_equal(array, held[1].features[name])
    for row, given in enumerate(columns()["scores"]):
        kept = held[0].features["tags.weights"][row]
        np.testing.assert_allclose(kept[: len(given[:3])], given[:3], rtol=1e-6)
        assert np.isnan(kept[len(given[:3]) :]).all()


def test_a_run_is_resumed(data: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    two = replace(SETTINGS, epochs=2)
    run.train(SPEC, run.Place([data], once), two, lambda _: None)
    run.train(SPEC, run.Place([data], twice), SETTINGS, lambda _: None)
    run.train(SPEC, run.Place([data], twice, resume=True), two, lambda _: None)
    kept = json.loads((once / "boundaries.json").read_text())["features"]["prices"]
    prices = [p for given in columns()["prices"] for p in given[:3]]
    assert kept["boundaries"] == np.sort(prices)[np.arange(1, 4) * len(prices) // 4].tolist()
    one, other = (safetensors.torch.load_file(f / "model.safetensors") for f in (once, twice))
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_sparse_gradients_are_the_dense_ones() -> None:
    torch.manual_seed(0)
    code, dense = homespec.build_with_module(SPEC)
    code.set_boundaries(dense, {"prices": [-1.0, 0.0, 1.0]})
    _, model = homespec.build_with_module(SPEC)
    code.load_logical_state(model, code.logical_state(dense))
    tables = SparseTables(model)
    generator = torch.Generator().manual_seed(0)
    given = yaml.safe_load(TEXT)
    features = {"user": torch.randint(0, 99, (16,))}
    for name in ("tags", "likes", "prices"):
        features |= random_lists(given, name, 16, generator)
    labels = {task: torch.randint(0, 2, (16,)).float() for task in code.TASKS}
    code.loss(dense(features), labels).backward()
    tables.fit(features)
    code.loss(model(features), labels).backward()
    tables.set_aside()
    tables.collect()
    for name, weight in runtime.tables_of(model).items():
        found = weight.get_parameter("weight").grad
        wanted = runtime.tables_of(dense)[name].get_parameter("weight").grad
        assert found is not None
        assert found.is_sparse
        torch.testing.assert_close(found.to_dense(), wanted)
