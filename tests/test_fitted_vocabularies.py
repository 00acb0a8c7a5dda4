"""Vocabularies that are fitted to data: ids by hand, in every layout, and kept with the weights."""

from __future__ import annotations

import copy
from types import ModuleType
from typing import Any

import pytest
import torch
from parity import LAYOUTS, compare
from reference import Reference
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import homespec
from homespec.data.cell_ids import text_id
from homespec.runtime import compiled

torch.set_num_threads(1)

TEXT = """\
homespec: 1
name: small
family: mmoe
features:
  user: {id: {buckets: 7}, dim: 2}
  city: {id: {vocab: {min_count: 5, max_size: 6}}, dim: 3}
  home: {table: city}
  tags: {id: {vocab: {min_count: 1, max_size: 4}}, dim: 3, list: {max_len: 2, pool: sum}}
tasks: {click: {}, like: {}}
experts: {width: 4, norm: batch, activation: swish}
"""
ROME = text_id("Rome")
WORDS = {"city": [ROME, 7, -3, 2**62 + 1], "tags": [5]}
CITIES = [ROME, 7, -3, 2**62 + 1, -1, 8, ROME - 2**53, 7 + 2**53, 2**62 + 2]
ROWS = [1, 2, 3, 4, 0, 0, 0, 0, 0]
FEATURES = {
    "user": torch.arange(9),
    "city": torch.tensor(CITIES),
    "home": torch.tensor(CITIES).flip(0),
    "tags": torch.tensor([[5, -1]] * 8 + [[5, 4]]),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS)


def made(layout: str, text: str = TEXT, **options: Any) -> tuple[nn.Module, ModuleType]:
    code, model = homespec.build_with_module(
        homespec.loads(text), optimize=LAYOUTS[layout], **options
    )
    return model, code  # type: ignore[return-value]


def ready(layout: str, **options: Any) -> tuple[nn.Module, ModuleType]:
    model, code = made(layout, **options)
    code.set_vocabularies(model, WORDS)
    return model, code


@layouts
def test_ids_have_the_rows_of_their_places(layout: str) -> None:
    model, code = ready(layout)
    state = code.logical_state(model)
    v = model.features(FEATURES)
    table, tags = state["features.city.weight"], state["features.tags.weight"]
    assert torch.equal(v[:, 2:5], table[ROWS])
    assert torch.equal(v[:, 5:8], table[ROWS[::-1]])  # of the feature that shares the table
    torch.testing.assert_close(v[-1, 8:], tags[1] + tags[0])  # an unknown value of a list counts


@layouts
def test_no_cast_and_no_average_loses_an_id(layout: str) -> None:
    model, code = ready(layout)
    rows = model.features(FEATURES)[:, 2:5]
    for dtype in (torch.bfloat16, torch.float16):
        small = copy.deepcopy(model).to(dtype)
        assert code.logical_state(small)["features.city.vocabulary"].dtype == torch.float64
        assert torch.equal(small.features(FEATURES)[:, 2:5], rows.to(dtype))
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for _ in range(5):
        averaged.update_parameters(model)
    torch.testing.assert_close(averaged.module.features(FEATURES)[:, 2:5], rows)


@layouts
def test_a_new_model_refuses_until_it_is_set(layout: str) -> None:
    model, code = made(layout)
    with pytest.raises(ValueError, match=r"of city, tags are not known: .* set_vocabularies, or"):
        model(FEATURES)
    with pytest.raises(KeyError, match=r"missing \['tags'\], unknown \['user'\]"):
        code.set_vocabularies(model, {"city": [1], "user": [1]})
    for wrong in ([], [1, -1], [*range(7)]):
        with pytest.raises(ValueError, match="city needs 1 to 6 ids, none of them -1"):
            code.set_vocabularies(model, WORDS | {"city": wrong})
    for wrong in ([3, 3], [3, 3 + 2**53]):
        with pytest.raises(ValueError, match="vocabulary of city has ids that are equal modulo"):
            code.set_vocabularies(model, WORDS | {"city": wrong})
    assert model.unset == ("city", "tags")
    code.set_vocabularies(model, WORDS)
    assert model.unset == ()
    fresh, _ = made(layout)
    fresh.load_state_dict(model.state_dict())
    torch.testing.assert_close(fresh.eval()(FEATURES), model.eval()(FEATURES))
    with pytest.raises(ValueError, match="city is an id, so it must be integers"):
        model(FEATURES | {"city": FEATURES["city"].double()})


