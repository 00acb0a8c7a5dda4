"""A second oracle: Shared-Bottom, MMoE and PLE of torch-rechub, weights copied over.

torch-rechub puts a BatchNorm behind every Linear, in its gates too, which the papers do not. In
evaluation such a pair is one Linear again, and so it is copied. Its models output probabilities.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from families import Case, draw, spec_of
from parity import LAYOUTS, build, load
from torch import Tensor, nn

rechub = pytest.importorskip("torch_rechub.models.multi_task", reason="needs homespec[oracles]")
SparseFeature = pytest.importorskip("torch_rechub.basic.features").SparseFeature

pytestmark = pytest.mark.oracles

DIM, ROWS = 4, 9
FEATURES = ("user", "video")


def case_of(family: str, seed: int) -> Case:
    """A random case of what torch-rechub can say: no groups, all layers alike."""
    rng = random.Random(f"{family} {seed}")
    case = draw(family, rng)
    case.groups = {}
    case.levels = case.levels[:1] * rng.randint(1, 4) if family == "ple" else case.levels
    return case


def spec_with_ids(case: Case) -> dict[str, Any]:
    ids = {name: {"id": {"vocab": ROWS}, "dim": DIM} for name in FEATURES}
    return {**spec_of(case), "features": ids}


def their_model(case: Case) -> nn.Module:
    level = case.levels[0]
    features = [SparseFeature(name, ROWS, embed_dim=DIM) for name in FEATURES]
    types = ["classification"] * len(case.tasks)
    experts = {"dims": [*level.hidden, level.width]}
    towers = [{"dims": case.tower}] * len(case.tasks)
    if case.family == "shared_bottom":
        return rechub.SharedBottom(features, types, experts, towers)
    if case.family == "mmoe":
        return rechub.MMOE(features, types, level.shared, experts, towers)
    depth = len(case.levels)
    return rechub.PLE(features, types, depth, level.task, level.shared, experts, towers)


def randomise(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            tensor.copy_(0.5 + noise.abs() if name.endswith("running_var") else noise)


def folded(mlp: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    """Weight and bias of each Linear of their MLP, with the BatchNorm behind it, if any."""
    layers = [*mlp.mlp, None]
    for linear, norm in pairwise(layers):
        if isinstance(linear, nn.Linear):
            weight, bias = linear.weight, linear.bias
            if isinstance(norm, nn.BatchNorm1d):
                scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
                weight, bias = weight * scale[:, None], (bias - norm.running_mean) * scale
                bias = bias + norm.bias
            yield weight, bias


def parts_of(model: Any, case: Case) -> Iterator[tuple[str, nn.Module]]:
    """Their MLPs by logical name."""
    yield from zip((f"towers.{task}" for task in case.tasks), model.towers, strict=True)
    if case.family == "shared_bottom":
        yield "experts.task.shared.0", model.bottom_mlp
    elif case.family == "mmoe":
        for k, expert in enumerate(model.experts):
            yield f"experts.task.shared.{k}", expert
        yield from zip((f"gates.task.{task}" for task in case.tasks), model.gates, strict=True)
    else:
        depth = len(case.levels)
        names = [*("meta" if k == 1 else f"meta{k}" for k in range(1, depth)), "task"]
        for name, level in zip(names, model.cgc_layers, strict=True):
            yield from parts_of_level(name, level, case)


def parts_of_level(name: str, level: Any, case: Case) -> Iterator[tuple[str, nn.Module]]:
    """Experts and gates of one level of their PLE, whose experts stand task by task."""
    for k, expert in enumerate(level.experts_shared):
        yield f"experts.{name}.shared.{k}", expert
    for k, expert in enumerate(level.experts_specific):
        task, own = divmod(k, level.n_expert_specific)
        yield f"experts.{name}.{case.tasks[task]}.{own}", expert
    for task, gate in zip(case.tasks, level.gates_specific, strict=True):
        yield f"gates.{name}.{task}", gate
    if hasattr(level, "gate_shared"):
        yield f"gates.{name}.shared", level.gate_shared


def logical(model: Any, case: Case) -> dict[str, Tensor]:
    """Their weights by logical name."""
    state = {}
    for name in FEATURES:
        table = model.embedding.embed_dict[name].weight
        missing = torch.zeros(1, DIM, dtype=torch.float64)
        state[f"features.{name}.weight"] = torch.cat([missing, table])
    for name, mlp in parts_of(model, case):
        for i, (weight, bias) in enumerate(folded(mlp)):
            if name.startswith("gates."):
                weight, bias = shared_first(weight, case), shared_first(bias, case)
                if len(weight) == 1:
                    continue  # a choice of one needs no gate
            state |= {f"{name}.linears.{i}.weight": weight, f"{name}.linears.{i}.bias": bias}
    return state


def shared_first(rows: Tensor, case: Case) -> Tensor:
    """A gate's rows in our order; their PLE has those of the shared experts last."""
    return rows.roll(case.levels[0].shared, 0) if case.family == "ple" else rows


@pytest.mark.parametrize("family", ["shared_bottom", "mmoe", "ple"])
@pytest.mark.parametrize("seed", range(10))
@torch.no_grad()
def test_same_predictions(seed: int, family: str) -> None:
    case = case_of(family, seed)
    theirs = their_model(case).double().eval()
    randomise(theirs, seed)
    generator = torch.Generator().manual_seed(seed)
    ids = {name: torch.randint(0, ROWS, (32,), generator=generator) for name in FEATURES}
    expected = dict(zip(case.tasks, theirs(ids).T, strict=True))
    for layout in LAYOUTS:
        ours, module = build(load(spec_with_ids(case)), layout)
        state = logical(theirs, case)
        assert state.keys() == module.logical_state(ours).keys()
        module.load_logical_state(ours, state)
        found = {task: logit.sigmoid() for task, logit in ours.eval()(ids).items()}
        for task in case.tasks:
            torch.testing.assert_close(found[task], expected[task], rtol=1e-10, atol=1e-10)
