"""`--lr-of`, `--l1`, `--l2` and optimisers = a loop by hand in float64, weight by weight."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from parts_by_hand import ROWS, batch, by_hand, rows_of, step_of, trained
from torch import Tensor

from homespec.data.batches import Batch
from homespec.train import RunError
from homespec.train.settings import Settings
from homespec.train.train_step import TrainStep

RULES = ("features.*=0.5x", "experts.*=0.1x", "experts.*.g.*=1e-2", "towers.b.*=2x")
STEP = 0.02
PENALTIES = {
    "l2": ("features.*=1e-2", "experts.*=3e-3", "experts.*.g.*=2e-2", "towers.*=1e-3"),
    "l1": ("features.video.*=1e-3", "gates.*=2e-3"),
}
CASES: dict[str, dict[str, Any]] = {
    "rates": {"lr_of": RULES},
    "rates and decay": {"lr_of": RULES, "weight_decay": 0.1},
    "decoupled decay": {"lr_of": RULES, "weight_decay": 0.1, "optimizer": "adamw"},
    "sgd": {"optimizer": "sgd", "weight_decay": 0.1},
    "sgd with rates": {"optimizer": "sgd", "lr_of": RULES, **PENALTIES},
    "adagrad": {"optimizer": "adagrad", "weight_decay": 0.1},
    "adagrad with rates": {"optimizer": "adagrad", "lr_of": RULES, **PENALTIES},
    "penalties": PENALTIES,
    "penalties and decay": {**PENALTIES, "weight_decay": 0.1, "optimizer": "adamw"},
    "penalties and clipping": {**PENALTIES, "clip": 0.05},
    "everything": {**PENALTIES, "l2": ("*=1e-3",), "lr_of": ("*=0.5x", *RULES), "clip": 0.05},
    "a falling rate": {"schedule": "exponential", "half_life": 1.5, "lr_of": RULES},
}


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_every_weight_goes_as_by_hand(case: str, optimize: bool) -> None:
    given = {"schedule": "constant", **CASES[case]}
    settings = Settings(lr=STEP, optimize=optimize, **given)
    found, expected = trained(settings, 4), by_hand(settings, 4)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    start = trained(settings, 0)
    assert all(not each.equal(start[n]) for n, each in found.items() if each.is_floating_point())


@pytest.mark.parametrize(
    "case", ["rates", "penalties", "sgd with rates", "everything", "a falling rate"]
)
def test_sparse_tables_go_as_by_hand(case: str) -> None:
    """Their sums are kept in float32."""
    given = {"schedule": "constant", **CASES[case], "clip": None}
    settings = Settings(lr=STEP, table_optimizer="adagrad", table_lr=0.1, **given)
    found, expected = trained(settings, 4), by_hand(settings, 4)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("tables", ["adam", "adagrad"])
def test_a_row_that_the_batch_does_not_read_stays(tables: str) -> None:
    """A penalty moves those that it reads, each once, however often it reads them."""
    start = step_of(Settings()).code
    settings = Settings(table_optimizer=tables, l2=("features.*=1e-2",), l1=("features.*=1e-3",))
    plain, penalised = step_of(dataclasses.replace(settings, l1=(), l2=())), step_of(settings)
    read = batch(0)
    for step in (plain, penalised):
        losses_T = step.losses(read)
        step.backward(step.weighting.loss(losses_T), losses_T)
        step.clip(None)
    grads = [gradients(step) for step in (plain, penalised)]
    weights = start.logical_state(penalised.model)
    for name, rows in rows_of(read).items():
        added = grads[1][name] - grads[0][name]
        expected = torch.zeros_like(added)
        own = weights[name][rows].double()
        expected[rows] = 1e-2 * own + 1e-3 * own.sign()
        torch.testing.assert_close(added, expected, rtol=1e-10, atol=1e-12)
        assert len(rows) < len(added)
    assert grads[0]["towers.a.linears.0.weight"].equal(grads[1]["towers.a.linears.0.weight"])


def gradients(step: TrainStep) -> dict[str, Tensor]:
    grads = {n: p.grad for n, p in step.model.named_parameters() if p.grad is not None}
    dense = {n: g.to_dense() if g.is_sparse else g for n, g in grads.items()}
    return dict(step.code.logical_views(step.model, dense))


@pytest.mark.parametrize("tables", ["adam", "adagrad"])
def test_rows_without_a_label_are_not_read_for_a_penalty(tables: str) -> None:
    """As everywhere they count nowhere."""
    step = step_of(Settings(table_optimizer=tables, l2=("features.*=1",)))
    read = batch(0)
    hidden = {task: label.clone() for task, label in read.labels.items()}
    for label in hidden.values():
        label[ROWS // 2 :] = math.nan
    losses_T = step.losses(Batch(read.features, hidden))
    step.backward(step.weighting.loss(losses_T), losses_T)
    step.clip(None)
    seen = gradients(step)["features.user.weight"].abs().sum(1) > 0
    labelled = Batch({n: each[: ROWS // 2] for n, each in read.features.items()}, {})
    assert seen.nonzero().flatten().tolist() == rows_of(labelled)["features.user.weight"].tolist()
    assert int(seen.sum()) < len(rows_of(read)["features.user.weight"])


# ---------------------------------------------------------------- zero, and what is refused


def test_a_rate_of_zero_is_frozen() -> None:
    """`0` is `--freeze`; the last rule counts, so that all but some may be named."""
    settings = Settings(lr=STEP, lr_of=("*=0", "towers.*=1x"), schedule="constant")
    start, found = trained(settings, 0), trained(settings, 3)
    moved = {n for n in start if not start[n].equal(found[n])}
    assert moved == {n for n in start if n.startswith("towers.")}
    state = step_of(settings).state()
    assert all(key.split("/")[1].startswith(("towers.", "last_T")) for key in state)
    kept = Settings(lr=STEP, freeze=("features.*",), lr_of=("experts.*=0",))
    assert step_of(kept).frozen.names == {n for n in start if n.startswith(("features", "experts"))}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no such weight": (
        {"lr_of": ("towers.e.*=1",)},
        "--lr-of towers.e.* matches no weight: after towers. comes `a`, `b`, `c` and `d`",
    ),
    "nearly": (
        {"l2": ("feature.*=1",)}, "--l2 feature.* matches no weight: did you mean features.*?"
    ),
    "taken by later rules": (
        {"lr_of": ("towers.a.*=1", "towers.*=2")},
        "--lr-of 'towers.a.*=…' has no effect: rules after it match all of its weights, and the"
        " last one counts. Remove it, or give it after them",
    ),
    "statistics": (
        {"lr_of": ("*running_mean=1",)},
        "--lr-of '*running_mean=…' matches running statistics alone, which have no learning rate:"
        " name weights",
    ),
    "frozen": (
        {"lr_of": ("towers.*=1",), "freeze": ("towers.*",)},
        "--lr-of 'towers.*=…' names only what --freeze keeps as it is: leave one of the two out",
    ),
    "vectors": (
        {"l1": ("*.bias=1",)},
        "--l1 '*.bias=…' matches only vectors (biases, norms and the like), which penalties spare"
        " as decay does: name matrices or tables that are trained",
    ),
    "frozen matrices": (
        {"l2": ("towers.*=1",), "lr_of": ("towers.*=0",)},
        "--l2 'towers.*=…' matches only what is frozen: name matrices or tables that are trained",
    ),
    "nothing left": (
        {"lr_of": ("*=0",)}, "--lr-of with rate 0 leaves nothing to train: give fewer patterns"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    given, message = REFUSED[case]
    with pytest.raises(RunError) as error:
        step_of(Settings(**given))
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lr_of": ("towers.*",)}, "lr_of: 'towers.*' is not PATTERN=NUMBER, such as 'tow"),
        (
            {"lr_of": ("towers.*=fast",)},
            "'fast' in 'towers.*=fast' is not a rate such as 1e-4, a p",
        ),
        ({"lr_of": ("towers.*=-1x",)}, "is not a rate such as 1e-4, a part such as 0.1x, or 0, fr"),
        ({"lr_of": ("towers.*=nan",)}, "from 0 to 1000"),
        ({"l2": ("towers.*=0.1x",)}, "'0.1x' in 'towers.*=0.1x' is not a factor such as 1e-5"),
        ({"l1": "towers.*=1"}, "l1 is 'towers.*=1', not a tuple of rules"),
    ],
)
def test_rules_are_read_before_anything_else(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        Settings(**given)
    assert message in str(error.value)


def test_an_exponential_rate_needs_its_half_life() -> None:
    with pytest.raises(RunError, match="--schedule exponential needs --half-life, the steps in"):
        step_of(Settings(schedule="exponential")).schedule(10)


# ---------------------------------------------------------------- what costs nothing


@pytest.mark.parametrize("tables", ["adam", "adagrad"])
def test_without_rules_a_step_is_what_it_was(tables: str) -> None:
    """Two groups of one fused optimiser, no hooks, nothing to add."""
    step = step_of(Settings(table_optimizer=tables))
    groups = step.optimizer.param_groups
    assert len(groups) == (2 if tables == "adam" else 3)
    assert all(group["fused"] for group in groups[:2])
    hooks = (step.optimizer._optimizer_step_pre_hooks, step.optimizer._optimizer_step_post_hooks)
    assert not any(hooks)
    assert (step.penalties.terms, step.rates.shares) == ([], {})


def test_a_rate_of_whole_tensors_is_a_group() -> None:
    """No weight is copied; only where parts of one tensor differ."""
    settings = Settings(lr_of=("towers.*=0.1x", "features.*=1e-3"))
    step = step_of(settings)
    assert step.rates.shares == {}
    rates = {group["lr"] for group in step.optimizer.param_groups}
    assert rates == {settings.lr, settings.lr * 0.1, 1e-3}
    mixed = step_of(Settings(lr_of=("experts.task.g.*=0.1x",)))
    assert all(shares.numel() < 20 for shares in mixed.rates.shares.values())
    assert mixed.rates.shares
