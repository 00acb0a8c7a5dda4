"""Shared tables, fitted boundaries and dense vectors: by hand, in all files, and as told."""

from __future__ import annotations

import copy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from hierarchies import random_spec
from input_specs import field_of
from parity import LAYOUTS, compare
from reference import Reference
from topologies import random_family, random_topology
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import homespec
from homespec.analysis.costs import weights_of
from homespec.analysis.summary import summarise
from homespec.bench.candidates import build
from homespec.bench.candidates import weights_of as bench_weights
from homespec.bench.gemms import gemms_of
from homespec.bench.random_batch import random_features
from homespec.schema.input_tensors import InputTensor, input_tensors
from homespec.train.torch_compile import obstacle

torch.set_num_threads(1)

ROOT = Path(__file__).parents[1]
NAN = float("nan")
TEXT = """\
homespec: 1
name: small
family: mmoe
features:
  video: {id: {vocab: 5}, dim: 4}
  last_video: {table: video, column: last}
  age: {bucketize: [10, 20], dim: 2}
  author_age: {table: age}
  days: {bucketize: {quantiles: 4}, dim: 4}
  days_before: {table: days}
  text: {dense: 3, project: 2, missing: learned}
tasks: {click: {}, like: {}}
experts: {width: 4, norm: batch, activation: swish}
"""
FEATURES = {
    "video": torch.tensor([0, 4, 5, -1, -7, 2]),
    "last_video": torch.tensor([4, 0, -1, 9, -2, 2]),
    "age": torch.tensor([9.0, 10.0, 19.0, 20.0, NAN, -1.0]),
    "author_age": torch.tensor([NAN, 20.0, 10.0, 9.0, 25.0, 15.0]),
    "days": torch.tensor([0.0, 1.0, 2.0, 5.0, NAN, 3.0]),
    "days_before": torch.tensor([NAN, 5.0, 0.0, 1.0, 2.0, 4.0]),
    "text": torch.tensor(
        [[1.0, 2.0, 3.0], [NAN, 1.0, 1.0], [NAN, NAN, NAN], [0.0] * 3, [1.0] * 3, [2.0] * 3]
    ),
}
BOUNDARIES = {"days": [1.0, 1.0, 3.0]}
VIDEO_ROWS = {"video": [1, 5, 0, 0, 0, 3], "last_video": [5, 1, 0, 0, 0, 3]}
AGE_ROWS = {"age": [1, 2, 2, 3, 0, 1], "author_age": [0, 3, 2, 1, 3, 2]}
DAYS_ROWS = {"days": [1, 3, 3, 4, 0, 4], "days_before": [0, 4, 1, 3, 3, 4]}
COLUMNS = {
    "video": (0, 4), "last_video": (4, 8), "age": (8, 10), "author_age": (10, 12),
    "days": (12, 16), "days_before": (16, 20), "text": (20, 22),
}  # fmt: skip


def made(layout: str, text: str = TEXT, **options: Any) -> tuple[nn.Module, ModuleType]:
    """A new model and its module."""
    loaded = homespec.loads(text)
    optimize = LAYOUTS[layout]
    code = homespec.build_module(loaded, optimize=optimize, **options)
    return homespec.build(loaded, optimize=optimize, dtype=torch.float64, **options), code


def ready(layout: str) -> tuple[nn.Module, ModuleType]:
    model, code = made(layout)
    code.set_boundaries(model, BOUNDARIES)
    return model, code


layouts = pytest.mark.parametrize("layout", LAYOUTS)


# ---------------------------------------------------------------- shared tables


@layouts
def test_rows_of_owner_and_sharer_by_hand(layout: str) -> None:
    """Known, unknown, missing and negative ids; NaN and values on a boundary; empty buckets."""
    model, code = ready(layout)
    v, state = model.features(FEATURES), code.logical_state(model)
    for owner, rows in (("video", VIDEO_ROWS), ("age", AGE_ROWS), ("days", DAYS_ROWS)):
        for name, wanted in rows.items():
            low, high = COLUMNS[name]
            assert torch.equal(v[:, low:high], state[f"features.{owner}.weight"][wanted]), name


