"""Vocabularies in a run: fitted once, kept with the weights, added to by the next run."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors.torch
from small_spec import SMALL
from warm_runs import train

import homespec
from homespec.data import DataError
from homespec.data.cell_ids import text_id
from homespec.train.vocabularies import FILE, Vocabularies

GIVEN = "tag: {id: {buckets: 1000}, dim: 8}"
TEXT = SMALL.replace(GIVEN, "tag: {id: {vocab: {min_count: 5, max_size: 20}}, dim: 8}")
assert TEXT != SMALL


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of a run, and what it said."""
    out, said = tmp_path_factory.mktemp("run"), list[str]()
    train(TEXT, data, out, said.append, epochs=1)
    return out, said


def weights(out: Path) -> dict[str, list[list[float]]]:
    state = safetensors.torch.load_file(out / "model.safetensors")
    return {name: tensor.tolist() for name, tensor in state.items() if "features.tag" in name}


def test_a_run_keeps_the_frequent_ids_with_the_weights(
    trained: tuple[Path, list[str]], data: Path
) -> None:
    out, said = trained
    kept = Vocabularies.read(out / FILE).features["tag"]
    tags = pq.read_table(data / "train.parquet")["tag"][:700].to_pylist()
    counts = Counter(text_id(text) for text in tags if text)
    often = sorted(((-n, id_) for id_, n in counts.items() if n >= 5))[:20]
    assert kept.ids == tuple(id_ for _, id_ in often)
    assert kept.counts == tuple(-n for n, _ in often)
    assert [text_id(text or "") for text in kept.texts] == list(kept.ids)
    line = f"the vocabulary of tag has {len(often)} ids, kept"
    assert any(each.startswith(line) for each in said)
    tensor = weights(out)["features.tag.vocabulary"]
    assert Vocabularies.numbers_of(tensor) == list(kept.ids)


def test_resuming_never_refits(trained: tuple[Path, list[str]], data: Path) -> None:
    out, _ = trained
    before = (out / FILE).read_bytes()
    vocabulary = weights(out)["features.tag.vocabulary"]
    train(TEXT, data, out, epochs=2, resume=True)
    assert (out / FILE).read_bytes() == before
    assert weights(out)["features.tag.vocabulary"] == vocabulary
    other = json.loads(before)
    other["features"]["tag"]["ids"][0] += 1000
    (out / FILE).write_text(json.dumps(other))
    with pytest.raises(DataError, match="another vocabulary of `tag` than the checkpoint"):
        train(TEXT, data, out, epochs=3, resume=True)
    (out / FILE).write_bytes(before)


def test_a_run_that_starts_from_another_adds_ids_in_free_rows(
    trained: tuple[Path, list[str]], data: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    wider = TEXT.replace("min_count: 5, max_size: 20", "min_count: 1, max_size: 30")
    start = {"init_from": str(trained[0]), "epochs": 1, "new_row": "fresh", "lr": 1e-12}
    start |= {"table_lr": 1e-12, "freeze": ("features.user_id.weight",)}
    train(wider, data, tmp_path / "new", said.append, **start)
    old, new = weights(trained[0]), weights(tmp_path / "new")
    before = Vocabularies.numbers_of(old["features.tag.vocabulary"])
    after = Vocabularies.numbers_of(new["features.tag.vocabulary"])
    assert after[: len(before)] == before
    assert len(after) > len(before)
    rows = len(before) + 1
    assert np.allclose(
        new["features.tag.weight"][:rows], old["features.tag.weight"][:rows], atol=1e-6
    )
    assert any(f"{len(before)} carried over, {len(after) - len(before)} new" in x for x in said)
    frozen = start | {"freeze": ("features.tag.weight",)}
    train(wider, data, tmp_path / "frozen", **frozen)
    kept = weights(tmp_path / "frozen")["features.tag.vocabulary"]
    assert Vocabularies.numbers_of(kept) == before


def test_a_table_with_fewer_rows_drops_the_last_ones(
    trained: tuple[Path, list[str]], tmp_path: Path
) -> None:
    old = weights(trained[0])
    narrow = homespec.loads(TEXT.replace("max_size: 20", "max_size: 3"))
    made = homespec.migrate(trained[0], narrow, new_row="fresh").weights
    ids = Vocabularies.numbers_of(made["features.tag.vocabulary"].tolist())
    assert ids == Vocabularies.numbers_of(old["features.tag.vocabulary"])[:3]
    assert made["features.tag.weight"].tolist() == old["features.tag.weight"][:4]


def test_scores_are_those_of_the_vocabulary(trained: tuple[Path, list[str]], data: Path) -> None:
    """`predict` reads ids as training does; what is unknown is one id."""
    kept = Vocabularies.read(trained[0] / FILE).features["tag"].texts
    table = pq.read_table(data / "valid.parquet").slice(0, 3)
    at = table.column_names.index("tag")
    table = table.set_column(at, "tag", [["no tag", "other", kept[0]]])
    for name in ("user_id", "video_id", "tab", "duration_ms"):
        other = table.column_names.index(name)
        table = table.set_column(other, name, [[table[name][0].as_py()] * 3])
    pq.write_table(table, data.parent / "three.parquet")
    (scores,) = list(homespec.predict(trained[0], data.parent / "three.parquet", output="logits"))
    clicks = scores["click"].to_pylist()
    assert clicks[0] == pytest.approx(clicks[1], abs=1e-6)
    assert clicks[0] != pytest.approx(clicks[2], abs=1e-6)
