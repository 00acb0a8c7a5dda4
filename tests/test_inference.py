"""Files for serving: batch norm folded, tasks pruned, weights those of the trained model."""

from __future__ import annotations

import random
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from hierarchies import Spec, random_features, random_labels, random_spec, randomise
from parity import LAYOUTS, load, split
from topologies import random_family, random_topology
from torch import Tensor, nn

import homespec
from homespec.api import LoadedSpec

torch.set_num_threads(1)

BATCH = 8
DRAWS = {"home": random_spec, "family": random_family, "layers": random_topology}

TEXT = """\
homespec: 1
name: small
features: {user_id: {id: {buckets: 50}, dim: 8}, asr: {dense: 4}}
groups: {watch: [click, finish], interaction: [like, minutes]}
tasks:
  click: {rate: 0.4}
  finish: {}
  like: {where: click, weight: 2.0}
  minutes: {kind: regression, scale: 60.0, loss: huber}
  both: {product: [click, like]}
experts: {width: 8, hidden: [8], task: {activation: dice}}
"""


def both(
    spec: Any, seed: int, dtype: torch.dtype = torch.float64, **options: Any
) -> tuple[nn.Module, ModuleType, nn.Module, ModuleType]:
    """The trained model, its module, and the one for serving with the same weights."""
    loaded = spec if isinstance(spec, LoadedSpec) else load(spec)
    full_module = homespec.build_module(loaded)
    full = homespec.build(loaded, dtype=dtype).eval()
    generator = torch.Generator().manual_seed(seed)
    state = randomise(full_module.logical_state(full), generator)
    full_module.load_logical_state(full, state)
    module = homespec.build_module(loaded, **options)
    model = homespec.build(loaded, dtype=dtype, **options)
    module.load_logical_state(model, full_module.logical_state(full))
    return full, full_module, model, module


def drawn_tasks(spec: Spec, seed: int) -> list[str]:
    rng = random.Random(seed)
    return rng.sample(list(spec["tasks"]), rng.randint(1, len(spec["tasks"])))


