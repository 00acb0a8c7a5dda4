"""Vectors as fields of events: encoders read them as the oracle does, wherever the model runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hierarchies import random_features, randomise
from parity import LAYOUTS, build, compare, load
from reference import Reference

import homespec
from homespec import runtime
from homespec.analysis.expand import expanded
from homespec.bench.random_batch import random_features as bench_features
from homespec.data import DataError
from homespec.data.plan import Plan
from homespec.schema.input_tensors import input_tensors
from homespec.train.torch_compile import obstacle

torch.set_num_threads(1)

ENCODERS: dict[str, Any] = {
    "mean": "mean",
    "din": {"din": {"hidden": [4]}},
    "softmax": {"din": {"hidden": [4], "activation": "relu", "softmax": True}},
    "dien": "dien",
    "hard": {"sim": {"search": "hard", "by": "tag", "top": 2}},
    "soft": {"sim": {"top": 2, "heads": 2}},
    "twin": {"twin": {"top": 2, "heads": 2}},
}


def spec_of(encoder: Any) -> dict[str, Any]:
    own = {"content": {"dense": 3}, "seen": {"id": {"vocab": 2}, "dim": 2}, "extra": {"dense": 1}}
    past = {"of": ["video", "tag"], "with": own, "max_len": 4, "encoder": encoder}
    return {
        "homespec": 1,
        "name": "vectors",
        "family": "mmoe",
        "features": {
            "user": {"id": {"buckets": 9}, "dim": 4},
            "video": {"id": {"buckets": 9}, "dim": 4},
            "tag": {"id": {"vocab": 3}, "dim": 2},
            "past": {"sequence": past},
        },
        "tasks": {"click": {}, "like": {}},
        "experts": {"width": 4, "hidden": []},
    }


def drawn(spec: dict[str, Any], seed: int, layout: str = "optimised", **options: Any) -> Any:
    """Model, module and a batch of 16 rows, with random weights."""
    generator = torch.Generator().manual_seed(seed)
    model, module = build(load(spec), layout, **options)
    module.load_logical_state(model, randomise(module.logical_state(model), generator))
    return model, module, random_features(spec, 16, generator)


@pytest.mark.parametrize("name", ENCODERS)
def test_each_encoder_is_its_oracle(name: str) -> None:
    spec = spec_of(ENCODERS[name])
    for seed in (1, 2):
        compare(spec, Reference(spec), seed)


def test_beside_dense_features_and_lists() -> None:
    spec = spec_of("dien")
    spec["features"]["text"] = {"dense": 5, "project": 2}
    spec["features"]["bare"] = {"dense": 2}
    spec["features"]["tags"] = {"table": "tag", "list": {"max_len": 3}}
    spec["features"]["twin"] = spec_of(ENCODERS["twin"])["features"]["past"]
    compare(spec, Reference(spec), 3)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["din", "soft", "twin"])
def test_inference_is_eval(name: str, layout: str) -> None:
    spec = spec_of(ENCODERS[name])
    full, module, features = drawn(spec, 0)
    options: Any = {"optimize": LAYOUTS[layout], "mode": "inference"}
    serving = homespec.build_module(load(spec), **options)
    model = homespec.build(load(spec), dtype=torch.float64, **options)
    serving.load_logical_state(model, module.logical_state(full))
    for task, logit in model(serving.ordered(features)).items():
        torch.testing.assert_close(logit, full.eval()(features)[task], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("user", [["past"], ["user", "video", "tag", "past"]])
@pytest.mark.parametrize("name", ENCODERS)
def test_one_users_history_for_many_candidates(name: str, user: list[str]) -> None:
    spec = spec_of(ENCODERS[name])
    spec["features"]["item"] = {"id": {"buckets": 5}, "dim": 3}
    full, module, features = drawn(spec, 0)
    options: Any = {"mode": "inference", "user_features": user}
    serving = homespec.build_module(load(spec), **options)
    model = homespec.build(load(spec), dtype=torch.float64, **options)
    serving.load_logical_state(model, module.logical_state(full))
    own = [key for key in features if key.partition(".")[0] in user]
    request = {n: t[:1] if n in own else t for n, t in features.items()}
    rows = {n: t[:1].expand(16, *t.shape[1:]) if n in own else t for n, t in features.items()}
    for task, logit in model(serving.ordered(request)).items():
        torch.testing.assert_close(logit, full.eval()(rows)[task], rtol=1e-10, atol=1e-10)


@pytest.mark.compiles
@pytest.mark.skipif(obstacle() is not None, reason="torch.compile cannot work on this machine")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, in importing inductor
@pytest.mark.parametrize("name", ["din", "twin"])
def test_compiled_is_eager(name: str) -> None:
    torch._dynamo.reset()
    model, module, features = drawn(spec_of(ENCODERS[name]), 1)
    fast = runtime.compiled(module.Model.forward, dynamic=False)
    weights = [p for p in model.parameters() if p.requires_grad]
    seen = []
    for forward in (module.Model.forward, fast):
        logits = forward(model.eval(), features)
        loss = torch.stack(list(logits.values())).square().sum()
        seen.append([*logits.values(), *torch.autograd.grad(loss, weights)])
    for found, expected in zip(*reversed(seen), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ENCODERS)
def test_half_precision_takes_vectors_as_they_are(name: str) -> None:
    spec = spec_of(ENCODERS[name])
    model = homespec.build(load(spec), dtype=torch.bfloat16).eval()
    features = bench_features(load(spec), 8, "cpu")
    assert features["past.content"].shape == (8, 4, 3)
    assert all(logit.dtype == torch.bfloat16 for logit in model(features).values())


def test_events_that_are_not_there_have_no_influence() -> None:
    for name in ENCODERS:
        model, _, features = drawn(spec_of(ENCODERS[name]), 2)
        gone = features["past.video"] == -1
        seen = []
        for other in (0.0, 7.0, torch.nan):
            features["past.content"] = features["past.content"].clone()
            features["past.content"][gone] = other
            seen.append(model.eval()(features)["click"])
        assert torch.equal(seen[0], seen[1]), name
        assert torch.equal(seen[0], seen[2]), name


def test_shapes_are_checked_and_the_explicit_form_is_the_same() -> None:
    spec = load(spec_of("mean"))
    tensors = {tensor.name: tensor for tensor in input_tensors(spec.analysis.spec)}
    content = tensors["past.content"]
    assert (content.kind, content.length, content.width) == ("vector", 4, 3)
    assert content.column == "past_content"
    model = homespec.build(spec)
    features = bench_features(spec, 4, "cpu")
    features["past.content"] = features["past.content"][:, :, :2]
    with pytest.raises(ValueError, match=r"past\.content must be \[4, 4, 3\], not \[4, 4, 2\]"):
        model(features)
    again = homespec.loads(expanded(spec.analysis))
    assert input_tensors(again.analysis.spec) == input_tensors(spec.analysis.spec)


# ---------------------------------------------------------------- the data


def arrays_of(tmp_path: Path, kind: Any, content: list[Any]) -> Any:
    rows = len(content)
    video = [None if c is None else list(range(len(c))) for c in content]
    spec = spec_of("mean")
    del spec["features"]["past"]["sequence"]["with"]["extra"]
    del spec["features"]["past"]["sequence"]["with"]["seen"]
    one = [1] * rows
    table = pa.table(
        {"user": one, "video": one, "tag": one, "click": one, "like": one}
        | {"past_video": video, "past_tag": video}
        | {"past_content": pa.array(content, kind)}
    )
    pq.write_table(table, tmp_path / "x.parquet")
    plan = Plan.of(load(spec).analysis.spec)
    return plan.convert(pq.read_table(tmp_path / "x.parquet")).features["past.content"]


@pytest.mark.parametrize("kind", [
    pa.list_(pa.list_(pa.float32())),
    pa.list_(pa.list_(pa.float32(), 3)),
    pa.large_list(pa.large_list(pa.float64())),
], ids=str)  # fmt: skip
def test_the_latest_events_are_kept_and_missing_vectors_are_nan(tmp_path: Path, kind: Any) -> None:
    vectors = [[float(i), 0.5, -1.0] for i in range(6)]
    found = arrays_of(tmp_path, kind, [vectors, [vectors[0], None], [], None])
    nan = [np.nan] * 3
    np.testing.assert_array_equal(found[0], vectors[2:])
    np.testing.assert_array_equal(found[1], [vectors[0], nan, nan, nan])
    assert np.isnan(found[2:]).all()
    assert found.dtype == np.float32


def test_vectors_of_another_length_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"`past_content` has a list of 2 numbers, .* says 3"):
        arrays_of(tmp_path, pa.list_(pa.list_(pa.float32())), [[[1.0, 2.0]]])
    with pytest.raises(DataError, match=r"`past_content` is float, not lists of 3 numbers"):
        arrays_of(tmp_path, pa.list_(pa.float32()), [[1.0, 2.0]])
