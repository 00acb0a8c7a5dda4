"""Optimisers: row-wise Adagrad by hand, sparse gradients of tables, decay, learning rates."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import homespec
from homespec import runtime
from homespec.api import LoadedSpec
from homespec.train.optimizers import RowwiseAdagrad, decayed, optimizer_of, schedule
from homespec.train.sparse_embeddings import SparseTables
from homespec.train.torch_compile import obstacle

ROWS, WIDTH = 7, 3
PRELU = """
homespec: 1
name: prelu
features: {user: {id: {buckets: 9}, dim: 4}}
groups: {watch: [click, like]}
tasks: {click: {}, like: {}}
experts: {hidden: [4], width: 4, activation: prelu, hidden_activation: prelu}
towers: {hidden: [4], activation: prelu}
"""


def by_hand(weight: Tensor, grads: list[Tensor], lr: float, eps: float) -> Tensor:
    """Row-wise Adagrad row by row, from its formula."""
    weight, sums = weight.clone(), [0.0] * len(weight)
    for grad in grads:
        for r in range(len(weight)):
            sums[r] += sum(float(x) ** 2 for x in grad[r]) / WIDTH
            if grad[r].any():
                weight[r] -= lr * grad[r] / (sums[r] ** 0.5 + eps)
    return weight


@pytest.mark.parametrize("is_sparse", [False, True])
def test_rowwise_adagrad_is_its_formula(is_sparse: bool) -> None:
    torch.manual_seed(0)
    start = torch.randn(ROWS, WIDTH, dtype=torch.float64)
    weight = start.clone()
    optimizer = RowwiseAdagrad([weight], lr=0.1)
    grads = []
    for _ in range(4):
        rows, values = torch.tensor([5, 0, 5, 2]), torch.randn(4, WIDTH, dtype=torch.float64)
        sparse = torch.sparse_coo_tensor(rows[None], values, weight.shape, check_invariants=False)
        grads.append(sparse.to_dense())
        weight.grad = sparse if is_sparse else sparse.to_dense()
        optimizer.step()
    torch.testing.assert_close(weight, by_hand(start, grads, 0.1, 1e-8), rtol=1e-6, atol=1e-9)
    assert torch.equal(weight[[1, 3, 4, 6]], start[[1, 3, 4, 6]])


def test_with_one_column_it_is_torchs_adagrad() -> None:
    torch.manual_seed(0)
    ours = torch.randn(ROWS, 1)
    theirs = ours.clone()
    optimizers = RowwiseAdagrad([ours], 0.1), torch.optim.Adagrad([theirs], 0.1, eps=1e-8)
    for _ in range(5):
        ours.grad = theirs.grad = torch.randn(ROWS, 1)
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_its_state_is_a_number_for_each_row() -> None:
    weight = torch.randn(ROWS, WIDTH)
    optimizer = RowwiseAdagrad([weight])
    weight.grad = torch.ones(ROWS, WIDTH)
    optimizer.step()
    assert {k: v.tolist() for k, v in optimizer.state[weight].items()} == {"sum": [1.0] * ROWS}
    again = RowwiseAdagrad([weight])
    again.load_state_dict(optimizer.state_dict())
    assert torch.equal(again.state[weight]["sum"], optimizer.state[weight]["sum"])


# ---------------------------------------------------------------- sparse gradients of tables


def the_table(model: nn.Module) -> nn.Parameter:
    """The embeddings of the one width that there is."""
    (weight,) = runtime.embeddings_of(model)
    return weight


def batch(code: Any, rows: int = 16) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Few distinct values, so that rows are looked up more than once."""
    features = {name: torch.randint(0, 9, (rows,)) for name in code.FEATURES}
    features["duration_ms"] = torch.rand(rows) * 90000
    return features, {task: torch.randint(0, 2, (rows,)).float() for task in code.TASKS}


def built(small: LoadedSpec, optimize: bool = True) -> tuple[Any, nn.Module]:
    torch.manual_seed(0)
    return homespec.build_module(small, optimize=optimize), homespec.build(small, optimize=optimize)


def grads(model: nn.Module) -> dict[str, Tensor]:
    found = {name: p.grad for name, p in model.named_parameters()}
    return {n: g.to_dense() if g.is_sparse else g for n, g in found.items() if g is not None}