def assert_equal(
    found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-10
) -> None:
    for task, logit in found.items():
        torch.testing.assert_close(logit, expected[task], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("pruned", [False, True], ids=["all", "pruned"])
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", DRAWS)
def test_inference_equals_eval(kind: str, seed: int, pruned: bool) -> None:
    spec = DRAWS[kind](seed)
    tasks = drawn_tasks(spec, seed) if pruned else None
    features = random_features(spec, BATCH, torch.Generator().manual_seed(seed))
    for layout in LAYOUTS.values():
        full, _, model, module = both(spec, seed, mode="inference", tasks=tasks, optimize=layout)
        assert not model.training
        found = model(features)
        wanted = tuple(task for task in spec["tasks"] if not pruned or task in (tasks or ()))
        assert module.TASKS == tuple(found) == wanted
        assert_equal(found, full(features))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", DRAWS)
def test_float32_agrees_to_its_rounding(kind: str, seed: int) -> None:
    spec = DRAWS[kind](seed)
    drawn = random_features(spec, BATCH, torch.Generator().manual_seed(seed))
    features = {name: t.float() if t.is_floating_point() else t for name, t in drawn.items()}
    full, _, model, _ = both(spec, seed, torch.float32, mode="inference")
    assert_equal(model(features), full(features), 1e-5)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", DRAWS)
def test_pruned_training_is_that_of_the_tasks(kind: str, seed: int) -> None:
    """Logits, losses and gradients are those of the whole; what went got no gradient there."""
    spec = DRAWS[kind](seed)
    tasks = drawn_tasks(spec, seed)
    generator = torch.Generator().manual_seed(seed)
    features = random_features(spec, BATCH, generator)
    labels = random_labels(spec, BATCH, generator)
    for layout in LAYOUTS.values():
        full, full_module, model, module = both(spec, seed, tasks=tasks, optimize=layout)
        logits, expected = model.train()(features), full.train()(features)
        assert_equal(logits, expected)
        module.loss(logits, {task: labels[task] for task in tasks}).backward()
        each = full_module.losses(expected, labels)
        sum(full_module.WEIGHTS[task] * each[task] for task in tasks).backward()
        theirs, ours = gradients(full, full_module), gradients(model, module)
        assert_equal(ours, theirs)
        for name in theirs.keys() - ours.keys():
            assert not theirs[name].any(), name
        kept, whole = module.logical_state(model), full_module.logical_state(full)
        assert_equal(kept, whole)  # running statistics moved alike


def gradients(model: nn.Module, module: ModuleType) -> dict[str, Tensor]:
    grads = {
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in model.named_parameters()
    }
    return dict(module.logical_views(model, grads))


def test_pruning_drops_what_nothing_needs() -> None:
    loaded = homespec.loads(TEXT)
    _, _, model, module = both(loaded, 0, mode="inference", tasks=["finish"])
    names = module.logical_state(model)
    assert not any(".task.like" in name or "towers.click" in name for name in names)
    assert any(name.startswith("experts.meta.interaction") for name in names)  # the root's gate
    assert any(name.startswith("experts.task.finish") for name in names)


def test_a_product_keeps_its_factors() -> None:
    full, _, model, module = both(homespec.loads(TEXT), 0, mode="inference", tasks=["both"])
    features = {"user_id": torch.arange(BATCH), "asr": torch.randn(BATCH, 4).double()}
    assert module.TASKS == ("both",)
    assert_equal(model(features), full(features))
    towers = {n.split(".")[1] for n in module.logical_state(model) if n.startswith("towers.")}
    assert towers == {"click", "like"}


def test_a_sample_space_needs_only_the_label_of_its_parent() -> None:
    _, _, model, module = both(homespec.loads(TEXT), 0, tasks=["like"])
    assert set(module.LABELS) == {"like", "click"}
    assert not any(name.startswith("towers.click") for name in module.logical_state(model))
    logits = {"like": torch.zeros(2)}
    labels = {"like": torch.ones(2), "click": torch.tensor([1.0, 0.0])}
    assert module.losses(logits, labels)["like"].item() == pytest.approx(0.6931, abs=1e-4)
    _, _, _, serving = both(homespec.loads(TEXT), 0, mode="inference", tasks=["like"])
    assert not hasattr(serving, "LABELS")


@pytest.mark.parametrize("optimize", [True, False])
def test_nothing_of_training_is_left(optimize: bool) -> None:
    text = homespec.compile(homespec.loads(TEXT), mode="inference", optimize=optimize)
    for word in ("loss", "LABELS", "WEIGHTS", "RATES", "WHERE", "uniform_", "normal_", "start_at"):
        assert word not in text.partition('"""\n\nimport')[2], word
    assert "momentum" not in text or not optimize  # a default of the plain expert
    assert 'SCALES = {"minutes": 60.0}' in text  # in whose units its estimate is


def test_the_model_refuses_to_train() -> None:
    model = homespec.build(homespec.loads(TEXT), mode="inference")
    with pytest.raises(RuntimeError, match="for inference"):
        model.train()
    assert not model.eval().training
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("optimize", [True, False])
def test_one_row_is_enough(optimize: bool) -> None:
    model = homespec.build(homespec.loads(TEXT), mode="inference", optimize=optimize)
    found = model({"user_id": torch.tensor([3]), "asr": torch.randn(1, 4)})
    assert all(logit.shape == (1,) for logit in found.values())


@pytest.mark.parametrize("optimize", [True, False])
def test_loading_is_all_or_nothing(optimize: bool) -> None:
    loaded = homespec.loads(TEXT)
    full, full_module, model, module = both(loaded, 0, mode="inference", optimize=optimize)
    before = {name: t.clone() for name, t in module.logical_state(model).items()}
    other = {n: torch.ones_like(t) for n, t in full_module.logical_state(full).items()}
    for name in (
        "towers.like.linears.0.weight",
        "experts.meta.watch.0.norm.running_var",
        "experts.meta.watch.0.norm.bias",
        "experts.meta.watch.0.linears.1.weight",
        "experts.task.like.0.dice.running_mean",
    ):
        with pytest.raises(KeyError, match=name):
            module.load_logical_state(model, {n: t for n, t in other.items() if n != name})
        with pytest.raises(ValueError, match=name):
            module.load_logical_state(model, {**other, name: torch.ones(1)})
    after = module.logical_state(model)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_folded_state_loads_as_it_is() -> None:
    """From one file for inference into another: optimised into plain."""
    loaded = homespec.loads(TEXT)
    _, _, model, module = both(loaded, 0, mode="inference")
    plain_module = homespec.build_module(loaded, mode="inference", optimize=False)
    plain = homespec.build(loaded, mode="inference", optimize=False, dtype=torch.float64)
    plain_module.load_logical_state(plain, module.logical_state(model))
    features = {"user_id": torch.arange(BATCH), "asr": torch.randn(BATCH, 4).double()}
    assert_equal(plain(features), model(features))


def test_a_whole_model_still_refuses_strangers() -> None:
    module = homespec.build_module(homespec.loads(TEXT))
    model = module.Model()
    state = {**module.logical_state(model), "towers.stranger.bias": torch.ones(1)}
    with pytest.raises(KeyError, match="stranger"):
        module.load_logical_state(model, state)


def test_bfloat16_folds_in_the_precision_of_the_statistics() -> None:
    full, _, model, _ = both(homespec.loads(TEXT), 0, torch.bfloat16, mode="inference")
    features = {"user_id": torch.arange(BATCH), "asr": torch.randn(BATCH, 4)}
    found = model(features)
    assert {logit.dtype for logit in found.values()} == {torch.bfloat16}
    assert_equal(found, full(features), 0.1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("tasks", [None, ["both", "finish"]])
def test_torch_export_takes_any_batch(tasks: list[str] | None) -> None:
    full, _, model, _ = both(homespec.loads(TEXT), 0, mode="inference", tasks=tasks)

    def features(rows: int) -> dict[str, Tensor]:
        return {"user_id": torch.arange(rows), "asr": torch.randn(rows, 4).double()}

    rows = torch.export.Dim("rows", min=1, max=4096)
    program = torch.export.export(
        model, (features(8),), dynamic_shapes=({"user_id": {0: rows}, "asr": {0: rows}},)
    )
    for size in (1, 5, 64):
        inputs = features(size)
        found = program.module()(inputs)
        assert_equal(found, full(inputs))
        assert_equal(found, model(inputs))


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("seed", range(6))
def test_skipped_passes_change_nothing_here_either(kind: str, seed: int) -> None:
    spec = DRAWS[kind](seed)
    tasks = drawn_tasks(spec, seed)
    features = random_features(spec, BATCH, torch.Generator().manual_seed(seed))
    for skipped in ("prune", "drop-training", "fold-batch-norm"):
        options = {"mode": "inference", "tasks": tasks, "skip_passes": [skipped]}
        full, _, model, module = both(spec, seed, **options)
        assert set(module.TASKS) == set(tasks)
        assert_equal(model(features), full(features))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": ["lik"]}, r"no task `lik`\. Did you mean `like`\? The tasks are `click`"),
        ({"tasks": "like,clik"}, "Did you mean `click`"),
        ({"tasks": []}, "no task is given"),
        ({"mode": "inferense"}, "Did you mean `inference`"),
        ({"skip_passes": ["batch-expert"]}, "Did you mean `batch-experts`"),
        ({"skip_passes": ["prune"]}, "no pass `prune`"),
        ({"skip_passes": ["prune"], "optimize": False}, "There are no passes here"),
    ],
)
def test_unknown_names_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        homespec.compile(homespec.loads(TEXT), **options)


def test_the_order_in_which_tasks_are_asked_for_does_not_matter() -> None:
    loaded = homespec.loads(TEXT)
    texts = {homespec.compile(loaded, tasks=t) for t in (["like", "click"], "click,like,click")}
    assert len(texts) == 1
    assert "homespec compile --tasks click,like <string>\n" in texts.pop()


def test_parameters_of_the_split_are_named() -> None:
    """Every tensor of a file for inference has a logical name."""
    _, _, model, module = both(yaml.safe_load(TEXT), 0, mode="inference")
    named = sum(t.numel() for t in split(module.logical_state(model))[0].values())
    held = sum(t.numel() for t in model.state_dict().values())
    assert named == held
