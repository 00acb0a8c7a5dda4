"""Lists of values of the candidate: pooled as the oracle pools them, wherever the model runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hierarchies import random_features, randomise
from input_specs import LISTS
from parity import LAYOUTS, build, compare, load
from reference import Reference
from torch import Tensor

import homespec
from homespec import runtime
from homespec.analysis.expand import expanded
from homespec.bench.random_batch import random_features as bench_features
from homespec.schema.input_tensors import input_tensors
from homespec.train.torch_compile import obstacle

torch.set_num_threads(1)

KINDS: dict[str, Any] = {
    "buckets": {"id": {"buckets": 5}, "dim": 3},
    "vocab": {"id": {"vocab": 4}, "dim": 3},
    "numbers": {"bucketize": [0.0, 1.0], "dim": 3},
    "fitted": {"bucketize": {"quantiles": 3}, "dim": 4},
    "shared": {"table": "user"},
}


def spec_of(features: dict[str, Any]) -> dict[str, Any]:
    user = {"user": {"id": {"buckets": 9}, "dim": 4}}
    return {
        "homespec": 1,
        "name": "lists",
        "family": "mmoe",
        "features": {**user, **features},
        "tasks": {"click": {}, "like": {}},
        "experts": {"width": 4, "hidden": []},
    }


def everything() -> dict[str, Any]:
    """A list of each kind, pooled in each way."""
    lists = {
        f"{kind}_{i}": {**KINDS[kind], "list": options}
        for kind in KINDS
        for i, options in enumerate(LISTS)
    }
    return spec_of(lists)


def drawn(spec: dict[str, Any], seed: int, layout: str = "optimised", **options: Any) -> Any:
    """Model, module and a batch of 16 rows, with random weights."""
    generator = torch.Generator().manual_seed(seed)
    model, module = build(load(spec), layout, **options)
    module.load_logical_state(model, randomise(module.logical_state(model), generator))
    return model, module, random_features(spec, 16, generator)


@pytest.mark.parametrize("options", LISTS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_each_list_is_its_oracle(kind: str, options: Any) -> None:
    spec = spec_of({"tags": {**KINDS[kind], "list": options}})
    for seed in (1, 2):
        compare(spec, Reference(spec), seed)


def test_all_lists_beside_sequences_are_the_oracle() -> None:
    spec = everything()
    history = {"of": ["user"], "max_len": 3, "encoder": {"sim": {"top": 2, "width": 4}}}
    history["with"] = {"tag": {"table": "vocab_0"}}
    spec["features"]["history"] = {"sequence": history}
    compare(spec, Reference(spec), 3)
    compare(spec, Reference(spec), 4, ["optimised"], skip_passes=["batch-features"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inference_is_eval(layout: str) -> None:
    spec = everything()
    full, module, features = drawn(spec, 0)
    serving = homespec.build_module(load(spec), optimize=LAYOUTS[layout], mode="inference")
    model = homespec.build(
        load(spec), optimize=LAYOUTS[layout], mode="inference", dtype=torch.float64
    )
    serving.load_logical_state(model, module.logical_state(full))
    for task, logit in model(features).items():
        torch.testing.assert_close(logit, full.eval()(features)[task], rtol=1e-12, atol=1e-12)


def test_pruned_keeps_its_task() -> None:
    spec = everything()
    model, module, features = drawn(spec, 1)
    pruned = homespec.build_module(load(spec), tasks=["like"])
    small = pruned.Model().double().eval()
    state, names = module.logical_state(model), pruned.logical_state(small)
    pruned.load_logical_state(small, {name: state[name] for name in names})
    torch.testing.assert_close(small(features)["like"], model.eval()(features)["like"])


@pytest.mark.compiles
@pytest.mark.skipif(obstacle() is not None, reason="torch.compile cannot work on this machine")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, in importing inductor
def test_compiled_is_eager() -> None:
    torch._dynamo.reset()
    kinds = [(kind, i) for i, kind in enumerate(KINDS)]
    lists = {f"l{i}": {**KINDS[kind], "list": LISTS[i]} for kind, i in kinds}
    model, module, features = drawn(spec_of(lists), 1)
    fast = runtime.compiled(module.Model.forward, dynamic=False)
    weights = [p for p in model.parameters() if p.requires_grad]
    seen = []
    for forward in (module.Model.forward, fast):
        logits = forward(model, features)
        loss = torch.stack(list(logits.values())).square().sum()
        seen.append([*logits.values(), *torch.autograd.grad(loss, weights)])
    for found, expected in zip(*reversed(seen), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_padding_has_no_influence(layout: str) -> None:
    """Weights of values that are missing are not looked at, nor is the row of missing values."""
    spec = spec_of({f"l{i}": {**KINDS["buckets"], "list": o} for i, o in enumerate(LISTS)})
    seen = []
    for other in (0.0, 7.0):
        model, module, features = drawn(spec, 2, layout)
        state = module.logical_state(model)
        for i, options in enumerate(LISTS):
            state[f"features.l{i}.weight"][0] = other
            if "weights" in options:
                features[f"l{i}.weights"][features[f"l{i}"] == -1] = other
        v = model.features(features)[:, 4:]
        gradients = torch.autograd.grad(v.square().sum(), model.features.parameters(),
                                        allow_unused=True)  # fmt: skip
        seen.append([v, *(g for g in gradients if g is not None)])
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))


def test_no_values_are_zeros_and_equal_ones_share() -> None:
    spec = spec_of({f"l{i}": {**KINDS["vocab"], "list": o} for i, o in enumerate(LISTS)})
    model, _, features = drawn(spec, 3)
    for i in range(len(LISTS)):
        features[f"l{i}"][:] = -1
    assert not model.features(features)[:, 4:].any()


def test_look_ups_are_one_for_each_width() -> None:
    spec = everything()
    model, _, features = drawn(spec, 0)
    with torch.profiler.profile() as profile:
        model(features)
    looked_up = [event for event in profile.events() if event.name == "aten::embedding"]
    assert len(looked_up) == 2  # of the widths 3 and 4


def test_tensors_and_their_columns() -> None:
    options = {"max_len": 4, "pool": "sum", "weights": "scores"}
    spec = load(spec_of({"tags": {**KINDS["vocab"], "column": "labels", "list": options}}))
    _, tags, weights = input_tensors(spec.analysis.spec)
    assert (tags.name, tags.column, tags.kind, tags.length) == ("tags", "labels", "id", 4)
    assert (weights.name, weights.column, weights.kind) == ("tags.weights", "scores", "weight")
    model = homespec.build(spec)
    features = bench_features(spec, 4, "cpu")
    assert features["tags.weights"].shape == (4, 4)
    model.eval()(features)
    features["tags.weights"] = features["tags.weights"][:, :3]
    with pytest.raises(ValueError, match=r"tags\.weights must be \[4, 4\], not \[4, 3\]"):
        model(features)
    text = expanded(spec.analysis)
    assert "weights: scores" in text
    assert input_tensors(homespec.loads(text).analysis.spec) == input_tensors(spec.analysis.spec)


def test_half_precision_takes_weights_as_they_are() -> None:
    spec = spec_of({"tags": {**KINDS["buckets"], "list": LISTS[4]}})
    model = homespec.build(load(spec), dtype=torch.bfloat16).eval()
    features: dict[str, Tensor] = random_features(spec, 8, torch.Generator().manual_seed(0))
    assert all(logit.dtype == torch.bfloat16 for logit in model(features).values())
