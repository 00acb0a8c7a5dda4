"""Numbers of a spec: at their limits they train in float32, beyond they are refused."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import torch

import homespec
from homespec.schema.editor_schema import json_schema
from homespec.schema.numbers import REASONS
from homespec.source import parse

SPEC = """\
homespec: 1
name: limits
features: {{tab: {{id: {{vocab: 5}}, dim: 4}}, text: {{dense: 3}}}}
groups: {{watch: [click, seconds], social: [like]}}
tasks:
  click: {{{task}}}
  like: {{}}
  seconds: {{{regression}}}
experts: {{{experts}}}
gates: {{feature: {{rank: 1}}}}
"""
LIMITS = {
    "rate": ("task", "rate: {}", 1e-9, 0.999999),
    "weight": ("task", "weight: {}", 1e-9, 1e9),
    "scale": ("regression", "kind: regression, scale: {}", 1e-6, 1e12),
    "norm_eps": ("experts", "norm_eps: {}", 1e-12, 1),
    "norm_momentum": ("experts", "norm_momentum: {}", 1e-6, 1),
}
BEYOND = [
    *((key, value) for key in LIMITS for value in ("1e-46", "1e-300", "1e39", "1e300")),
    *((key, value) for key in LIMITS for value in ("-1", ".inf", "-.inf", ".nan")),
    ("rate", "0"),
    ("rate", "1"),
    ("rate", "0.99999998"),
    ("norm_eps", "0"),
    ("norm_momentum", "0"),
    ("norm_momentum", "1.001"),
    ("scale", "0"),
]


def text(key: str, value: str) -> str:
    place, form, _, _ = LIMITS[key]
    parts = {"task": "", "regression": "kind: regression", "experts": ""}
    return SPEC.format(**(parts | {place: form.format(value)}))


def by_json_schema(spec: str) -> bool:
    document = parse(spec, "x.yaml")
    return jsonschema.Draft202012Validator(json_schema()).is_valid(document.data)


@pytest.mark.parametrize(("key", "value"), BEYOND)
def test_beyond_the_limits(key: str, value: str) -> None:
    with pytest.raises(homespec.SpecError) as caught:
        homespec.loads(text(key, value))
    (diagnostic,) = caught.value.report.diagnostics
    assert diagnostic.rule.name == "out-of-range"
    assert REASONS[key] in diagnostic.help or "finite" in diagnostic.help
    if value != ".nan":  # which JSON does not have
        assert not by_json_schema(text(key, value))


@pytest.mark.parametrize("style", ["", "norm: layer, ", "norm: none, activation: dice, "])
@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key in LIMITS for value in LIMITS[key][2:]]
)
def test_at_the_limits(key: str, value: float, style: str) -> None:
    """Losses and gradients are finite, also of channels that do not vary."""
    place, form, _, _ = LIMITS[key]
    parts = {"task": "", "regression": "kind: regression", "experts": ""}
    parts[place] = form.format(value)
    spec = SPEC.format(**(parts | {"experts": style + parts["experts"]}))
    assert by_json_schema(spec)
    torch.manual_seed(0)
    loaded = homespec.loads(spec)
    code: Any = homespec.build_module(loaded)
    model = code.Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for constant in (False, True, False):
        numbers = torch.zeros(32, 3) if constant else torch.randn(32, 3)
        tab = torch.zeros(32, dtype=torch.long) if constant else torch.randint(5, (32,))
        labels = {task: torch.randint(2, (32,)).float() for task in code.TASKS}
        loss = code.loss(model({"tab": tab, "text": numbers}), labels)
        optimizer.zero_grad()
        loss.backward()
        assert loss.isfinite()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
    assert all(p.isfinite().all() for p in model.parameters())


def test_a_weight_may_be_zero() -> None:
    spec = homespec.loads(SPEC.format(task="rate: 0.1", regression="kind: regression", experts=""))
    assert by_json_schema(text("weight", "0"))
    assert spec.tasks["click"].weight == 1
    with pytest.raises(homespec.SpecError) as caught:
        homespec.loads(text("weight", "0"))
    assert {d.rule.name for d in caught.value.report.diagnostics} == {"dead-parameters"}


def test_limits_are_written_short() -> None:
    with pytest.raises(homespec.SpecError) as caught:
        homespec.loads(text("norm_eps", "1e-46"))
    (diagnostic,) = caught.value.report.diagnostics
    assert diagnostic.message == (
        "`experts.norm_eps` is 1e-46; it must be greater than or equal to 1e-12"
    )


@pytest.mark.parametrize("number", ["9007199254740992", "-9007199254740993", "1e16", "1e400"])
def test_labels_compare_with_numbers_that_float64_holds(number: str) -> None:
    with pytest.raises(homespec.SpecError) as caught:
        homespec.loads(text("rate", f"0.1, label: 'user_id == {number}'"))
    (diagnostic,) = caught.value.report.diagnostics
    assert diagnostic.rule.name == "bad-label"
    assert f"{number} is not below 2^53" in diagnostic.message
    homespec.loads(text("rate", "0.1, label: 'user_id == 9007199254740991'"))