COMPILED = pytest.param(
    True,
    marks=[
        pytest.mark.compiles,
        pytest.mark.skipif(obstacle() is not None, reason="torch.compile cannot work here"),
    ],
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, in importing inductor
@pytest.mark.parametrize("compiled", [False, COMPILED])
def test_sparse_gradients_are_the_dense_ones(small: LoadedSpec, compiled: bool) -> None:
    code, dense = built(small)
    _, model = built(small)
    tables = SparseTables(model)

    def step(features: dict[str, Tensor], labels: dict[str, Tensor]) -> Tensor:
        loss: Tensor = code.loss(model(features), labels)
        return loss

    step = runtime.compiled(step, dynamic=False) if compiled else step
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for seed in range(4):
        torch.manual_seed(seed)
        features, labels = batch(code)
        dense.zero_grad()
        code.loss(dense(features), labels).backward()
        model.zero_grad()
        tables.fit(features)
        step(features, labels).backward()
        tables.set_aside()
        tables.collect()
        weight = the_table(model)
        assert weight.grad is not None
        assert weight.grad.is_sparse
        torch.testing.assert_close(grads(model), grads(dense))
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"] - before
    assert graphs == compiled


def test_rows_that_were_not_looked_up_stay(small: LoadedSpec) -> None:
    code, model = built(small)
    tables = SparseTables(model)
    weight = the_table(model)
    start = weight.clone()
    features, labels = batch(code)
    tables.fit(features)
    code.loss(model(features), labels).backward()
    tables.set_aside()
    tables.collect()
    RowwiseAdagrad([weight]).step()
    changed = (weight != start).any(1).nonzero().flatten()
    looked_up = torch.cat(list(tables.rows.values())).unique()
    assert torch.equal(changed, looked_up)
    assert len(looked_up) < len(weight) / 10


def test_leaves_follow_the_shape_of_the_batch_and_evaluation_needs_none(small: LoadedSpec) -> None:
    code, model = built(small)
    tables = SparseTables(model)
    for rows in (16, 8):
        features, _ = batch(code, rows)
        tables.fit(features)
        leaves = list(tables.leaves.values())
        tables.fit(features)
        assert all(a is b for a, b in zip(leaves, tables.leaves.values(), strict=True))
        assert {len(leaf) for leaf in leaves} == {rows}
        assert model.get_submodule("features").training
    model.eval()
    model(batch(code, 5)[0])  # gradients are on
    with torch.no_grad():
        model.train()(batch(code, 5)[0])


def test_a_frozen_table_is_left_to_the_optimiser_of_tables(small: LoadedSpec) -> None:
    code, model = built(small)
    weight = the_table(model)
    before = decayed(model, partial(code.logical_views, model), 0.1)
    SparseTables(model)
    after = decayed(model, partial(code.logical_views, model), 0.1)

    def held(groups: list[dict[str, Any]]) -> bool:
        return any(p is weight for group in groups for p in group["params"])

    assert (held(before), held(after)) == (True, False)


# ---------------------------------------------------------------- decay and learning rate


@pytest.mark.parametrize("optimize", [True, False])
def test_matrices_decay_and_nothing_else(small: LoadedSpec, optimize: bool) -> None:
    code, model = built(small, optimize)
    start = {name: value.clone() for name, value in code.logical_state(model).items()}
    groups = decayed(model, partial(code.logical_views, model), weight_decay=0.1)
    optimizer = optimizer_of("adamw", groups, lr=0.5)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, value in code.logical_state(model).items():
        matrix = name.endswith("weight") and value.dim() == 2 and not name.startswith("features.")
        torch.testing.assert_close(value, start[name] * (0.95 if matrix else 1.0))


@pytest.mark.parametrize("optimize", [True, False])
def test_slopes_do_not_decay(optimize: bool) -> None:
    spec = homespec.loads(PRELU)
    code, model = built(spec, optimize)
    groups = decayed(model, partial(code.logical_views, model), 0.1)
    still = [id(p) for group in groups if not group["weight_decay"] for p in group["params"]]
    slopes = 0
    for name, parameter in model.named_parameters():
        if any(n.endswith("act.weight") for n in code.logical_views(model, {name: parameter})):
            assert id(parameter) in still
            slopes += parameter.numel()
    own = [n for n in code.logical_state(model) if n.endswith(".act.weight")]
    assert slopes == len(own) == len([n for n in own if n.startswith("experts.")]) + 2


@pytest.mark.parametrize(
    ("shape", "factors"),
    [
        ("constant", [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1]),
        ("linear", [0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25, 0]),
        ("cosine", [0.25, 0.5, 0.75, 1, 1, 0.8535534, 0.5, 0.1464466, 0]),
    ],
)
def test_learning_rates(shape: Any, factors: list[float]) -> None:
    weight = torch.zeros(2, 2)
    optimizer = RowwiseAdagrad([weight], lr=2.0)
    made = schedule(optimizer, 4, 8, shape)
    found = []
    for step in range(9):
        found.append(optimizer.param_groups[0]["lr"] / 2)
        optimizer.step()
        made.step()
        if step == 5:  # goes on from its state as JSON
            state = json.loads(json.dumps(made.state_dict()))
            optimizer = RowwiseAdagrad([weight], lr=2.0)
            optimizer.param_groups[0]["initial_lr"] = 2.0
            made = schedule(optimizer, 4, 8, shape)
            made.load_state_dict(state)
            optimizer.param_groups[0]["lr"] = made.get_last_lr()[0]
    assert found == pytest.approx(factors)


def test_a_falling_rate_needs_an_end() -> None:
    optimizer = RowwiseAdagrad([torch.zeros(2, 2)])
    for total in (None, 4):
        with pytest.raises(ValueError, match="cosine needs more steps than the 4 of warm-up"):
            schedule(optimizer, 4, total, "cosine")
