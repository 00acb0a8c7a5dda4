"""The label graph: sample spaces, products and regressions against naive formulas in float64."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

import homespec
from homespec.train import report, run
from homespec.train.run import Settings

SPEC = """\
homespec: 1
name: shop
features: {asr: {dense: 6}, user: {id: {buckets: 50}, dim: 4}}
groups:
  watch: [click, play, stay, share]
  shop: [cart, buy]
tasks:
  click: {label: is_click}
  play: {kind: regression, label: play_ms, loss: huber, scale: 1000, where: click}
  stay: {kind: regression, label: stay_s}
  share: {kind: regression, label: share_s, loss: absolute, weight: 0.5}
  cart: {label: is_cart, where: click}
  buy: {label: is_buy, where: cart, weight: 0}
  ctcvr: {product: [cart, buy], label: is_buy, weight: 2}
  all_the_way: {product: [click, ctcvr], label: is_paid}
experts: {width: 8, hidden: [8]}
gates: {feature: {rank: 2}}
towers: {hidden: [4]}
"""
TASKS = ("click", "play", "stay", "share", "cart", "buy", "ctcvr", "all_the_way")
REGRESSIONS = {"play": 1000.0, "stay": 1.0, "share": 1.0}
BATCH = 64


@pytest.fixture(scope="module", params=[True, False], ids=["optimised", "plain"])
def code(request: pytest.FixtureRequest) -> ModuleType:
    return homespec.build_module(homespec.loads(SPEC), optimize=request.param)


def features(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "asr": torch.randn(BATCH, 6, generator=generator, dtype=torch.float64),
        "user": torch.randint(1000, (BATCH,), generator=generator),
    }


def labels(seed: int = 0) -> dict[str, Tensor]:
    """Labels with gaps, regressions on the scale of their units."""
    generator = torch.Generator().manual_seed(seed)
    by_task = {}
    for task in TASKS:
        values = torch.randint(2, (BATCH,), generator=generator).double()
        if task in REGRESSIONS:
            values = 3 * REGRESSIONS[task] * torch.randn(BATCH, generator=generator).double()
        gone = torch.rand(BATCH, generator=generator) < 0.2
        by_task[task] = values.masked_fill(gone, torch.nan)
    return by_task


def naive_loss(task: str, logits: dict[str, Tensor], given: dict[str, Tensor]) -> Tensor:
    """Row by row, from the definitions alone."""
    terms = []
    for row in range(BATCH):
        label = given[task][row]
        parent = {"play": "click", "cart": "click", "buy": "cart"}.get(task)
        if label.isnan() or (parent is not None and given[parent][row] != 1):
            continue
        logit = logits[task][row]
        if task in REGRESSIONS:
            error = logit - label / REGRESSIONS[task]
            if task == "play":  # Huber with its knee at 1
                near = error.abs() <= 1
                terms.append(error**2 / 2 if near else error.abs() - 0.5)
            else:
                terms.append(error.abs() if task == "share" else error**2)
        else:
            p = torch.sigmoid(logit)
            terms.append(-(label * p.log() + (1 - label) * (1 - p).log()))
    return torch.stack(terms).mean() if terms else torch.zeros(())


def test_losses(code: ModuleType) -> None:
    torch.manual_seed(0)
    model = code.Model().double()
    logits = model(features())
    assert tuple(logits) == code.TASKS == TASKS
    given = labels()
    losses = code.losses(logits, given)
    for task in TASKS:
        expected = naive_loss(task, logits, given)
        torch.testing.assert_close(losses[task], expected, rtol=1e-10, atol=1e-12)
    weights = {"share": 0.5, "buy": 0.0, "ctcvr": 2.0}
    total = sum(weights.get(task, 1.0) * losses[task] for task in TASKS)
    torch.testing.assert_close(code.loss(logits, given), total)


def test_products_of_probabilities(code: ModuleType) -> None:
    model = code.Model().double()
    p = {task: torch.sigmoid(logit) for task, logit in model(features()).items()}
    torch.testing.assert_close(p["ctcvr"], p["cart"] * p["buy"], rtol=1e-12, atol=0)
    torch.testing.assert_close(p["all_the_way"], p["click"] * p["ctcvr"], rtol=1e-12, atol=0)


def test_gradients_equal_those_of_the_formulas(code: ModuleType) -> None:
    torch.manual_seed(1)
    model = code.Model().double()
    given = labels(1)
    weights = {"share": 0.5, "buy": 0.0, "ctcvr": 2.0}

    def gradients(loss: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(loss, list(model.parameters()), retain_graph=True))

    logits = model(features(1))
    naive = sum(weights.get(t, 1.0) * naive_loss(t, logits, given) for t in TASKS)
    assert isinstance(naive, Tensor)
    actual, expected = gradients(code.loss(logits, given)), gradients(naive)
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


def test_every_parameter_is_trained() -> None:
    """Those of `buy`, whose weight is 0, by way of the product."""
    code = homespec.build_module(homespec.loads(SPEC))
    seen: dict[str, float] = {}
    for seed in range(4):
        torch.manual_seed(seed)
        model = code.Model().double()
        for _ in range(2):  # LoRAs start at 0, so `down` is reached in the second step
            model.zero_grad()
            code.loss(model(features(seed)), labels(seed)).backward()
            torch.optim.SGD(model.parameters(), lr=0.1).step()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            parts = parameter.grad.flatten(1).abs().sum(1) if parameter.dim() > 1 else None
            least = float(parts.min()) if parts is not None and "table" not in name else 1.0
            seen[name] = max(seen.get(name, 0.0), least)
    assert min(seen.values()) > 0, {name for name, value in seen.items() if value == 0}


@pytest.mark.parametrize("size", [1.0, 30.0, 100.0, 1e4])
def test_products_of_extreme_logits(code: ModuleType, size: float) -> None:
    """No overflow, no NaN; the limits are right and the gradients finite."""
    signs = torch.tensor([[-1.0, -1], [-1, 1], [1, -1], [1, 1]], dtype=torch.float64)
    logits = (size * signs).requires_grad_()
    product = code.product_logit(logits[:, 0], logits[:, 1])
    assert product.isfinite().all()
    expected = torch.tensor([-2 * size, -size, -size, size - math.log(2)], dtype=torch.float64)
    if size >= 30:
        torch.testing.assert_close(product.detach(), expected, rtol=1e-9, atol=1e-9)
    product.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (logits.grad >= 0).all()


def test_a_batch_without_samples(code: ModuleType) -> None:
    """Loss 0 and gradients 0, not NaN."""
    model = code.Model().double()
    given = labels()
    given["click"] = torch.zeros(BATCH, dtype=torch.float64)
    given["stay"] = torch.full((BATCH,), torch.nan, dtype=torch.float64)
    losses = code.losses(model(features()), given)
    assert [losses[task].item() for task in ("play", "cart", "stay")] == [0.0, 0.0, 0.0]
    losses["play"].backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
    loss = code.loss(model(features()), given)
    model.zero_grad()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_observed(code: ModuleType) -> None:
    given = {task: torch.tensor([1, 0, 1, 1]) for task in TASKS}
    given["click"] = torch.tensor([1, 1, 0, 1])
    given["cart"] = torch.tensor([1.0, 0.0, 1.0, math.nan])
    seen = code.observed(given)
    nan = math.nan
    assert seen["click"].tolist() == [1, 1, 0, 1]
    for task, expected in {
        "play": [1.0, 0.0, nan, 1.0],
        "buy": [1.0, nan, 1.0, nan],
        "cart": [1.0, 0.0, nan, nan],
    }.items():
        torch.testing.assert_close(
            seen[task].double(), torch.tensor(expected).double(), equal_nan=True
        )


def test_both_forms_agree() -> None:
    loaded = homespec.loads(SPEC)
    optimised, plain = (homespec.build_module(loaded, optimize=o) for o in (True, False))
    one, two = optimised.Model().double(), plain.Model().double()
    plain.load_logical_state(two, optimised.logical_state(one))
    for task, logit in one(features()).items():
        torch.testing.assert_close(logit, two(features())[task], rtol=1e-10, atol=1e-10)


def test_specs_without_label_graph_have_none_of_it() -> None:
    text = homespec.compile(Path(__file__).parents[1] / "specs" / "quickstart.yaml")
    for word in ("observed", "product_logit", "SCALES", "WHERE", "mean_losses"):
        assert word not in text.replace("not observed", "")


def test_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path)
    result = run.train(
        homespec.loads(SPEC),
        run.Place([tmp_path], tmp_path / "out"),
        Settings(epochs=5, batch_size=128, lr=0.01, compile=False),
        print,
    )
    tasks = result.tasks
    assert {name for name, task in tasks.items() if task.kind == "regression"} == set(REGRESSIONS)
    assert tasks["click"].auc > 0.6
    assert math.isnan(tasks["click"].mae)
    assert math.isnan(tasks["stay"].auc)
    assert tasks["stay"].mae <= tasks["stay"].rmse
    assert tasks["stay"].loss_last < tasks["stay"].loss_first
    report.show(result, tmp_path / "out", [tmp_path])
    text = capsys.readouterr().out
    assert "mean label" in text
    assert text.index("all_the_way") < text.index("mean label") < text.index("stay")


def write(folder: Path, rows: int = 1024) -> None:
    generator = torch.Generator().manual_seed(7)
    asr = torch.randn(rows, 6, generator=generator)

    def coin(logit: Tensor) -> Tensor:
        return (torch.rand(rows, generator=generator) < logit.sigmoid()).float()

    click = coin(2 * asr[:, 0])
    cart = click * coin(asr[:, 1])
    buy = cart * coin(asr[:, 2])
    columns: dict[str, Any] = {
        "asr": asr.tolist(),
        "user": torch.randint(50, (rows,), generator=generator).tolist(),
        "is_click": click.tolist(),
        "is_cart": cart.tolist(),
        "is_buy": buy.tolist(),
        "is_paid": buy.tolist(),
        "play_ms": (click * 5000 * asr[:, 3].exp()).tolist(),
        "stay_s": (2 + asr[:, 4]).tolist(),
        "share_s": asr[:, 5].tolist(),
    }
    for name in ("train", "valid"):
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
