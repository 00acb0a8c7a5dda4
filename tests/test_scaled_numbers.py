"""Numbers that are columns of the input: by hand, in all files, and as told."""

from __future__ import annotations

import copy
import math
from types import ModuleType
from typing import Any

import pytest
import torch
from parity import LAYOUTS
from torch import Tensor, nn

import homespec
from homespec.runtime import compiled

torch.set_num_threads(1)

NAN = float("nan")
TEXT = """\
homespec: 1
name: small
family: mmoe
features:
  id: {id: {vocab: 5}, dim: 2}
  price: {number: {scale: log}}
  age: {number: {}}
  share: {number: {scale: minmax}, column: part}
  raw: {number: {scale: none}}
tasks: {click: {}, like: {}}
experts: {width: 4, norm: batch, activation: swish}
"""
FEATURES = {
    "id": torch.tensor([0, 4, -1, 2]),
    "price": torch.tensor([0.0, math.e - 1, 1 - math.e, NAN], dtype=torch.float64),
    "age": torch.tensor([20, 30, 40, 50]),
    "share": torch.tensor([1.0, 3.0, NAN, 5.0]),
    "raw": torch.tensor([1.5, NAN, -2.0, 0.25]),
}
SCALING = {"price": (1.0, 2.0), "age": (30.0, 10.0), "share": [1.0, 4.0]}
V = [[-0.5, 0.0, -1.0, 0.0], [-1.0, 0.0, 1.0, 2.0], [0.0, 0.5, 0.0, 1.0], [1.5, 0.0, -2.0, 0.25]]
"""Columns of v after those of the id, of price, age, share and raw."""

layouts = pytest.mark.parametrize("layout", LAYOUTS)


def made(layout: str, text: str = TEXT, **options: Any) -> tuple[nn.Module, ModuleType]:
    loaded = homespec.loads(text)
    code, model = homespec.build_with_module(loaded, optimize=LAYOUTS[layout], **options)
    return model, code  # type: ignore[return-value]


def ready(layout: str, **options: Any) -> tuple[nn.Module, ModuleType]:
    model, code = made(layout, **options)
    code.set_scaling(model, SCALING)
    return model, code


@layouts
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_by_hand(layout: str, dtype: torch.dtype) -> None:
    model, _ = ready(layout, dtype=dtype)
    v = model.features(FEATURES)
    assert v.dtype == dtype  # whatever the types of columns are
    torch.testing.assert_close(v[:, 2:], torch.tensor(V, dtype=dtype).T)


@layouts
def test_a_logical_name_for_each(layout: str) -> None:
    _, code = made(layout)
    model, _ = ready(layout)
    state = code.logical_state(model)
    names = {name for name in state if name.startswith("features.")}
    assert names == {f"features.{n}.scaling" for n in SCALING} | {"features.id.weight"}
    assert state["features.age.scaling"].tolist() == [30.0, 10.0]
    other, code = made({"optimised": "plain", "plain": "optimised"}[layout])
    code.load_logical_state(other, state)
    assert torch.equal(model.features(FEATURES), other.features(FEATURES))


@layouts
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_no_cast_rounds_what_is_fitted(layout: str, dtype: torch.dtype) -> None:
    """Milliseconds since 1970 and the mean of a day: float32 would know nothing below minutes."""
    model, code = ready(layout)
    times = torch.tensor([1_700_000_000_000 + 3_600_000 * hour for hour in (-1, 0, 1, 2)])
    code.set_scaling(model, SCALING | {"age": (1.7e12, 3.6e6)})
    model = copy.deepcopy(model.to(dtype))
    assert code.logical_state(model)["features.age.scaling"].dtype == torch.float64
    v = model.features(FEATURES | {"age": times})
    assert v.dtype == dtype
    assert v[:, 3].tolist() == [-1.0, 0.0, 1.0, 2.0]


