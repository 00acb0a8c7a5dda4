"""Sequences of events: each encoder against its oracle, and what padding, order and search mean."""

from __future__ import annotations

import random
import sys
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from event_specs import draw_sequence
from hierarchies import random_features, randomise
from parity import LAYOUTS, build, compare, load
from reference import Reference
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils._python_dispatch import TorchDispatchMode

import homespec
from homespec import runtime
from homespec.analysis.costs import cost_of
from homespec.analysis.expand import expanded
from homespec.bench.gemms import activation_widths, gemms_of
from homespec.bench.random_batch import random_features as bench_features
from homespec.drawing.text import as_text
from homespec.schema.input_tensors import input_tensors
from homespec.train.torch_compile import obstacle

torch.set_num_threads(1)

FEATURES: dict[str, Any] = {
    "user": {"id": {"buckets": 9}, "dim": 4},
    "video": {"id": {"vocab": 12}, "dim": 4},
    "tag": {"id": {"buckets": 5}, "dim": 2},
    "age": {"bucketize": [0.0, 1.0], "dim": 3},
}
WITH = {"seen": {"id": {"vocab": 2}, "dim": 2}, "delay": {"bucketize": [0.5], "dim": 3}}
ENCODERS: dict[str, Any] = {
    "mean": "mean",
    "din": "din",
    "din_softmax": {"din": {"hidden": [5, 4], "activation": "swish", "softmax": True}},
    "din_linear": {"din": {"hidden": []}},
    "dien": {"dien": {"width": 5}},
    "sim_hard": {"sim": {"search": "hard", "by": "tag", "top": 3, "heads": 2}},
    "sim_soft": {"sim": {"top": 3, "heads": 3, "width": 6}},
    "twin": {"twin": {"top": 3}},  # 4 heads of a width of 6 rounded up
}
LENGTH = 6
UNORDERED = [name for name in ENCODERS if name != "dien"]


def spec_of(encoder: Any, max_len: int = LENGTH, fields: Any = WITH) -> dict[str, Any]:
    sequence = {"of": ["video", "tag"], "max_len": max_len, "encoder": encoder}
    sequence |= {"with": fields} if fields else {}
    return {
        "homespec": 1,
        "name": "past",
        "family": "mmoe",
        "features": {**FEATURES, "history": {"sequence": sequence}},
        "tasks": {"click": {}, "like": {}},
        "experts": {"width": 4, "hidden": []},
    }


def everything(max_len: int = LENGTH) -> dict[str, Any]:
    """A spec with one sequence for each encoder."""
    spec = spec_of("mean")
    del spec["features"]["history"]
    for name, encoder in ENCODERS.items():
        spec["features"][name] = spec_of(encoder, max_len)["features"]["history"]
    return spec


def drawn(spec: dict[str, Any], seed: int, layout: str = "optimised", **options: Any) -> Any:
    """Model, module and a batch of 16 rows, with random weights."""
    generator = torch.Generator().manual_seed(seed)
    model, module = build(load(spec), layout, **options)
    module.load_logical_state(model, randomise(module.logical_state(model), generator))
    return model, module, random_features(spec, 16, generator)


def history(model: nn.Module, features: dict[str, Tensor]) -> Tensor:
    """The sequence's share of v; the four other features come before it."""
    return model.features(features)[:, 13:]


# ---------------------------------------------------------------- against the oracle


@pytest.mark.parametrize("fields", [WITH, None], ids=["with", "bare"])
@pytest.mark.parametrize("name", ENCODERS)
def test_each_encoder_is_its_oracle(name: str, fields: Any) -> None:
    spec = spec_of(ENCODERS[name], fields=fields)
    for seed in (1, 2):
        compare(spec, Reference(spec), seed)


