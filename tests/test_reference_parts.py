"""The oracle's parts, held against cases worked out by hand from HOME.md."""

from __future__ import annotations

import math

import pytest
import torch
from reference import BatchNorm, Dice, Expert, FeatureGate, LayerNorm
from reference_plan import STYLE
from torch import Tensor
from torch.nn.functional import layer_norm, silu

torch.set_num_threads(1)

V = 6


def inputs(batch: int = 12, seed: int = 1) -> Tensor:
    return torch.randn(batch, V, generator=torch.Generator().manual_seed(seed)).double()


def test_batch_norm_by_hand() -> None:
    norm = BatchNorm(1, eps=0.5, momentum=0.1, affine=True).double()
    out = norm(torch.tensor([[1.0], [5.0]]).double())  # mean 3, biased variance 4, unbiased 8
    torch.testing.assert_close(out[:, 0], torch.tensor([-2.0, 2.0]).double() / math.sqrt(4.5))
    assert norm.running_mean.item() == pytest.approx(0.1 * 3)
    assert norm.running_var.item() == pytest.approx(0.9 * 1 + 0.1 * 8)
    out = norm.eval()(torch.tensor([[1.0]]).double())
    assert out.item() == pytest.approx((1 - 0.3) / math.sqrt(1.7 + 0.5))


def test_norms_agree_with_torch() -> None:
    x = inputs()
    ours, theirs = BatchNorm(V, 1e-3, 0.3, affine=True).double(), torch.nn.BatchNorm1d(V, 1e-3, 0.3)
    torch.testing.assert_close(ours(x), theirs.double()(x))
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
    torch.testing.assert_close(LayerNorm(V, 1e-3).double()(x), layer_norm(x, [V], eps=1e-3))


def test_dice_by_hand() -> None:
    dice = Dice(1, eps=0.0, momentum=0.1).double()
    s = torch.tensor([[1.0], [5.0]]).double()  # normalised: -1 and 1
    p = 1 / (1 + math.exp(-1))
    assert dice(s)[:, 0].tolist() == pytest.approx([(1 - p) * 1, p * 5])
    dice.alpha.data.fill_(0.5)
    assert dice(s)[:, 0].tolist() == pytest.approx([(1 - p) + p * 0.5, p * 5 + (1 - p) * 2.5])


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_every_new_expert_starts_with_the_mean_and_std_of_section_2(scale: float) -> None:
    quantiles = (torch.arange(100_000).double() + 0.5) / 100_000
    normal = torch.special.ndtri(quantiles)[:, None]
    expert = Expert(1, {**STYLE, "width": 1, "norm_eps": 1e-12}).double()
    expert.linears[0].weight.data.fill_(scale)
    out = expert(normal)
    assert out.mean().item() == pytest.approx(0.207, abs=5e-4)
    assert out.std().item() == pytest.approx(0.560, abs=5e-4)


def test_expert_hidden_layers_then_norm_then_activation() -> None:
    style = {"hidden": [3], "width": 2, "norm": "layer", "hidden_activation": "swish"}
    expert = Expert(V, {**STYLE, **style, "activation": "relu"}).double()
    (w0, b0), (w1, b1) = [(lin.weight, lin.bias) for lin in expert.linears]
    x = inputs()
    s = silu(x @ w0.T + b0) @ w1.T + b1
    torch.testing.assert_close(expert(x), torch.relu(layer_norm(s, [2])))


@pytest.mark.parametrize("mix", ["after_sigmoid", "before_sigmoid"])
def test_feature_gate_is_exactly_one_at_first_and_2_sigmoid_later(mix: str) -> None:
    gate = FeatureGate(V, {"loras": 2, "rank": 3, "mix": mix}).double()
    gate.router.weight.data.zero_()  # weights of the LoRAs: 0.25 and 0.75
    gate.router.bias.data = torch.tensor([0.0, math.log(3)]).double()
    x = inputs()
    torch.testing.assert_close(gate(x), torch.ones_like(x), rtol=0, atol=1e-15)
    torch.nn.init.normal_(gate.loras[0].up.weight)
    torch.nn.init.normal_(gate.loras[1].up.weight)
    first, second = (x @ lora.down.weight.T @ lora.up.weight.T for lora in gate.loras)
    if mix == "after_sigmoid":
        expected = 0.25 * 2 * torch.sigmoid(first) + 0.75 * 2 * torch.sigmoid(second)
    else:
        expected = 2 * torch.sigmoid(0.25 * first + 0.75 * second)
    torch.testing.assert_close(gate(x), expected)


def test_one_lora_needs_no_router_and_width_over_loras_is_a_rank() -> None:
    one = FeatureGate(V, {"loras": 1, "rank": 2, "mix": "after_sigmoid"})
    assert one.router is None
    three = FeatureGate(7, {"loras": 3, "rank": "width/loras", "mix": "after_sigmoid"})
    assert [lora.down.weight.shape for lora in three.loras] == [(2, 7)] * 3
