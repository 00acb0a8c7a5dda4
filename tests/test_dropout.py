"""Dropout: where it acts, on what, how often, and that nothing but training has any of it.

Values and gradients by given masks are those of the oracle: tests/test_parity.py.
"""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import hierarchies
import pytest
import torch
import yaml
from masks import Masks
from parity import LAYOUTS, build, load
from reference import Reference
from torch import Tensor, nn

import homespec
from homespec.bench import counting
from homespec.bench.random_batch import random_features
from homespec.doctor.start import settle_norms

torch.set_num_threads(1)

SPEC = """\
homespec: 1
name: dropped
feature_dropout: 0.1
features:
  user: {id: {buckets: 50}, dim: 4}
  video: {id: {buckets: 50}, dim: 4, dropout: 0.5}
  tab: {table: video}
  text: {dense: 3, dropout: 0}
  past: {sequence: {of: [video], max_len: 3, encoder: mean}}
groups: {watch: [click, finish], social: [like, follow]}
tasks:
  click: {rate: 0.3}
  finish: {tower: {dropout: 0}}
  like: {}
  follow: {tower: {hidden: []}}
experts:
  hidden: [6]
  width: 8
  dropout: 0.2
  task: {task: {count: 1, hidden: [], dropout: 0.4}}
towers: {hidden: [8, 6], dropout: 0.3, norm: batch}
"""
SHARES = (
    (r"features\.(user|tab|past)", 0.1),
    (r"features\.video", 0.5),
    (r"experts\.(meta\.\w+|task\.(shared|watch|social))\.[01](\.hidden\.0)?", 0.2),
    (r"experts\.task\.(click|finish|like|follow)\.0", 0.4),
    (r"towers\.(click|like)\.hidden\.[01]", 0.3),
)
"""What the places that SPEC drops from are called, and their shares."""
NONE = re.sub(r",? *(feature_)?dropout: 0(\.\d)?", "", SPEC)
ALIKE = SPEC.replace(", dropout: 0.5", "").replace(", dropout: 0}\n  past", "}\n  past")


def inputs(spec: Any, rows: int) -> dict[str, Tensor]:
    """Random features in float64."""
    return hierarchies.random_features(spec, rows, torch.Generator().manual_seed(0))