@pytest.mark.parametrize("kind", ["mean", "din", "dien", "sim", "twin"])
@pytest.mark.parametrize("seed", range(4))
def test_random_options_are_the_oracle(kind: str, seed: int) -> None:
    spec = spec_of("mean")
    rng = random.Random(seed)
    spec["features"]["history"]["sequence"] = draw_sequence(rng, spec, list(FEATURES), kind)
    compare(spec, Reference(spec), seed)


def test_skipped_batching_is_the_oracle() -> None:
    spec = everything()
    compare(spec, Reference(spec), 3, ["optimised"], skip_passes=["batch-features"])


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


def test_extractor_is_a_gru() -> None:
    """torch's update gate keeps the state where DIEN's replaces it: its weights change sign."""
    model, module, _ = drawn(spec_of(ENCODERS["dien"]), 0)
    ours = model.features.encoders["history"].extractor
    theirs = nn.GRU(11, 5, batch_first=True, dtype=torch.float64)
    order = torch.cat([torch.arange(5, 10), torch.arange(5), torch.arange(10, 15)])
    sign = torch.ones(15).double().index_fill(0, torch.arange(5, 10), -1.0)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(ours.inputs.weight[order] * sign.unsqueeze(1))
        theirs.bias_ih_l0.copy_(ours.inputs.bias[order] * sign)
        theirs.weight_hh_l0.copy_(ours.states.weight[order] * sign.unsqueeze(1))
        theirs.bias_hh_l0.zero_()
    x_BLN = torch.randn(4, LENGTH, 11, dtype=torch.float64, requires_grad=True)
    there = torch.ones(4, LENGTH, dtype=torch.bool)
    found = ours(x_BLN, there)
    expected = theirs(x_BLN)[0]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert module.Gru is type(ours)
    gradients = [torch.autograd.grad(y.square().sum(), x_BLN)[0] for y in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


# ---------------------------------------------------------------- padding and order


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ENCODERS)
def test_padding_has_no_influence(name: str, layout: str) -> None:
    """Bit for bit: values, gradients and statistics."""
    model, module, features = drawn(spec_of(ENCODERS[name]), 1, layout)
    gone = features["history.video"] == -1
    assert gone.any()
    state = {n: t.clone() for n, t in module.logical_state(model).items()}
    seen = []
    for other in range(2):
        generator = torch.Generator().manual_seed(other)
        garbage = dict(features)
        for field, low in (("tag", -3), ("seen", -2)):
            noise = torch.randint(low, 9, gone.shape, generator=generator)
            garbage[f"history.{field}"] = noise.where(gone, features[f"history.{field}"])
        noise = torch.randn(gone.shape, generator=generator).double()
        garbage["history.delay"] = noise.where(gone, features["history.delay"])
        module.load_logical_state(model, state)
        model.zero_grad()
        v = model.train().features(garbage)
        v.square().sum().backward()
        parameters = model.features.parameters()
        grads = [p.grad.clone() for p in parameters if p.grad is not None]
        after = [t.clone() for t in module.logical_state(model).values()]
        seen.append([v, *grads, *after, model.eval().features(garbage)])
    assert len(seen[0]) == len(seen[1])
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))


@pytest.mark.parametrize("name", ENCODERS)
def test_a_longer_sequence_of_padding_is_the_same(name: str) -> None:
    model, module, features = drawn(spec_of(ENCODERS[name]), 2)
    longer, other = build(load(spec_of(ENCODERS[name], LENGTH + 5)), "optimised")
    other.load_logical_state(longer, module.logical_state(model))
    padded = dict(features)
    for key in [key for key in features if "." in key]:
        missing = torch.nan if features[key].is_floating_point() else -1
        rows = features[key].new_full((16, 5), missing)
        padded[key] = torch.cat([features[key], rows], 1)
    for mode in (True, False):
        found, expected = longer.train(mode).features(padded), model.train(mode).features(features)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ENCODERS)
