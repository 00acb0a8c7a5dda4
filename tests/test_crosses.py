"""Crosses of two ids: the rows that the oracle computes, wherever the model runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hierarchies import random_features, randomise
from parity import LAYOUTS, build, compare, load
from reference import Reference
from reference_crosses import pair_row

import homespec
from homespec import runtime
from homespec.analysis.expand import expanded
from homespec.bench.random_batch import random_features as bench_features
from homespec.emit.blocks.rows import cross_rows
from homespec.schema.input_tensors import input_tensors
from homespec.train.torch_compile import obstacle

torch.set_num_threads(1)

IDS: dict[str, Any] = {
    "hashed": {"id": {"buckets": 5}, "dim": 3},
    "vocab": {"id": {"vocab": 4}, "dim": 3},
    "words": {"id": {"vocab": {"min_count": 1, "max_size": 4}}, "dim": 4},
    "last": {"table": "user"},
}


def spec_of(features: dict[str, Any]) -> dict[str, Any]:
    user = {"user": {"id": {"buckets": 9}, "dim": 4}}
    return {
        "homespec": 1,
        "name": "crosses",
        "family": "mmoe",
        "features": {**user, **features},
        "tasks": {"click": {}, "like": {}},
        "experts": {"width": 4, "hidden": []},
    }


def cross(*of: str, dim: int = 3, buckets: int = 50) -> dict[str, Any]:
    return {"cross": {"of": list(of), "buckets": buckets}, "dim": dim}


def everything() -> dict[str, Any]:
    """A cross of each pair of kinds, in each order; some before the features that they cross."""
    names = [*IDS, "user"]
    pairs = [(a, b) for a in names for b in names if a != b]
    crosses = {f"{a}_{b}": cross(a, b, dim=3 + i % 2) for i, (a, b) in enumerate(pairs)}
    half = len(crosses) // 2
    items = [*list(crosses.items())[:half], *IDS.items(), *list(crosses.items())[half:]]
    return spec_of(dict(items))


def drawn(spec: dict[str, Any], seed: int, layout: str = "optimised", **options: Any) -> Any:
    """Model, module and a batch of 16 rows, with random weights."""
    generator = torch.Generator().manual_seed(seed)
    model, module = build(load(spec), layout, **options)
    module.load_logical_state(model, randomise(module.logical_state(model), generator))
    return model, module, random_features(spec, 16, generator)


@pytest.mark.parametrize("second", IDS)
@pytest.mark.parametrize("first", IDS)
def test_each_cross_is_its_oracle(first: str, second: str) -> None:
    kinds = {first: IDS[first], second: IDS[second]}
    for one, other in ((first, "user"), (first, second)):
        if one != other:
            spec = spec_of({"pair": cross(one, other), **kinds})
            compare(spec, Reference(spec), 1)


def test_all_crosses_are_the_oracle() -> None:
    spec = everything()
    compare(spec, Reference(spec), 2)
    compare(spec, Reference(spec), 4, ["optimised"], skip_passes=["batch-features"])


def test_beside_lists_and_sequences() -> None:
    more: dict[str, Any] = {
        "tags": {"id": {"buckets": 5}, "dim": 3, "list": {"max_len": 3}},
        "past": {"sequence": {"of": ["user"], "max_len": 3, "encoder": {"sim": {"top": 2}}}},
        "text": {"dense": 2},
    }
    spec = everything()
    spec["features"] = {**more, **spec["features"]}
    spec["features"]["user_tab"] = {**cross("user", "vocab"), "dropout": 0.5}
    compare(spec, Reference(spec), 3)


def test_rows_of_odd_ids() -> None:
    """Any two 64-bit integers; no product overflows."""
    odd = [0, 1, -2, 2**31 - 1, 2**31, -(2**63), 2**63 - 1, 2**62, 123456789012345]
    pairs = [(a, b) for a in odd for b in odd]
    ids = [torch.tensor([pair[i] for pair in pairs]) for i in (0, 1)]
    known = [torch.ones_like(each) for each in ids]
    for buckets in (1, 7, 1000, 2_147_483_647):
        found = cross_rows(ids, known, 1 + buckets)
        assert found.tolist() == [pair_row(a, b, buckets) for a, b in pairs]
    assert not cross_rows(ids, [known[0], 0 * known[1]], 8).any()


def test_rows_are_spread_like_random_ones() -> None:
    """Small ids that follow each other: a linear hash would put 10,000 pairs in 1,054 rows."""
    for first, second in ((100, 100), (1000, 10), (37, 270)):
        a, b = torch.meshgrid(torch.arange(first), torch.arange(second), indexing="ij")
        ids = [a.flatten(), b.flatten()]
        for buckets in (10_000, 10_007, 16_384, 20_000):
            used = cross_rows(ids, [torch.ones_like(a.flatten())] * 2, 1 + buckets).unique().numel()
            count = first * second
            expected = buckets * (1 - (1 - 1 / buckets) ** count)
            assert abs(used - expected) < 0.03 * expected, (first, second, buckets, used)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_pair_without_one_id_has_row_0(layout: str) -> None:
    spec = spec_of({"vocab": IDS["vocab"], "pair": cross("user", "vocab")})
    model, module, _ = drawn(spec, 0, layout)
    weight = module.logical_state(model)["features.pair.weight"]
    user, tab = torch.tensor([3, -1, 3, 3, -2]), torch.tensor([2, 2, -1, 4, 0])
    found = model.features({"user": user, "vocab": tab})[:, -3:]
    rows = [pair_row(3, 2, 50), 0, 0, 0, pair_row(-2, 0, 50)]
    assert torch.equal(found, weight[rows])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inference_is_eval(layout: str) -> None:
    spec = everything()
    full, module, features = drawn(spec, 0)
    options: Any = {"optimize": LAYOUTS[layout], "mode": "inference"}
    serving = homespec.build_module(load(spec), **options)
    model = homespec.build(load(spec), dtype=torch.float64, **options)
    serving.load_logical_state(model, module.logical_state(full))
    for task, logit in model(serving.ordered(features)).items():
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
    spec = spec_of({**IDS, "a": cross("user", "words"), "b": cross("vocab", "last", dim=5)})
    model, module, features = drawn(spec, 1)
    features["user"][:3] = torch.tensor([2**63 - 1, -(2**63), 2**31 - 1])
    fast = runtime.compiled(module.Model.forward, dynamic=False)
    weights = [p for p in model.parameters() if p.requires_grad]
    seen = []
    for forward in (module.Model.forward, fast):
        logits = forward(model, features)
        loss = torch.stack(list(logits.values())).square().sum()
        seen.append([*logits.values(), *torch.autograd.grad(loss, weights)])
    for found, expected in zip(*reversed(seen), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_look_ups_are_one_for_each_width() -> None:
    model, _, features = drawn(everything(), 0)
    with torch.profiler.profile() as profile:
        model(features)
    looked_up = [event for event in profile.events() if event.name == "aten::embedding"]
    assert len(looked_up) == 2  # of the widths 3 and 4


def test_a_cross_takes_no_tensor() -> None:
    spec = load(everything())
    assert [tensor.name for tensor in input_tensors(spec.analysis.spec)] == ["user", *IDS]
    features = bench_features(spec, 4, "cpu")
    assert features.keys() == {"user", *IDS}
    text = expanded(spec.analysis)
    assert "cross: {of: [hashed, vocab], buckets: 50}" in text
    again = homespec.loads(text)
    assert again.analysis.spec.features.keys() == spec.analysis.spec.features.keys()


@pytest.mark.parametrize("user", [["user"], ["user", "hashed"], ["user", "last", "hashed"]])
def test_one_users_features_for_many_candidates(user: list[str]) -> None:
    """A pair of two ids of the user is looked up once, and any other for each candidate."""
    spec = everything()
    full, module, features = drawn(spec, 0)
    options: Any = {"mode": "inference", "user_features": user}
    serving = homespec.build_module(load(spec), **options)
    model = homespec.build(load(spec), dtype=torch.float64, **options)
    serving.load_logical_state(model, module.logical_state(full))
    request = {n: t[:1] if n in user else t for n, t in features.items()}
    rows = {n: t[:1].expand(16) if n in user else t for n, t in features.items()}
    for task, logit in model(serving.ordered(request)).items():
        torch.testing.assert_close(logit, full.eval()(rows)[task], rtol=1e-12, atol=1e-12)


def test_a_cross_is_not_given_as_the_users() -> None:
    with pytest.raises(ValueError, match=r"`user_last` is a cross, .* if both `user` and `last`"):
        homespec.compile(load(everything()), mode="inference", user_features=["user_last"])


PLACED: dict[str, Any] = {
    "homespec": 1,
    "name": "placed",
    "features": {
        "user": {"id": {"buckets": 9}, "dim": 4},
        "seen": {"id": {"vocab": 5}, "dim": 3, "at": ["shared", "watch", "social"]},
        "tab": {"id": {"vocab": 4}, "dim": 3, "at": "watch"},
        "hour": {"id": {"vocab": 6}, "dim": 3},
        "pair": {**cross("user", "tab"), "at": "watch"},
        "both": cross("hour", "user", dim=9),
    },
    "groups": {"watch": ["click", "finish"], "social": ["like", "follow"]},
    "tasks": {"click": {}, "finish": {}, "like": {}, "follow": {}},
    "experts": {"width": 4, "hidden": []},
}


def test_at_a_group() -> None:
    """A cross belongs to a node below its ids; other features there have several tables."""
    compare(PLACED, Reference(PLACED), 1)
    model, module, features = drawn(PLACED, 1)
    for task, missing in (("like", {"tab"}), ("click", set())):
        pruned = homespec.build_module(load(PLACED), tasks=[task])
        assert PLACED["features"].keys() - {"pair", "both"} == pruned.FEATURES.keys() | missing
        small = pruned.Model().double().eval()
        state, names = module.logical_state(model), pruned.logical_state(small)
        pruned.load_logical_state(small, {name: state[name] for name in names})
        torch.testing.assert_close(small(features)[task], model.eval()(features)[task])