@layouts
def test_one_logical_name_and_one_gradient_of_both(layout: str) -> None:
    model, code = ready(layout)
    names = {name for name in code.logical_state(model) if name.startswith("features.")}
    assert names == {
        "features.video.weight", "features.age.weight", "features.days.weight",
        "features.days.boundaries", "features.text.missing", "features.text.projection.weight",
        "features.text.projection.bias",
    }  # fmt: skip
    model.features(FEATURES)[:, :8].sum().backward()
    tables = [p for n, p in model.named_parameters() if p.shape[1:] == (4,) and "features" in n]
    found = torch.cat([p.grad for p in tables if p.grad is not None])
    counts = torch.tensor([VIDEO_ROWS[n].count(row) for row in range(6) for n in VIDEO_ROWS])
    assert torch.equal(found[:6, 0], counts.view(6, 2).sum(1).double())


def test_a_sequence_may_be_of_a_feature_that_shares_a_table() -> None:
    search = "{sim: {search: hard, by: last_video, top: 2}}"
    past_ = f"past: {{sequence: {{of: [last_video, age], max_len: 3, encoder: {search}}}}}"
    text = TEXT.replace("tasks:", f"  {past_}\ntasks:")
    past = {"past.last_video": torch.tensor([[4, 1, -1]] * 6), "past.age": torch.rand(6, 3) * 30}
    found = []
    for layout in LAYOUTS:
        model, code = made(layout, text)
        state = code.logical_state(model)
        state = {name: torch.arange(t.numel()).view(t.shape).cos() for name, t in state.items()}
        state["features.days.boundaries"] = torch.tensor(BOUNDARIES["days"])
        code.load_logical_state(model, state)
        found.append(model.features(FEATURES | past))
    torch.testing.assert_close(*found)
    assert found[0][0, 22:].any()  # its candidate is 4, too
    assert not found[0][2, 22:].any()  # its candidate is missing


def test_tables_that_are_not_merged_compute_the_same() -> None:
    spec = {
        "homespec": 1, "name": "t", "family": "mmoe", "tasks": {"a": {}, "b": {}},
        "features": {
            "x": {"id": {"buckets": 5}, "dim": 3}, "y": {"table": "x"}, "z": {"table": "x"},
            "n": {"bucketize": {"quantiles": 3}, "dim": 3}, "m": {"table": "n"},
        },
        "experts": {"width": 4},
    }  # fmt: skip
    compare(spec, Reference(spec), 3)
    compare(spec, Reference(spec), 3, ["optimised"], skip_passes=["batch-features"])


def test_as_many_look_ups_as_widths() -> None:
    """Forward and backward, whatever the number of features; the plain form has one for each."""
    widths = [4, 8, 16]
    features = {f"f{i}": {"id": {"buckets": 50}, "dim": widths[i % 3]} for i in range(36)}
    features |= {f"g{i}": {"table": f"f{i}"} for i in range(4)}
    spec = {
        "homespec": 1, "name": "wide", "features": features, "family": "shared_bottom",
        "tasks": {"a": {}, "b": {}},
    }  # fmt: skip
    text, ids = yaml.safe_dump(spec), {name: torch.arange(8) for name in features}
    for layout, wanted in (("optimised", 3), ("plain", 40)):
        with Operations() as seen:
            made(layout, text)[0].features(ids).sum().backward()
        assert seen.found.count("aten.embedding.default") == wanted
        assert seen.found.count("aten.embedding_dense_backward.default") == wanted


def test_the_look_ups_of_a_batch_of_kuairand_are_two() -> None:
    """Of 48 inputs with a table, the fields of the history among them."""
    spec = homespec.load(ROOT / "specs" / "kuairand.yaml")
    model = homespec.build(spec)
    with Operations() as seen:
        model.features(random_features(spec, 8, "cpu")).sum().backward()
    assert seen.found.count("aten.embedding.default") == 2
    assert seen.found.count("aten.embedding_dense_backward.default") == 2