def test_no_events_are_zeros(name: str) -> None:
    for layout in LAYOUTS:
        model, module, features = drawn(spec_of(ENCODERS[name]), 3, layout)
        features["history.video"][:] = -1
        before = {n: t.clone() for n, t in module.logical_state(model).items()}
        assert not history(model.train(), features).any()
        assert not history(model.eval(), features).any()
        after = module.logical_state(model)
        assert all(torch.equal(before[n], after[n]) for n in after)  # no statistics of nothing


@pytest.mark.parametrize("name", ENCODERS)
def test_order_matters_to_dien_alone(name: str) -> None:
    model, _, features = drawn(spec_of(ENCODERS[name]), 4)
    distinct = torch.rand(16, 12, generator=torch.Generator().manual_seed(0)).argsort(1)
    features["history.video"] = distinct[:, :LENGTH]  # equal scores go by recency
    features["history.tag"] = features["tag"].clamp(min=0).unsqueeze(1).repeat(1, LENGTH)
    features["tag"] = features["tag"].clamp(min=0)
    order = torch.tensor([3, 0, 5, 1, 2, 4])
    moved = features | {n: t[:, order] for n, t in features.items() if "." in n}
    model.eval()
    if name == "sim_hard":  # the latest three are other ones, unless it takes all
        assert not torch.allclose(history(model, moved), history(model, features))
        three = {n: t[:, [3, 5, 4]] for n, t in features.items() if "." in n}
        pad = {
            n: t.new_full((16, 3), torch.nan if t.is_floating_point() else -1)
            for n, t in three.items()
        }
        three = {n: torch.cat([t, pad[n]], 1) for n, t in three.items()}
        assert torch.allclose(history(model, features | three), history(model, features))
        return
    same = torch.allclose(history(model, moved), history(model, features), 1e-10, 1e-10)
    assert same == (name != "dien")


# ---------------------------------------------------------------- search


def module_of(name: str) -> ModuleType:
    return homespec.build_module(load(spec_of(ENCODERS[name])))


def found(positions: Tensor, there: Tensor) -> list[set[int]]:
    """The positions of each row that are there."""
    pairs = zip(positions.tolist(), there.tolist(), strict=True)
    return [{at for at, is_there in zip(*pair, strict=True) if is_there} for pair in pairs]


def test_hard_search_takes_the_latest_hits() -> None:
    module = module_of("sim_hard")
    hits = torch.tensor([[1, 1, 0, 1, 1], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]]).bool()
    at_BK, there_BK = module.latest(hits, 3)
    assert at_BK.shape == there_BK.shape == (3, 3)
    assert found(at_BK, there_BK) == [{1, 3, 4}, {1}, set()]


def test_hard_search_finds_nothing_for_a_candidate_without_the_id() -> None:
    module = module_of("sim_hard")
    ids = torch.tensor([[3, -1, 5], [3, -1, 5], [3, -1, 5]])
    same = module.same(ids, torch.tensor([5, -1, 7]))
    assert same.tolist() == [[False, False, True], [False] * 3, [False] * 3]


def test_soft_search_takes_the_best_and_of_equals_the_latest() -> None:
    module = module_of("sim_soft")
    scores = torch.tensor([[0.5, 2, 0.5, 0.5, 9], [1, 1, 1, 1, 1], [-5, -4, 3, 2, 1.0]])
    exists = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]).bool()
    assert found(*module.best(scores, exists, 3)) == [{1, 2, 3}, {2, 3, 4}, {0, 1}]
    assert found(*module.best(scores, torch.zeros_like(exists), 3)) == [set(), set(), set()]


def test_twin_finds_what_its_attention_weighs_most() -> None:
    """With all events kept, the attention's logits order the events as the first stage does."""
    model, _, _ = drawn(spec_of({"twin": {"top": LENGTH, "heads": 1}}), 5)
    twin = model.features.encoders["history"]
    q_BQ, x_BLE = torch.randn(8, 6).double(), torch.randn(8, LENGTH, 11).double()
    scores = twin.scores(q_BQ, x_BLE)
    logits = torch.bmm(twin.directions(q_BQ), x_BLE.mT).squeeze(1)
    torch.testing.assert_close(scores, logits)
    assert scores.argsort(1).equal(logits.argsort(1))