def places(seen: dict[str, float]) -> set[str]:
    for place, share in seen.items():
        (expected,) = (s for pattern, s in SHARES if re.fullmatch(pattern, place))
        assert share == expected, place
    return set(seen)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_place_has_a_mask_of_its_share(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = yaml.safe_load(SPEC)
    model, _ = build(load(spec), layout)
    masks = Masks(0)
    masks.hand_out(model, spec, monkeypatch)
    features = inputs(spec, 8)
    model.train()(features)
    found = places(masks.given)
    sets = [f"experts.meta.{n}" for n in ("shared", "watch", "social")]
    sets += [f"experts.task.{n}" for n in ("shared", "watch", "social")]
    experts = {f"{name}.{k}{end}" for name in sets for k in (0, 1) for end in ("", ".hidden.0")}
    experts |= {f"experts.task.{task}.0" for task in ("click", "finish", "like", "follow")}
    towers = {f"towers.{task}.hidden.{i}" for task in ("click", "like") for i in (0, 1)}
    parts = {f"features.{name}" for name in ("user", "video", "tab", "past")}
    assert found == experts | towers | parts
    masks.given.clear()
    model.eval()(features)
    assert not masks.given


@pytest.mark.parametrize("text", [SPEC, ALIKE], ids=["shares", "one_share"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_masks_are_drawn_by_their_share_and_by_themselves(layout: str, text: str) -> None:
    """Moments of what dropout leaves of ones: 0 or 1 / (1 - p), uncorrelated between channels."""
    spec = load(yaml.safe_load(text))
    torch.manual_seed(0)
    model, _ = build(spec, layout)
    model.train()
    checked = 0
    for path, module in model.named_modules():
        if not isinstance(module, nn.Dropout):
            continue
        p, rows = module.p, 20_000
        of_stack = layout == "optimised" and not path.startswith("features")
        kept = module(torch.ones(3, 4, rows) if of_stack else torch.ones(rows, 12))
        x_NB = (kept.flatten(0, 1) if of_stack else kept.T).double() * (1 - p)
        dropped, left = x_NB.unique().tolist()
        assert (dropped, left) == (0, pytest.approx(1, abs=1e-6))
        error = (p * (1 - p) / rows) ** 0.5
        assert (x_NB.mean(1) - (1 - p)).abs().max() < 5 * error, path  # the mean is kept
        correlation = torch.corrcoef(x_NB) - torch.eye(len(x_NB))
        assert correlation.abs().max() < 5 * rows**-0.5, path
        again = module(torch.ones_like(kept))
        assert not torch.equal(again, kept)
        checked += 1
    assert checked >= 6


def test_experts_of_a_set_drop_different_elements() -> None:
    """Through the whole model: equal experts give equal outputs without dropout alone."""
    spec = load(yaml.safe_load(SPEC.replace("feature_dropout: 0.1", "feature_dropout: 0")))
    model, module = build(spec, "optimised")
    state = module.logical_state(model)
    for name, value in state.items():
        if re.match(r"experts\.\w+\.\w+\.1\.", name):
            value.copy_(state[re.sub(r"\.1\.", ".0.", name, count=1)])
    stack = model.trunk.meta.experts
    x = torch.randn(1, 20, 16, dtype=torch.float64).expand(3, -1, -1).contiguous()
    for training in (False, True):
        model.train(training)
        outputs = stack(x[:, : stack[0][0].weight.shape[2]])
        assert torch.equal(outputs[0], outputs[1]) is not training
    model.eval()


@pytest.mark.parametrize("text", [SPEC, ALIKE], ids=["shares", "one_share"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_evaluation_and_inference_have_none(layout: str, text: str) -> None:
    spec = load(yaml.safe_load(text))
    without = load(yaml.safe_load(re.sub(r"dropout: 0\.\d", "dropout: 0", text)))
    model, module = build(spec, layout)
    bare, bare_module = build(without, layout)
    bare_module.load_logical_state(bare, module.logical_state(model))
    features = inputs(yaml.safe_load(text), 16)
    expected = bare.eval()(features, stacked=True)
    assert torch.equal(model.eval()(features, stacked=True), expected)
    assert not torch.equal(
        model.train()(features, stacked=True), bare.train()(features, stacked=True)
    )
    serving, serving_module = build(spec, layout, mode="inference", tasks=["like", "click"])
    serving_module.load_logical_state(serving, module.logical_state(model.eval()))
    for task, logit in serving(features).items():
        torch.testing.assert_close(logit, model(features)[task], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("optimize", [True, False])
def test_files_without_it_are_the_same_and_files_for_inference_say_nothing(optimize: bool) -> None:
    texts = [SPEC, re.sub(r",? *(feature_)?dropout: 0\.\d", "", SPEC), NONE]
    made = {
        mode: [strip(homespec.compile(homespec.loads(text), mode=mode, optimize=optimize))
               for text in texts]
        for mode in ("training", "inference")
    }  # fmt: skip
    assert "ropout" in made["training"][0]
    for file in (*made["inference"], *made["training"][1:]):
        assert "ropout" not in file
    assert made["training"][1] == made["training"][2]
    assert made["inference"][0] == made["inference"][1] == made["inference"][2]


def strip(file: str) -> str:
    """A generated file without the hash of its spec."""
    return re.sub(r"spec sha256: \w+", "", file)


def test_compiled_it_is_the_same_with_the_same_random_numbers() -> None:
    """inductor has a generator of its own; with torch's it draws the same masks."""
    spec = load(yaml.safe_load(SPEC))
    torch.manual_seed(0)
    model = homespec.build(spec)
    features = random_features(spec, 16, "cpu")
    code = homespec.build_module(spec)
    labels = {task: torch.randint(0, 2, (16,)).float() for task in code.TASKS}
    results = []
    with torch._inductor.config.patch(fallback_random=True):
        compiled = torch.compile(model, fullgraph=True, options={"inplace_buffers": False})
        for each in (model, compiled):
            torch.manual_seed(3)
            each.train()
            logits = each(features, stacked=True)
            code.loss(logits, labels).backward()
            grads = {n: p.grad.clone() for n, p in model.named_parameters()}
            model.zero_grad()
            results.append({"logits": logits.detach(), **grads})
    eager, made = results
    for name, value in eager.items():
        torch.testing.assert_close(made[name], value, rtol=2e-3, atol=2e-4, msg=name)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bfloat16(layout: str) -> None:
    spec = load(yaml.safe_load(SPEC))
    model = homespec.build(spec, optimize=LAYOUTS[layout]).train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(random_features(spec, 64, "cpu"), stacked=True)
    logits.float().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_oracle_drops_at_the_same_places() -> None:
    spec = yaml.safe_load(SPEC)
    oracle, masks = Reference(spec), Masks(0)
    oracle.take(masks)
    features: dict[str, Tensor] = inputs(spec, 8)
    oracle.train()(features)
    model, _ = build(load(spec), "plain")
    ours: Any = Masks(0)
    with pytest.MonkeyPatch.context() as patch:
        ours.hand_out(model, spec, patch)
        model.train()(features)
    assert places(masks.given) == places(ours.given)


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("activation", ["gelu", "tanh", "leaky_relu", "prelu"])
def test_exported_with_any_batch(activation: str, optimize: bool) -> None:
    """The program of a file for serving is the trained model in eval mode, at any batch."""
    given = yaml.safe_load(SPEC)
    given["experts"] |= {"activation": activation, "hidden_activation": activation}
    given["towers"]["activation"] = activation
    trained, code = build(load(given), "optimised")
    state = hierarchies.randomise(code.logical_state(trained), torch.Generator().manual_seed(0))
    code.load_logical_state(trained.eval(), state)
    model, module = build(load(given), "optimised" if optimize else "plain", mode="inference")
    module.load_logical_state(model, state)
    batch = torch.export.Dim("batch", min=1, max=4096)
    example = inputs(given, 8)
    shapes = ({name: {0: batch} for name in example},)
    program = torch.export.export(model, (example,), dynamic_shapes=shapes).module()
    for rows in (1, 5, 64):
        features = inputs(given, rows)
        for task, logit in program(features).items():
            expected = trained(features)[task]
            torch.testing.assert_close(logit, expected, rtol=1e-10, atol=1e-10)


def test_operations_do_not_depend_on_the_number_of_tasks() -> None:
    """Norms, slopes and dropout are those of a stack, forward and backward."""
    text = SPEC.replace("towers: {", "towers: {activation: prelu, ")
    text = text.replace("  hidden: [6]", "  hidden: [6]\n  hidden_activation: prelu")
    counts = set()
    for groups in (2, 6):
        members = {f"g{i}": [f"a{i}", f"b{i}"] for i in range(groups)}
        tasks: dict[str, Any] = {task: {} for own in members.values() for task in own}
        spec = load({**yaml.safe_load(text), "groups": members, "tasks": tasks})
        features = random_features(spec, 4, "cpu")
        code, model = homespec.build_module(spec), homespec.build(spec).train()
        labels = {task: torch.ones(4) for task in tasks}

        def step(model: Any = model, code: Any = code, given: Any = (features, labels)) -> None:
            code.loss(model(given[0], stacked=True), given[1]).backward()

        counts.add(counting.operations(step))
    assert len(counts) == 1


def test_the_start_that_the_doctor_looks_at_has_statistics_without_dropout() -> None:
    spec = yaml.safe_load(SPEC)
    features = inputs(spec, 64)
    states = []
    for given in (spec, yaml.safe_load(NONE)):
        torch.manual_seed(0)
        model, code = build(load(given), "plain")
        settle_norms(model, SimpleNamespace(features=features))  # type: ignore[arg-type]
        states.append(code.logical_state(model))
    with_dropout, without = states
    for name, value in without.items():
        assert torch.equal(with_dropout[name], value), name
    assert without["towers.click.hidden.0.norm.running_mean"].any()
