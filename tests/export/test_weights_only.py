"""`export --weights-only`: today's weights in the package of yesterday, in one step."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from small_run import SPEC, write_data, write_run

from homespec.export import ExportError
from homespec.export.aotinductor import Package
from homespec.export.onnx_file import Session
from homespec.export.run import replace_weights
from homespec.export.subject import Options, Subject
from homespec.train.torch_compile import obstacle

pytestmark = [
    pytest.mark.compiles,
    pytest.mark.skipif(obstacle() is not None, reason="torch.compile cannot work on this machine"),
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]


def replaced(run: Path, into: Path, out: Path | None = None) -> list[str]:
    lines: list[str] = []
    replace_weights(run, into, out or into, Options(), lines.append)
    return lines


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(run: Path, folder: Path, message: str) -> None:
    """The folder stays as it was, and nothing is left beside it."""
    before, beside = listing(folder), {*folder.parent.iterdir()}
    with pytest.raises(ExportError, match=message):
        replaced(run, folder)
    assert listing(folder) == before
    assert {*folder.parent.iterdir()} == beside


def test_every_weight_is_replaced(runs: list[Path], folder: Path) -> None:
    """The first weights are those of a new model, many of them 0, and vectors of a few numbers."""
    before = folder.stat().st_ino
    compiled = folder / "model.pt2"
    old = Package(compiled)
    with compiled.open("rb") as held:
        started = time.perf_counter()
        replaced(runs[1], folder)
        assert time.perf_counter() - started < 120
        assert os.fstat(held.fileno()).st_ino != compiled.stat().st_ino
    assert folder.stat().st_ino != before
    today, yesterday = (Subject(run, Options()) for run in (runs[1], runs[0]))
    features = today.features(64)
    expected = today.expected(features)
    for score in (Package(compiled), Session(folder / "model.onnx")):
        torch.testing.assert_close(score(features), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(old(features), yesterday.expected(features), rtol=1e-4, atol=1e-4)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert Package(compiled).metadata["weights_sha256"] == manifest["weights_sha256"]
    assert manifest["weights_sha256"] != old.metadata["weights_sha256"]
    assert [*folder.parent.iterdir()] == [folder]


def test_another_folder_gets_them(runs: list[Path], folder: Path, tmp_path: Path) -> None:
    before = listing(folder)
    (folder / "model.onnx").unlink()
    replaced(runs[2], folder, tmp_path / "next")
    assert listing(folder) == {n: b for n, b in before.items() if n != "model.onnx"}
    assert (tmp_path / "next" / "model.pt2").exists()
    assert not (tmp_path / "next" / "model.onnx").exists()
    with pytest.raises(ExportError, match="next already exists"):
        replaced(runs[1], folder, tmp_path / "next")


CHANGES = {
    "where: click": ("where: click, weight: 2.0", None),
    "rate: 0.4": ("rate: 0.1", None),
    "scale: 60.0": ("scale: 30.0", "the unit of task `minutes` is 30, was 60"),
    "dense: 5": ("dense: 7", "the input of `asr` is vectors of 7, was vectors of 5"),
    "width: 8": ("width: 16", "have the widths 8, 16, had 8, 8"),
    "[0.35, 1, 2.5]": ("[0.35, 1, 3.5]", "the intervals of `duration` differ"),
    "top: 3": ("top: 2", "the encoder of `history` is sim"),
    "follow": ("follows", "task `follow` was removed; task `follows` is new"),
}


@pytest.mark.parametrize("old", CHANGES)
def test_another_graph_is_refused_with_what_differs(
    old: str, folder: Path, data: Path, tmp_path: Path
) -> None:
    new, message = CHANGES[old]
    run = write_run(tmp_path / "runs" / "other", 1, data, SPEC.replace(old, new))
    if message is None:
        (folder / "model.onnx").unlink()
        replaced(run, folder)
    else:
        refused(run, folder, f"do not fit the model that is compiled in .*{message}")


def test_numbers_of_another_type_are_refused(folder: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    data = write_data(tmp_path / "data")
    table = pq.read_table(data / "train.parquet")
    column = table.column("duration").cast("float")
    index = table.column_names.index("duration")
    pq.write_table(table.set_column(index, "duration", column), data / "train.parquet")
    run = write_run(tmp_path / "runs" / "other", 1, data)
    refused(run, folder, "trained on `duration` as float32, and .* takes float64")
    shutil.rmtree(data)
    (folder / "model.onnx").unlink()
    assert replaced(run, folder)[0].startswith("note: the data of the run cannot be read")


def test_files_of_others_are_not_lost(runs: list[Path], folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    refused(runs[1], folder, "holds notes.txt, which homespec export did not write")


def test_a_wrong_place_of_weights_is_noticed(runs: list[Path], folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    parts = [p for p in manifest["package_weights"] if p["name"].endswith("weight")]
    pairs = itertools.combinations(parts, 2)
    first, second = next((one, other) for one, other in pairs if one["size"] == other["size"])
    first["name"], second["name"] = second["name"], first["name"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    refused(runs[1], folder, "model.pt2 does not give what the trained model gives")


def test_a_damaged_package_is_noticed(runs: list[Path], folder: Path) -> None:
    package = bytearray((folder / "model.pt2").read_bytes())
    package[len(package) // 2] ^= 1
    (folder / "model.pt2").write_bytes(package)
    refused(runs[1], folder, "model.pt2 is not what was exported, by its hash in manifest.json")


def test_a_folder_of_something_else(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(runs[1], tmp_path / "empty", "no manifest.json: it is not a folder of homespec export")
    for text in ("{}", '{"format": 1}'):
        (tmp_path / "empty" / "manifest.json").write_text(text)
        refused(runs[1], tmp_path / "empty", "not of this version of homespec")