class Operations(TorchDispatchMode):
    """Counts the operations of each name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ENCODERS)
def test_one_look_up_for_each_width(name: str) -> None:
    """Tables of width 4, 3 and 2; a search by embeddings looks at events before, without a
    gradient."""
    model, _, features = drawn(spec_of(ENCODERS[name]), 0)
    with Operations() as forward:
        v = model.features(features)
    with Operations() as backward:
        v.sum().backward()
    searched = {"sim_soft": 4, "twin": 6}.get(name, 0)
    assert forward.names.count("embedding") == 3 + searched
    assert backward.names.count("embedding_dense_backward") == 3


# ---------------------------------------------------------------- DICE


def test_dice_moves_by_what_is_there() -> None:
    """Twice the same event: mean the event's, variance 0; one alone moves nothing."""
    model, module, features = drawn(spec_of({"din": {"hidden": [3], "norm_momentum": 0.9}}), 6)
    names = [f"features.history.encoder.layers.0.dice.running_{s}" for s in ("mean", "var")]
    features = {n: t[:2].clone() for n, t in features.items()}
    features["history.video"][:] = -1
    features["history.video"][0, 2] = 3
    before = [module.logical_state(model)[n].clone() for n in names]
    model.train().features(features)
    assert all(
        torch.equal(module.logical_state(model)[n], t) for n, t in zip(names, before, strict=True)
    )
    for key in features:
        features[key][1] = features[key][0]
    for _ in range(40):
        model.features(features)
    mean, var = (module.logical_state(model)[n] for n in names)
    assert not torch.equal(mean, before[0])
    torch.testing.assert_close(var, torch.zeros(3).double(), rtol=0, atol=1e-20)
    once = model.features(features)
    torch.testing.assert_close(once, model.eval().features(features))  # as in training


# ---------------------------------------------------------------- the compiler around them


def test_tensors() -> None:
    spec = spec_of("din")
    spec["features"]["history"]["sequence"]["columns"] = {"tag": "tags"}
    found = input_tensors(load(spec))
    shown = [(t.name, t.column, t.kind, t.length, t.vocab, t.buckets, t.table) for t in found[4:]]
    assert shown == [
        ("history.video", "history_video", "id", 6, 12, 0, "video"),
        ("history.tag", "tags", "id", 6, 0, 5, "tag"),
        ("history.seen", "history_seen", "id", 6, 2, 0, "history.seen"),
        ("history.delay", "history_delay", "number", 6, 0, 0, "history.delay"),
    ]
    assert {tensor.feature for tensor in found[4:]} == {"history"}
    module = homespec.build_module(load(spec))
    assert tuple(tensor.name for tensor in found) == tuple(module.FEATURES)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_wrong_tensors_are_named(layout: str) -> None:
    model, _, features = drawn(spec_of("din"), 0, layout)
    with pytest.raises(ValueError, match=r"feature history\.tag must be \[16, 6\], not \[16, 5\]"):
        model(features | {"history.tag": features["history.tag"][:, :5]})
    with pytest.raises(ValueError, match=r"feature history\.seen must be \[16, 6\], not \[16\]"):
        model(features | {"history.seen": features["history.seen"][:, 0]})
    del features["history.delay"]
    with pytest.raises(ValueError, match=r"features missing: history\.delay"):
        model(features)


def test_the_expanded_form_is_the_same_model() -> None:
    loaded = load(everything())
    again = homespec.loads(expanded(loaded.analysis))
    assert as_text(again.analysis.graph) == as_text(loaded.analysis.graph)
    assert input_tensors(again) == input_tensors(loaded)


