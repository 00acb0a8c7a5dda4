"""Fields that only events have, in the table of a feature or with fitted boundaries."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import yaml
from parity import LAYOUTS, compare, load
from reference import Reference
from test_sequences import spec_of
from torch import nn

import homespec
from homespec.analysis.describe_sequences import describe_sequences
from homespec.analysis.expand import expanded
from homespec.analysis.summary import summarise
from homespec.bench.random_batch import even_boundaries, random_features
from homespec.drawing.text import as_text
from homespec.schema.fitted_columns import FittedColumn, fitted_columns
from homespec.schema.input_tensors import InputTensor, input_tensors

torch.set_num_threads(1)

NAN = float("nan")
WITH = {
    "last": {"table": "video"},
    "hour": {"table": "age"},
    "delay": {"bucketize": {"quantiles": 3}, "dim": 2},
}
SPEC = spec_of("mean", max_len=3, fields=WITH)
BOUNDARIES = {"history.delay": [1.0, 2.0]}
FEATURES = {
    "user": torch.tensor([1, 2]),
    "video": torch.tensor([3, 4]),
    "tag": torch.tensor([0, 1]),
    "age": torch.tensor([0.5, 2.0]),
    "history.video": torch.tensor([[5, -1, -1], [-1, -1, -1]]),
    "history.tag": torch.tensor([[2, 9, 9], [9, 9, 9]]),
    "history.last": torch.tensor([[11, 3, 3], [3, 3, 3]]),
    "history.hour": torch.tensor([[1.0, 9.0, 9.0], [9.0, 9.0, 9.0]]),
    "history.delay": torch.tensor([[1.5, 9.0, 9.0], [9.0, 9.0, 9.0]]),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS)


def made(layout: str, spec: Any = SPEC, **options: Any) -> tuple[nn.Module, Any]:
    """A new model and its module."""
    loaded, optimize = load(spec), LAYOUTS[layout]
    code = homespec.build_module(loaded, optimize=optimize, **options)
    return homespec.build(loaded, optimize=optimize, dtype=torch.float64, **options), code


@layouts
def test_rows_and_names_by_hand(layout: str) -> None:
    """One event is there: video 5, tag 2, last 11, hour 1 and delay 1.5, in the second bucket."""
    model, code = made(layout)
    code.set_boundaries(model, BOUNDARIES)
    state = code.logical_state(model)
    own = {name for name in state if name.startswith("features.history")}
    assert own == {"features.history.delay.weight", "features.history.delay.boundaries"}
    rows = [("video", 6), ("tag", 3), ("video", 12), ("age", 3), ("history.delay", 2)]
    wanted = torch.cat([state[f"features.{name}.weight"][row] for name, row in rows])
    v = model.features(FEATURES)
    assert torch.equal(v[0, 13:], wanted)
    assert not v[1, 13:].any()
    v[:, 13:].sum().backward()
    wide = [p for p in model.parameters() if p.grad is not None and p.shape[1:] == (4,)]
    touched = sum(torch.count_nonzero(p.grad[:, 0]).item() for p in wide)
    assert touched == 2  # videos 5 and 11, in one table


@layouts
def test_boundaries_are_part_of_the_weights(layout: str) -> None:
    model, code = made(layout)
    with pytest.raises(ValueError, match=r"boundaries of history\.delay are not known"):
        model(FEATURES)
    with pytest.raises(KeyError, match=r"missing \['history\.delay'\]"):
        code.set_boundaries(model, {"delay": [1.0, 2.0]})
    code.set_boundaries(model, BOUNDARIES)
    expected = model.eval()(FEATURES)
    pruned: dict[str, Any] = {"tasks": ["like"]}
    for options in ({}, pruned, {"mode": "inference"}, pruned | {"mode": "inference"}):
        for other_layout in LAYOUTS:
            other, module = made(other_layout, **options)
            module.load_logical_state(other, code.logical_state(model))
            torch.testing.assert_close(other.eval()(FEATURES)["like"], expected["like"])
    by_torch = made(layout)[0].eval()
    by_torch.load_state_dict(model.state_dict())
    assert torch.equal(by_torch(FEATURES)["like"], expected["like"])


@pytest.mark.parametrize(
    "encoder",
    ["din", {"dien": {"width": 3}}, {"sim": {"top": 2}},
     {"sim": {"search": "hard", "by": "tag", "top": 2}}, {"twin": {"top": 2, "heads": 2}}],
    ids=str,
)  # fmt: skip
def test_every_encoder_is_its_oracle(encoder: Any) -> None:
    spec = spec_of(encoder, max_len=4, fields=WITH)
    compare(spec, Reference(spec), 1)
    compare(spec, Reference(spec), 2, ["optimised"], skip_passes=["batch-features"])


def test_an_owner_with_fitted_boundaries() -> None:
    spec = spec_of("mean", fields={"before": {"table": "days"}})
    spec["features"]["days"] = {"bucketize": {"quantiles": 4}, "dim": 3}
    assert fitted_columns(load(spec)) == {"days": FittedColumn("days", 4)}
    compare(spec, Reference(spec), 3)


def test_names_that_meet_are_kept_apart() -> None:
    """`a.b_c`, `a_b.c` and a feature `a_b_c`, all fitted, in every form."""
    spec = spec_of("mean", fields=None)
    number = {"bucketize": {"quantiles": 3}, "dim": 2}
    spec["features"]["a_b_c"] = number
    for name, field in (("a", "b_c"), ("a_b", "c")):
        sequence = {"of": ["a_b_c"], "with": {field: number}, "max_len": 3, "encoder": "mean"}
        spec["features"][name] = {"sequence": sequence}
    compare(spec, Reference(spec), 1)
    compare(spec, Reference(spec), 1, ["optimised"], skip_passes=["batch-features"])


# ---------------------------------------------------------------- what is told of them


def test_tensors() -> None:
    tensors = {tensor.name: tensor for tensor in input_tensors(load(SPEC))}
    name = "history.last"
    assert tensors[name] == InputTensor(
        name, "history", "history_last", "id", length=3, vocab=12, table="video"
    )
    assert tensors["history.hour"].kind == tensors["history.delay"].kind == "number"
    spec = load(SPEC)
    assert fitted_columns(spec) == {
        "history.delay": FittedColumn("history_delay", 3, "history.video")
    }
    assert even_boundaries(spec) == {"history.delay": [1 / 3, 2 / 3]}
    features = random_features(spec, 2, "cpu")
    assert features["history.last"].shape == (2, 3)
    assert 0 <= features["history.last"].min() <= features["history.last"].max() < 12


def test_the_expanded_form_is_the_same_model() -> None:
    loaded = load(SPEC)
    again = homespec.loads(expanded(loaded.analysis))
    assert as_text(again.analysis.graph) == as_text(loaded.analysis.graph)
    assert input_tensors(again) == input_tensors(loaded)


def test_show_and_words() -> None:
    analysis = load(SPEC).analysis
    rows = {row.name: (row.kind, row.rows, row.width) for row in summarise(analysis).features}
    assert rows["history.delay"] == ("3 quantiles", 4, 2)
    assert "history.last" not in rows
    parameters = sum(p.numel() for p in made("optimised")[0].parameters())
    assert summarise(analysis).total.parameters == parameters
    assert list(describe_sequences(analysis.graph))[1] == (
        "  event, 15 wide: video 4, tag 2 as the candidate has; last 4 in the table of video; "
        "hour 3 in the table of age; delay 2 in tables of their own"
    )


def test_laid_over_it_changes_its_kind(tmp_path: Any) -> None:
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(SPEC))
    over = tmp_path / "over.yaml"
    field = "{bucketize: [1.0], dim: 5}"
    own = f"{{last: {field}, delay: {{bucketize: [1]}}}}"
    over.write_text(f"extends: base.yaml\nfeatures: {{history: {{sequence: {{with: {own}}}}}}}\n")
    with_ = homespec.load(over).features["history"].sequence.with_
    assert (with_["last"].table, with_["last"].dim) == ("", 5)
    assert (with_["delay"].boundaries, with_["delay"].quantiles) == ((1.0,), 0)