class Operations(TorchDispatchMode):
    """The names of all operations, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found.append(str(func))
        return func(*args, **(kwargs or {}))


def test_random_specs_have_all_of_it() -> None:
    seen = set()
    for draw in (random_spec, random_family, random_topology):
        for spec in map(draw, range(60)):
            features = spec["features"]
            for name, feature in features.items():
                if "table" in feature:
                    owner = field_of(spec, name)
                    seen.add(("table of", "quantiles" if is_fitted(owner) else next(iter(owner))))
                if "sequence" in feature:
                    of = [features[field] for field in feature["sequence"]["of"]]
                    seen |= {("sequence of", "table") for field in of if "table" in field}
                    seen |= {("sequence of", "quantiles") for field in of if is_fitted(field)}
                    own = feature["sequence"].get("with", {}).values()
                    seen |= {("events", "table") for field in own if "table" in field}
                    seen |= {("events", "quantiles") for field in own if is_fitted(field)}
                seen |= {("dense", key) for key in ("project", "missing") if key in feature}
            seen |= {("quantiles",) for feature in features.values() if is_fitted(feature)}
    assert seen >= {
        ("table of", "id"), ("table of", "bucketize"), ("table of", "quantiles"), ("quantiles",),
        ("sequence of", "table"), ("sequence of", "quantiles"), ("dense", "project"),
        ("dense", "missing"), ("events", "table"), ("events", "quantiles"),
    }  # fmt: skip


def is_fitted(feature: dict[str, Any]) -> bool:
    return isinstance(feature.get("bucketize"), dict)


# ---------------------------------------------------------------- fitted boundaries


@layouts
@pytest.mark.parametrize("mode", ["training", "inference"])
def test_a_new_model_says_which_boundaries_are_not_known(layout: str, mode: str) -> None:
    model, _ = made(layout, mode=mode)
    with pytest.raises(ValueError, match=r"boundaries of days are not known: fit them.*set_bound"):
        model(FEATURES)


@layouts
def test_every_way_to_load_them_makes_the_model_usable(layout: str) -> None:
    model, code = ready(layout)
    expected = model.eval()(FEATURES)
    by_name, by_torch = made(layout)[0].eval(), made(layout)[0].eval()
    code.load_logical_state(by_name, code.logical_state(model))
    by_torch.load_state_dict(model.state_dict())
    for other in (by_name, by_torch, copy.deepcopy(model)):
        assert all(torch.equal(logit, expected[task]) for task, logit in other(FEATURES).items())
    by_name.load_state_dict(made(layout)[0].state_dict())
    with pytest.raises(ValueError, match="days"):
        by_name(FEATURES)  # the boundaries of a new model took the place of its own


@layouts
def test_wrong_boundaries_are_refused_and_leave_the_model(layout: str) -> None:
    model, code = ready(layout)
    for wrong, error, said in (
        ({}, KeyError, r"missing \['days'\]"),
        ({**BOUNDARIES, "age": [1.0]}, KeyError, r"unknown \['age'\]"),
        ({"days": [1.0]}, ValueError, "needs 3 boundaries, not 1"),
        ({"days": [1.0, 3.0, 2.0]}, ValueError, "ascend"),
        ({"days": [1.0, 2.0, NAN]}, ValueError, "finite"),
    ):
        with pytest.raises(error, match=said):
            code.set_boundaries(model, wrong)
    assert code.logical_state(model)["features.days.boundaries"].tolist() == BOUNDARIES["days"]


@layouts
def test_the_check_reads_no_tensor(layout: str) -> None:
    """On a GPU that would wait for the device in each step."""
    model, _ = ready(layout)
    with Operations() as reads:
        model(FEATURES)
    assert "aten.embedding.default" in reads.found
    assert not [op for op in reads.found if "_local_scalar_dense" in op or "nonzero" in op]


@layouts
def test_one_graph_with_the_check_inside(layout: str) -> None:
    """torch.compile of the whole model traces its hooks, too."""
    model, _ = ready(layout)
    compiled = torch.compile(model.eval(), fullgraph=True, backend="eager")
    expected = model(FEATURES)
    for task, logit in compiled(FEATURES).items():
        torch.testing.assert_close(logit, expected[task])


def test_pruned_and_inference_files_have_the_boundaries() -> None:
    full, code = ready("optimised")
    expected = full.eval()(FEATURES)["like"]
    pruned: dict[str, Any] = {"tasks": ["like"]}
    for options in (pruned, {"mode": "inference"}, pruned | {"mode": "inference"}):
        for layout in LAYOUTS:
            model, module = made(layout, **options)
            module.load_logical_state(model, code.logical_state(full))
            torch.testing.assert_close(model.eval()(FEATURES)["like"], expected)


# ---------------------------------------------------------------- dense vectors


@layouts
def test_dense_by_hand(layout: str) -> None:
    """Single NaN become 0; a vector that is missing as a whole becomes the learned one."""
    model, code = ready(layout)
    state = code.logical_state(model)
    state["features.text.missing"].copy_(torch.tensor([5.0, 6.0, 7.0]))
    taken = torch.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, 1.0], [5.0, 6.0, 7.0]]).double()
    weight, bias = (state[f"features.text.projection.{part}"] for part in ("weight", "bias"))
    torch.testing.assert_close(model.features(FEATURES)[:3, 20:], taken @ weight.T + bias)


@layouts
def test_every_parameter_gets_a_gradient(layout: str) -> None:
    model, code = ready(layout)
    labels = {task: torch.tensor([0.0, 1, 1, 0, 1, 0]) for task in code.TASKS}
    code.loss(model(FEATURES), labels).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if name.startswith("features."):
            assert parameter.grad.abs().max() > 0, name


# ---------------------------------------------------------------- what is told of them


def test_tensors() -> None:
    found = {tensor.name: tensor for tensor in input_tensors(homespec.loads(TEXT))}
    assert found["last_video"] == InputTensor(
        "last_video", "last_video", "last", "id", vocab=5, table="video"
    )
    assert found["author_age"] == InputTensor(
        "author_age", "author_age", "author_age", "number", table="age"
    )
    assert found["days"].kind == found["days_before"].kind == "number"
    assert (found["text"].kind, found["text"].width) == ("vector", 3)


def test_show_counts_a_shared_table_once() -> None:
    summary = summarise(homespec.loads(TEXT).analysis)
    rows = {r.name: (r.kind, r.rows, r.width, r.cost.parameters) for r in summary.features}
    assert rows == {
        "video": ("id", 6, 4, 24),
        "last_video": ("in the table of video", 0, 4, 0),
        "age": ("bucketize", 4, 2, 8),
        "author_age": ("in the table of age", 0, 2, 0),
        "days": ("4 quantiles", 5, 4, 20),
        "days_before": ("in the table of days", 0, 4, 0),
        "text": ("dense 3→2, learned if missing", 0, 2, 3 + 8),
    }
    model, _ = made("optimised")
    assert summary.total.parameters == sum(p.numel() for p in model.parameters())


def test_floor_knows_the_projection() -> None:
    graph = homespec.loads(TEXT).analysis.graph
    (gemm,) = [gemm for gemm in gemms_of(graph) if gemm.name == "features.text.projection"]
    assert (gemm.inputs, gemm.outputs, gemm.needs_dx) == (3, 2, True)
    weights = [w.name for node in graph for w in weights_of(node) if w.multiplied]
    assert "features.text.projection.weight" in weights


def test_bench_gives_boundaries() -> None:
    spec = homespec.loads(TEXT)
    weights: dict[str, Tensor] = bench_weights(spec)
    assert weights["features.days.boundaries"].tolist() == [0.25, 0.5, 0.75]
    built = build(spec, "ours", weights, 8, "cpu", "float32")
    assert built.backward().isfinite()


@pytest.mark.compiles
@pytest.mark.skipif(obstacle() is not None, reason="torch.compile cannot work on this machine")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, in importing inductor
def test_compiled_it_computes_the_same() -> None:
    loaded = homespec.loads(TEXT)
    code = homespec.build_module(loaded)
    eager, compiled = homespec.build(loaded), homespec.build(loaded, compile=True)
    with pytest.raises(ValueError, match="boundaries of days are not known"):
        compiled(FEATURES)
    code.set_boundaries(eager, BOUNDARIES)
    code.load_logical_state(compiled, code.logical_state(eager))
    labels = {task: torch.tensor([0.0, 1, 1, 0, 1, 0]) for task in code.TASKS}
    for model in (eager, compiled):
        code.loss(model(FEATURES), labels).backward()
    for one, other in zip(eager.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------- wrong types, odd names


@layouts
@pytest.mark.parametrize("mode", ["training", "inference"])
@pytest.mark.parametrize(
    ("name", "dtype", "message"),
    [
        ("video", torch.float32, "video is an id, so it must be integers, not torch.float32"),
        ("last_video", torch.bool, "last_video is an id, so it must be integers, not torch.bool"),
        ("age", torch.float16, "age is torch.float16, which has too few digits"),
        ("days_before", torch.bfloat16, "days_before is torch.bfloat16, which has too few digits"),
    ],
)
def test_a_wrong_type_is_named(
    layout: str, mode: str, name: str, dtype: torch.dtype, message: str
) -> None:
    model, code = made(layout, mode=mode)
    code.set_boundaries(model, BOUNDARIES)
    with pytest.raises(ValueError, match=f"^{message}"):
        model({**FEATURES, name: FEATURES[name].to(dtype)})


@layouts
def test_ids_may_be_any_integers(layout: str) -> None:
    model, _ = ready(layout)
    expected = model.eval()(FEATURES)["like"]
    for dtype in (torch.int32, torch.int16, torch.int8):
        ids = {name: FEATURES[name].to(dtype) for name in ("video", "last_video")}
        assert torch.equal(model({**FEATURES, **ids})["like"], expected)


OWN_NAMES = (
    "fields", "parts", "rows", "tables", "hashed", "vocab", "bucketized", "boundaries", "fitted",
    "dense", "vectors", "encoders", "starts", "slices", "groups", "kinds", "name", "field", "path",
    "table", "found", "masks",
)  # fmt: skip


def test_features_may_be_called_as_what_holds_them() -> None:
    """Attributes and variables of the generated `Features`."""
    kinds = ["{id: {vocab: 5}, dim: 4}", "{bucketize: [0.5], dim: 4}", "{dense: 4, project: 2}",
             "{bucketize: {quantiles: 3}, dim: 4}"]  # fmt: skip
    features = "".join(f"  {name}: {kinds[i % 4]}\n" for i, name in enumerate(OWN_NAMES))
    past = "  seen: {sequence: {of: [fields, hashed], max_len: 2, encoder: din}}\n"
    spec = yaml.safe_load(
        f"homespec: 1\nname: m\nfamily: mmoe\nfeatures:\n{features}{past}"
        "tasks: {a: {}, b: {}}\nexperts: {width: 4}\n"
    )
    compare(spec, Reference(spec), 1)


def test_each_line_of_features_names_its_line_of_the_spec(tmp_path: Any) -> None:
    """Lines of a file that the spec extends come with its name."""
    base = tmp_path / "base.yaml"
    base.write_text("homespec: 1\nfeatures:\n  user: {id: {buckets: 9}, dim: 4}\n")
    over = tmp_path / "over.yaml"
    over.write_text(
        "homespec: 1\nname: over\nextends: base.yaml\nfamily: mmoe\nfeatures:\n"
        "  age: {bucketize: [1, 2], dim: 4}\ntasks: {a: {}, b: {}}\n"
    )
    text = homespec.compile(over)
    assert '\n    "user": hashed(9, dim=4),  # base.yaml:3\n' in text
    assert '\n    "age": bucketized(1, 2, dim=4),  # :6\n' in text