def test_a_spec_laid_over_takes_another_encoder(tmp_path: Any) -> None:
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(spec_of({"din": {"hidden": [8]}})))
    over = tmp_path / "over.yaml"
    for text, kind in (
        ("twin", "twin"),
        ("{sim: {top: 4}}", "sim"),
        ("{din: {softmax: true}}", "din"),
    ):
        options = "{features: {history: {sequence: {max_len: 200, encoder: " + text + "}}}}"
        over.write_text(f"extends: base.yaml\n{options[1:-1]}\n")
        sequence = homespec.load(over).features["history"].sequence
        assert (sequence.encoder.kind, sequence.max_len) == (kind, 200)
        assert sequence.encoder.kind != "din" or sequence.encoder.din.hidden == (8,)


def test_costs_of_the_bench() -> None:
    loaded = load(everything())
    graph = loaded.analysis.graph
    gemms = gemms_of(graph)
    assert sum(gemm.flops for gemm in gemms) == cost_of(graph).flops
    assert activation_widths(graph) > activation_widths(load(spec_of("mean")).analysis.graph)
    model = homespec.build(loaded)
    module = sys.modules[type(model).__module__]
    features = bench_features(loaded, 4, "cpu")
    assert tuple(features) == tuple(module.FEATURES)
    assert all(logit.isfinite().all() for logit in model(features).values())


def test_names_that_meet_are_kept_apart() -> None:
    """`a.b_c`, `a_b.c` and a feature `a_b_c`, all bucketised, in every form."""
    spec = spec_of("mean", fields=None)
    number = {"bucketize": [0.0], "dim": 2}
    spec["features"] |= {"a_b_c": number, "table_4": number, "encoders": number}
    for name, field in (("a", "b_c"), ("a_b", "c")):
        sequence = {"of": ["a_b_c"], "with": {field: number}, "max_len": 3, "encoder": "din"}
        spec["features"][name] = {"sequence": sequence}
    compare(spec, Reference(spec), 1)
    compare(spec, Reference(spec), 1, ["optimised"], skip_passes=["batch-features"])


@pytest.mark.parametrize("optimize", [True, False])
def test_generated_text_is_the_same_each_time(optimize: bool) -> None:
    texts = {homespec.compile(load(everything()), optimize=optimize) for _ in range(2)}
    assert len(texts) == 1


@pytest.fixture
def fresh_dynamo() -> None:
    torch._dynamo.reset()


@pytest.mark.usefixtures("fresh_dynamo")
def test_one_graph_serves_every_batch_size() -> None:
    """fullgraph=True: a graph break would raise. A second batch size compiles nothing anew."""
    model, _, features = drawn(everything(), 7)
    counter = CompileCounterWithBackend("eager")
    forward = torch.compile(model.forward, backend=counter, fullgraph=True, dynamic=True)
    for rows in (16, 9, 12):
        forward({n: t[:rows].clone() for n, t in features.items()})
    assert counter.frame_count == 1


@pytest.mark.compiles
@pytest.mark.skipif(obstacle() is not None, reason="torch.compile cannot work on this machine")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, in importing inductor
@pytest.mark.usefixtures("fresh_dynamo")
def test_inductor_agrees_with_eager() -> None:
    """Forward and backward, statistics included, as `build(compile=True)` compiles it."""
    spec = everything(max_len=3)
    for name in ("din_softmax", "din_linear", "sim_soft"):  # nothing that the others have not
        del spec["features"][name]
    model, _, features = drawn(spec, 7)
    both = (model.features.train(), homespec.build(load(spec), dtype=torch.float64).features)
    both[1].load_state_dict(both[0].state_dict())
    compiled = runtime.compiled(both[1].forward, dynamic=True)
    for found in (both[0](features), compiled(features)):
        found.square().sum().backward()
    torch.testing.assert_close(compiled(features), both[0](features), rtol=1e-9, atol=1e-9)
    for (name, ours), theirs in zip(both[1].named_parameters(), both[0].parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-8, atol=1e-8, msg=name)
    for name, buffer in both[1].named_buffers():
        torch.testing.assert_close(buffer, both[0].get_buffer(name), msg=name)