@layouts
def test_a_new_model_refuses_until_it_is_set(layout: str) -> None:
    model, code = made(layout)
    with pytest.raises(
        ValueError, match=r"of price, age, share are not known: .* call set_scaling, or"
    ):
        model(FEATURES)
    with pytest.raises(KeyError, match=r"missing \['share'\], unknown \['raw'\]"):
        code.set_scaling(model, {"price": (0, 1), "age": (0, 1), "raw": (0, 1)})
    for wrong in ((NAN, 1.0), (0.0, 0.0), (0.0, -1.0), (0.0, math.inf), (1.0,), (1.0, 2.0, 3.0)):
        with pytest.raises(ValueError, match="scaling of age must be a finite offset and a unit"):
            code.set_scaling(model, SCALING | {"age": wrong})
    assert code.logical_state(model)["features.price.scaling"].isnan().all()
    code.set_scaling(model, SCALING)
    model.eval()(FEATURES)
    with pytest.raises(ValueError, match=r"age is torch\.float16, which has too few digits"):
        model(FEATURES | {"age": FEATURES["age"].half()})
    with pytest.raises(ValueError, match="age"):
        model(FEATURES | {"age": FEATURES["age"].unsqueeze(1)})


@layouts
def test_both_kinds_of_what_is_fitted(layout: str) -> None:
    text = TEXT.replace("  raw:", "  days: {bucketize: {quantiles: 3}, dim: 2}\n  raw:")
    model, code = made(layout, text)
    features = FEATURES | {"days": torch.rand(4)}
    with pytest.raises(
        ValueError, match=r"of days, price, age, share are not known: .*scaling and set_boundaries"
    ):
        model(features)
    code.set_scaling(model, SCALING)
    assert model.unset == ("days",)
    code.set_boundaries(model, {"days": [0.2, 0.5]})
    assert model.unset == ()
    fresh, _ = made(layout, text)
    fresh.load_state_dict(model.state_dict())
    assert fresh.unset == ()
    torch.testing.assert_close(model.eval()(features), fresh.eval()(features))


@pytest.mark.parametrize("tasks", [None, ["like"]])
def test_files_for_inference_take_it_with_the_weights(tasks: list[str] | None) -> None:
    model, code = ready("plain")
    serving = homespec.build_module(homespec.loads(TEXT), mode="inference", tasks=tasks)
    served = serving.Model()
    with pytest.raises(ValueError, match="of price, age, share are not known"):
        served(FEATURES)
    serving.load_logical_state(served, code.logical_state(model))
    expected = model.eval()(FEATURES)
    for task, logit in served(FEATURES).items():
        torch.testing.assert_close(logit, expected[task])
    assert list(serving.ordered(FEATURES)) == list(FEATURES)


def test_compiled_it_is_one_graph_and_the_same() -> None:
    model, _ = ready("optimised")
    fast = compiled(model.features.forward, dynamic=True)
    torch.testing.assert_close(fast(FEATURES), model.features(FEATURES))


def test_the_logarithm_is_odd_and_exact_near_0() -> None:
    model, code = ready("optimised", dtype=torch.float64)
    code.set_scaling(model, SCALING | {"price": (0.0, 1.0)})

    def log_of(*x: float) -> Tensor:
        return model.features(FEATURES | {"price": torch.tensor(x, dtype=torch.float64)})[:, 2]

    numbers = (1e-12, 3.0, 1e6, 1e38)
    expected = torch.tensor([math.log1p(x) for x in numbers], dtype=torch.float64)
    torch.testing.assert_close(log_of(*numbers), expected, rtol=1e-14, atol=0)
    assert torch.equal(log_of(*(-x for x in numbers)), -log_of(*numbers))


def test_a_file_without_numbers_has_nothing_of_it() -> None:
    source = homespec.compile(
        homespec.loads(TEXT.split("  price")[0] + TEXT[TEXT.index("tasks") :])
    )
    assert "scaling" not in source.lower()


def test_the_line_of_a_number() -> None:
    source = homespec.compile(homespec.loads(TEXT))
    for line in ("price log_scaled()", 'age scaled("standard")', "raw number()"):
        name, call = line.split()
        assert f'"{name}": {call},' in source
