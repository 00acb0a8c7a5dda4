"""Vocabularies that a spec lists: cells by their names, in every type of column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import homespec
from homespec.data import DataError
from homespec.data.plan import Plan
from homespec.data.vocabulary import UNKNOWN, places
from homespec.diff.compare import compare
from homespec.export.inputs import inputs_of
from homespec.export.manifest import about_inputs

TEXT = """\
homespec: 1
name: s
family: mmoe
features:
  country: {id: {vocab: [US, DE, 7, " ü "]}, dim: 2}
  past: {sequence: {of: [country], with: {how: {id: {vocab: [a, b]}, dim: 2}}, max_len: 3, encoder: mean}}
tasks: {y: {}}
"""  # noqa: E501


def read(country: Any, kind: Any = None) -> list[int]:
    plan = Plan.of(homespec.loads(TEXT).analysis.spec)
    table = pa.table({
        "country": pa.array(country, kind), "past_country": [["DE", "x", None]] * len(country),
        "past_how": [["b", None, "a"]] * len(country), "y": [0] * len(country),
    })  # fmt: skip
    found = plan.convert(table).features
    assert found["past.how"][0].tolist() == [1, -1, 0]
    assert found["past.country"][0, [0, 2]].tolist() == [1, -1]
    assert found["past.country"][0, 1] >= UNKNOWN
    values: list[int] = found["country"].tolist()
    return values


def test_cells_are_places_in_the_list() -> None:
    found = read(["US", "DE", " US", "7", "7.0", "ü", None, "", "us", "FR"])
    assert found[:8] == [0, 1, 0, 2, 2, 3, -1, -1]
    assert min(found[8:]) >= UNKNOWN
    assert found[8] != found[9]
    assert read([7, None, 3], pa.int64())[:2] == [2, -1]
    assert read([7.0, None])[:2] == [2, -1]
    assert read(["DE", "US"], pa.dictionary(pa.int8(), pa.string())) == [1, 0]


def test_what_is_unknown_has_the_row_of_what_is_missing() -> None:
    code, model = homespec.build_with_module(homespec.loads(TEXT))
    weight = code.logical_state(model)["features.country.weight"]
    ids = torch.tensor([0, 3, -1, 4, UNKNOWN + 5])
    past = {"past.country": torch.full((5, 3), -1), "past.how": torch.full((5, 3), -1)}
    v = model.features({"country": ids, **past})
    assert torch.equal(v[:, :2], weight[[1, 4, 0, 0, 0]])


def test_large_ids_are_apart_from_places() -> None:
    ids = np.array([-(2**63), 2**63 - 1, -2, 0, 1, 2**62], np.int64)
    assert (places(ids, ("US",)) >= UNKNOWN).all()


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (("39", "39.0"), "with '39' and '39.0', which are one id"),
        (("US", "NULL"), "with 'NULL', which means missing"),
    ],
)
def test_what_is_no_vocabulary(texts: tuple[str, ...], said: str) -> None:
    with pytest.raises(DataError, match=said):
        places(np.array([1]), texts)


def test_a_list_in_another_order_keeps_its_rows() -> None:
    specs = [TEXT, TEXT.replace('US, DE, 7, " ü "', 'DE, FR, US, 7, " ü "')]
    old, new = (homespec.loads(text).analysis for text in specs)
    comparison = compare(old, new)
    assert "HS627" in {change.rule.code for change in comparison.changes}
    table = next(c for c in comparison.plan.carried.values()
                 if c.tensor.name == "features.country.weight")  # fmt: skip
    kept = [(run.new, run.old, run.size) for run in table.runs[0]]
    assert kept == [(0, 0, 1), (1, 2, 1), (3, 1, 1), (4, 3, 2)]


def test_a_manifest_has_the_list() -> None:
    spec = homespec.loads(TEXT)
    about = about_inputs(inputs_of(spec.analysis.spec, ["country"], {}))
    assert about["country"]["ids"] == {"vocab": 4, "texts": ["US", "DE", "7", " ü "]}
