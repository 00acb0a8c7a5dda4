"""Ids are counted, and the frequent ones become a vocabulary, whatever the batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import homespec
from homespec.data import DataError
from homespec.data.cell_ids import text_id
from homespec.data.data_files import open_files
from homespec.data.data_rules import check
from homespec.data.profiled import ProfiledData
from homespec.data.profiler import profile
from homespec.data.word_fit import IdCounts, WordFit
from homespec.data.word_texts import texts_of
from homespec.train.vocabularies import Vocabularies, Vocabulary, fitted, with_texts

TEXT = """\
homespec: 1
name: s
family: mmoe
features:
  user: {id: {buckets: 9}, dim: 2}
  city: {id: {vocab: {min_count: 2, max_size: 3}}, dim: 2}
tasks: {y: {}, z: {}}
"""
SPEC = homespec.loads(TEXT)


def fit(ids: Any, text: str = TEXT) -> WordFit:
    made = WordFit(homespec.loads(text))
    made.add({"city": np.array(ids, np.int64)})
    return made


def test_the_most_frequent_come_first_and_rare_and_missing_ones_never() -> None:
    found = fit([5, 5, 5, -1, -1, -1, -1, 9, 9, 2, 2, 7, -8, -8, -8]).frequent("city")
    assert found.ids.tolist() == [-8, 5, 2, 9]
    assert found.counts.tolist() == [3, 3, 2, 2]
    assert found.values == 11


def test_of_two_ids_that_files_cannot_tell_apart_the_more_frequent_stays() -> None:
    found = fit([1, 1, 1 + 2**53, 1 + 2**53, 1 + 2**53, 4, 4]).frequent("city")
    assert found.ids.tolist() == [1 + 2**53, 4]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_batches_make_no_difference(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homespec.data.word_fit.BATCH", 50)
    ids = np.random.default_rng(0).zipf(1.5, 2000) % 300
    counts = IdCounts()
    for low in range(0, len(ids), size):
        counts.add(ids[low : low + size].reshape(-1, 1))
    values, often = counts.all()
    expected = np.unique(ids, return_counts=True)
    assert values.tolist() == expected[0].tolist()
    assert often.tolist() == expected[1].tolist()


def test_a_vocabulary_has_no_more_than_its_rows() -> None:
    made = fitted(fit([1, 1, 2, 2, 2, 3, 3, 4, 4, 5]), {}).features["city"]
    assert (made.ids, made.counts, made.known) == ((2, 1, 3), (3, 2, 2), 10)


def test_ids_keep_their_rows_and_new_ones_take_those_that_are_free() -> None:
    before = {"city": [7, 1]}
    made = fitted(fit([1, 1, 2, 2, 2, 3, 3]), before).features["city"]
    assert (made.ids, made.counts) == ((7, 1, 2), (0, 2, 3))
    assert fitted(fit([2, 2]), before, closed=["city"]).features["city"].ids == (7, 1)
    assert fitted(fit([2]), before).features["city"].ids == (7, 1)  # nothing new, and no error


def test_a_column_without_frequent_ids_is_refused() -> None:
    said = "`city` holds no id 2 times in 3 rows, so its vocabulary would be empty"
    with pytest.raises(DataError, match=said):
        fitted(fit([1, 2, 3]), {})
    with pytest.raises(DataError, match="there is no column of the feature `city`"):
        WordFit(SPEC).add({"user": np.zeros(3, np.int64)})


def files(folder: Path, **columns: Any) -> Any:
    rows = len(next(iter(columns.values())))
    table = {
        "user": [*range(rows)],
        "y": [0, 1] * (rows // 2),
        "z": [1, 0] * (rows // 2),
        **columns,
    }
    pq.write_table(pa.table(table), folder / "a.parquet")
    return open_files([folder / "a.parquet"])


def test_the_file_has_what_the_data_writes(tmp_path: Path) -> None:
    source = files(tmp_path, city=[" Rome", "Rome", "39", "39", None, "x"])
    ids = [text_id("Rome"), 39]
    made = fitted(fit([*ids, *ids]), {"city": [12]})
    made = with_texts(made, texts_of(SPEC, source, made.ids))
    assert made.features["city"].texts == (None, "39", "Rome")
    made.write(tmp_path / "v.json")
    assert Vocabularies.read(tmp_path / "v.json") == made
    numbers = files(tmp_path, city=[3, 3, 4, 4])
    made = with_texts(fitted(fit([3, 3]), {}), texts_of(SPEC, numbers, {"city": [3]}))
    assert made.features["city"].texts == ("3",)


def test_a_file_of_another_spec_or_broken_is_named(tmp_path: Path) -> None:
    made = Vocabularies(1, {"city": Vocabulary("city", 2, 3, 1, (1,), (1,), ("1",))})
    with pytest.raises(DataError, match="min_count 2 and max_size 3 there and min_count 5"):
        made.check(homespec.loads(TEXT.replace("min_count: 2", "min_count: 5")), "x.json")
    (tmp_path / "v.json").write_text('{"version": 1, "rows": 1, "features": {"a": {}}}')
    with pytest.raises(DataError, match="cannot be read"):
        Vocabularies.read(tmp_path / "v.json")


def found(folder: Path, text: str = TEXT, **columns: Any) -> dict[str, Any]:
    loaded = homespec.loads(text)
    data = ProfiledData(loaded, loaded.analysis.document, profile(loaded, files(folder, **columns)))
    return {one.rule.code: one for one in check(data)}


def test_check_data_knows_what_training_would_fit(tmp_path: Path) -> None:
    one = found(tmp_path, city=["a", "b", "c", "d", "e", "f"])["HS524"]
    assert "`city` holds no id 2 times in 6 rows" in one.message
    assert one.help == "give a smaller `min_count`, or remove the feature"
    cities = [*"aaaabbbbccddef"]
    one = found(tmp_path, city=cities)["HS525"]
    assert "4 ids of `city` are there 2 times or more, and there are 3 rows" in one.message
    assert "2 of 14 (14%) values" in one.message
    assert one.help == "write `max_size: 4`, or a `min_count` above 2"
    mended = TEXT.replace("max_size: 3", "max_size: 4")
    assert not {"HS524", "HS525", "HS504"} & found(tmp_path, mended, city=cities).keys()
