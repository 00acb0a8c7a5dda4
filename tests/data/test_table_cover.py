"""`check-data` says how many ids have a vector in the file that their table begins with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from homespec.cli.main import cli

SPEC = """\
homespec: 1
name: s
family: mmoe
features:
  video: {id: {vocab: {min_count: 1, max_size: 500}}, dim: 4, from: videos.parquet}
  kind: {id: {vocab: 30}, dim: 4, from: kinds.npy}
  tag: {id: {vocab: [a, b, c]}, dim: 4, from: tags.parquet}
  plain: {id: {vocab: 4}, dim: 4}
tasks: {y: {}}
"""
ROWS = 400


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(SPEC)
    rows = np.arange(ROWS)
    tags = [["a", "b", None][row % 3] for row in rows]
    columns = {
        "video": [f"v{row % 100}" for row in rows], "kind": rows % 20, "tag": tags,
        "plain": rows % 4, "y": rows % 2,
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    np.save(tmp_path / "kinds.npy", np.zeros((30, 4)))
    write(tmp_path / "videos.parquet", [f"v{number}" for number in range(0, 200, 4)])
    write(tmp_path / "tags.parquet", ["a", "c"])
    return tmp_path


def write(path: Path, ids: list[str], column: str = "id") -> None:
    pq.write_table(pa.table({column: ids, "vector": [[0.0, 1.0, 2.0, 3.0]] * len(ids)}), path)


def said() -> str:
    return str(CliRunner().invoke(cli, ["check-data", "s.yaml", "rows.parquet"]).stdout)


def test_the_share_of_ids_is_said(folder: Path) -> None:
    found = said()
    assert "videos.parquet has vectors for 25 of 100 ids (25.00%) of video" in found
    assert "kinds.npy has vectors for 20 of 20 ids (100.00%) of kind" in found
    assert "tags.parquet has vectors for 1 of 2 ids (50.00%) of tag" in found
    assert "of plain" not in found


def test_what_cannot_be_read_is_said(folder: Path) -> None:
    (folder / "kinds.npy").unlink()
    (folder / "videos.parquet").write_text("no parquet")
    write(folder / "tags.parquet", ["a"], column="name")
    found = " ".join(said().split())
    assert "kinds.npy, of the feature `kind`, does not exist beside s.yaml" in found
    assert "videos.parquet cannot be read" in found
    assert "has no column `id`" in found