@layouts
def test_all_that_is_fitted_together(layout: str) -> None:
    more = "  days: {bucketize: {quantiles: 3}, dim: 3}\n  age: {number: {}}\ntasks"
    model, code = made(layout, TEXT.replace("tasks", more))
    features = FEATURES | {"days": torch.rand(9), "age": torch.rand(9)}
    with pytest.raises(ValueError, match="set_vocabularies, set_boundaries, set_scaling, or load"):
        model(features)
    code.set_vocabularies(model, WORDS)
    code.set_boundaries(model, {"days": [0.2, 0.5]})
    assert model.unset == ("age",)
    code.set_scaling(model, {"age": (0.0, 1.0)})
    model.eval()(features)


@pytest.mark.parametrize("tasks", [None, ["like"]])
def test_files_for_inference_take_it_with_the_weights(tasks: list[str] | None) -> None:
    model, code = ready("plain")
    serving = homespec.build_module(homespec.loads(TEXT), mode="inference", tasks=tasks)
    served = serving.Model()
    with pytest.raises(ValueError, match="of city, tags are not known"):
        served(FEATURES)
    serving.load_logical_state(served, code.logical_state(model))
    expected = model.eval()(FEATURES)
    for task, logit in served(FEATURES).items():
        torch.testing.assert_close(logit, expected[task])
    assert serving.ordered(FEATURES | {"city": FEATURES["user"].int()})["city"].dtype == torch.int64


def test_compiled_it_is_one_graph_and_the_same() -> None:
    model, _ = ready("optimised")
    fast = compiled(model.features.forward, dynamic=True)
    torch.testing.assert_close(fast(FEATURES), model.features(FEATURES))


def test_a_file_without_it_has_nothing_of_it() -> None:
    text = TEXT.replace("{min_count: 5, max_size: 6}", "6").replace(
        "{min_count: 1, max_size: 4}", "4"
    )
    source = homespec.compile(homespec.loads(text)).lower()
    assert "vocabular" not in source.replace("vocabulary by name", "")
    assert '"city": words(6, dim=3),' in homespec.compile(homespec.loads(TEXT))


@pytest.mark.parametrize("seed", range(4))
def test_outputs_and_gradients_are_those_of_the_reference(seed: int) -> None:
    fitted = {"vocab": {"min_count": 2, "max_size": 5}}
    spec: dict[str, Any] = {
        "homespec": 1, "name": "m", "family": "mmoe",
        "features": {
            "a": {"id": fitted, "dim": 3},
            "b": {"table": "a"},
            "c": {"id": {"vocab": {"min_count": 1, "max_size": 1}}, "dim": 2},
            "d": {"id": fitted, "dim": 3, "list": {"max_len": 3, "pool": "max"}},
            "e": {"bucketize": {"quantiles": 3}, "dim": 3},
            "f": {"number": {}},
            "h": {"sequence": {"of": ["a"], "with": {"w": {"id": fitted, "dim": 2}},
                               "max_len": 3, "encoder": "din"}},
        },
        "tasks": {"x": {}, "y": {}}, "experts": {"width": 4, "hidden": []},
    }  # fmt: skip
    compare(spec, Reference(spec), seed)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{min_freq: 5, max_size: 6}", "write `min_count: 5`"),
        ("{min_count: 5, max_vocab_size: 6}", "write `max_size: 6`"),
        ("{min_count: 5}", "is missing the key `max_size`"),
        ("{min_count: 0, max_size: 6}", "greater than or equal to 1"),
        ("fitted", "write {min_count: 5, max_size: 10000}, a number of ids, or a list"),
        ('"10"', "remove the quotes: 10"),
    ],
)
def test_what_is_written_otherwise_gets_the_spelling(written: str, said: str) -> None:
    with pytest.raises(homespec.SpecError) as raised:
        homespec.loads(TEXT.replace("{min_count: 5, max_size: 6}", written))
    found = [f"{one.message} {one.help}" for one in raised.value.report.diagnostics]
    assert any(said in each for each in found), found
