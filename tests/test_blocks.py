"""Building blocks of generated files, each against plain torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from homespec.emit import copies
from homespec.emit.blocks import (
    gates,
    kernels,
    logical,
    losses,
    norms,
    order,
    plain,
    products,
    stacks,
    transpose,
)

ROWS = 5


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def parts(module: nn.Module) -> dict[str, Tensor]:
    """The parts of a module's tensors by logical name."""
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    return {n: t.detach() for n, t in logical.logical_views(module, tensors).items()}


@pytest.mark.parametrize("inputs", [1, 2, 4])
@pytest.mark.parametrize("bias", [True, False])
def test_linears_are_linears(inputs: int, bias: bool) -> None:
    linears = stacks.Linears__bare(["a", "b", "c", "d"], 3, 2, bias=bias)
    x = torch.randn(inputs, 3, ROWS)
    own = parts(linears)
    for i, (name, y) in enumerate(zip("abcd", linears(x), strict=True)):
        read = x[i // (4 // inputs)].T
        expected = F.linear(read, own[f"{name}.weight"], own.get(f"{name}.bias"))
        torch.testing.assert_close(y.T, expected)
    assert set(own) == {f"{n}.{t}" for n in "abcd" for t in ["weight", *["bias"] * bias]}


def test_mlps_have_an_activation_between_linears() -> None:
    for cls, activation in ((stacks.MLPs, F.relu), (stacks.SwishMLPs, F.silu)):
        mlps = cls(("a", "b"), 3, 4, 2)
        x, own = torch.randn(1, 3, ROWS), parts(mlps)
        for name, y in zip("ab", mlps(x), strict=True):
            first, last = (
                (own[f"{name}.linears.{i}.weight"], own[f"{name}.linears.{i}.bias"])
                for i in range(2)
            )
            expected = F.linear(activation(F.linear(x[0].T, *first)), *last)
            torch.testing.assert_close(y.T, expected)


def test_a_prelu_has_a_slope_for_each_mlp() -> None:
    module, u = norms.PReLU(["a", "b"]), torch.randn(2, 3, ROWS)
    assert all(slope.tolist() == [0.25] for slope in parts(module).values())
    assert set(parts(module)) == {"a.act.weight", "b.act.weight"}
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[0.5], [-0.1]]))
    for part, slope, found in zip(u, module.weight, module(u), strict=True):
        torch.testing.assert_close(found, F.prelu(part, slope))


def test_layered_mlps_have_modules_after_hidden_layers() -> None:
    mlps = stacks.LayeredMLPs(("a", "b"), 3, 4, 5, 2, hidden=lambda names, _: [norms.PReLU(names)])
    x, own = torch.randn(1, 3, ROWS), parts(mlps)
    for name, y in zip("ab", mlps(x), strict=True):
        expected = x[0].T
        for i in range(3):
            linear = (own[f"{name}.linears.{i}.{kind}"] for kind in ("weight", "bias"))
            expected = F.linear(expected, *linear)
            if i < 2:
                expected = F.prelu(expected, own[f"{name}.hidden.{i}.act.weight"])
        torch.testing.assert_close(y.T, expected)


def test_a_bare_mlp_lacks_its_last_bias_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "Linears", stacks.Linears__bare)  # as in a file with such MLPs
    own = parts(stacks.MLPs__bare(("a",), 3, 4, 2, last_bias=False))
    assert set(own) == {"a.linears.0.weight", "a.linears.0.bias", "a.linears.1.weight"}


@pytest.mark.parametrize("inputs", [1, 2])
def test_projections_are_linears(inputs: int) -> None:
    sections = ((("a", "b"), 3), (("c", "d", "e", "f"), 2), (("g", "h"), 1))
    for module, biased in (
        (gates.Projections((inputs, 4), *sections, unbiased=1), "cdefgh"),
        (gates.Projections__logits((inputs, 4), *sections), "abcdefgh"),
    ):
        x, own = torch.randn(inputs, 4, ROWS), parts(module)
        assert sum(t.numel() for t in own.values()) == sum(p.numel() for p in module.parameters())
        for (names, rows), made in zip(sections, module(x), strict=True):
            assert made.shape == (len(names), rows, ROWS)
            for i, name in enumerate(names):
                read = x[i * inputs // len(names)].T
                bias = own[f"{name}.bias"] if name in biased else None
                torch.testing.assert_close(made[i].T, F.linear(read, own[f"{name}.weight"], bias))


def test_joined_projections_are_each_by_itself() -> None:
    def projections(inputs: int, *names: str) -> nn.Module:
        return gates.Projections((inputs, 4), (names[:inputs], 3), (names[inputs:], 2), unbiased=1)

    first, second, third = projections(1, *"abc"), projections(2, *"defg"), projections(1, *"hijk")
    x = torch.randn(4, 4, ROWS)
    for module, inputs in (
        (gates.JoinedProjections([first, second, third]), [0, 1, 3, 4]),
        (gates.JoinedProjections([first, third]), [0, 1, 2]),
    ):
        parts = [
            each(x[start:end]) for each, start, end in zip(module, inputs, inputs[1:], strict=False)
        ]
        made = module(x[: inputs[-1]])
        assert [len(part) for part in made] == [inputs[-1], sum(len(p[1]) for p in parts)]
        for i, part in enumerate(made):
            assert torch.equal(part, torch.cat([each[i] for each in parts]))


def test_blocks_know_the_letters_of_their_shapes() -> None:
    assert copies.block("gates", "mix").axes == {"B", "D", "G", "K", "O"}
    assert copies.block("gates", "mix").suffixes == set()
    assert copies.block("din", "compare").suffixes == {"B", "E", "H", "L", "N", "Q"}


def test_feature_gates_start_at_one() -> None:
    names = [f"a.loras.{i}" for i in range(4)]
    x, down, router = torch.randn(1, 6, ROWS), torch.randn(4, 2, ROWS), torch.randn(2, 2, ROWS)
    for cls in (gates.FeatureGates, gates.FeatureGatesOfLogits):
        module = cls(names, 6, 2)
        torch.testing.assert_close(module(x, down, router), x.expand(2, -1, -1))
        nn.init.normal_(module.weight)
        assert not torch.equal(module(x, down, router), x.expand(2, -1, -1))
    single = gates.SingleFeatureGates(names, 6, 2)
    torch.testing.assert_close(single(x, down), x.expand(4, -1, -1))


def test_mixtures_are_weighted_sums() -> None:
    w, e = torch.randn(4, 3, ROWS), torch.randn(2, 3, 6, ROWS)
    expected = torch.einsum("okb,okdb->odb", w, e.repeat_interleave(2, 0))
    torch.testing.assert_close(gates.mix(w, e), expected)
    torch.testing.assert_close(gates.mix__joined(w, e), expected)
    torch.testing.assert_close(gates.mix_each(w, e, [2, 2]), expected)
    uneven = torch.einsum("okb,okdb->odb", w, e[[0, 1, 1, 1]])
    torch.testing.assert_close(gates.mix_each(w, e, [1, 3]), uneven)
    joined = torch.einsum("kb,kdb->db", w.flatten(0, 1)[:6], e.flatten(0, 1))
    torch.testing.assert_close(gates.mix__joined(w.flatten(0, 1)[None, :6], e)[0], joined)


def test_norms_are_those_of_torch() -> None:
    u = torch.randn(2, 3, ROWS)
    names = ("a", "b")
    batch = norms.BatchNorm(names, 3, eps=1e-3, momentum=0.2)
    expected = [F.batch_norm(part.T, None, None, training=True, eps=1e-3).T for part in u]
    torch.testing.assert_close(batch(u), torch.stack(expected))
    swish = norms.BatchNormSwish(names, 3, eps=1e-3, momentum=0.2)
    torch.testing.assert_close(swish(u), F.silu(torch.stack(expected)))
    layer = norms.LayerNorm(names, 3, eps=1e-3)
    expected = [F.layer_norm(part.T, (3,), eps=1e-3).T for part in u]
    torch.testing.assert_close(layer(u), torch.stack(expected))
    torch.testing.assert_close(batch.running_mean, 0.2 * u.mean(-1))
    assert batch.half().running_var.dtype == torch.float32


def test_a_product_of_probabilities_has_a_logit() -> None:
    logits = torch.randn(3, 7, dtype=torch.float64)
    made = products.product_logit(*logits)
    torch.testing.assert_close(made.sigmoid(), logits.sigmoid().prod(0))
    assert products.product_logit(*torch.full((2, 1), 80.0)).isfinite()


def test_a_transpose_is_one_and_so_is_its_gradient() -> None:
    x = torch.randn(ROWS, 3, requires_grad=True)
    y = transpose.Transpose.apply(x)
    (y * torch.arange(ROWS)).sum().backward()
    assert torch.equal(y, x.T)
    assert y.is_contiguous()
    torch.testing.assert_close(x.grad, torch.arange(ROWS).float().unsqueeze(1).expand(-1, 3))


def test_an_order_follows_the_weights() -> None:
    module = order.Ordered()
    module.weight = nn.Parameter(torch.zeros(1))
    assert module.task_order.tolist() == [0, 2, 1]
    assert module.to("meta").task_order.is_meta
    assert module.to_empty(device="cpu").task_order.tolist() == [0, 2, 1]
    assert "order" not in module.state_dict()


def test_losses_look_at_what_they_get() -> None:
    """The constants of the blocks' own module have three tasks."""
    tasks = losses.TASKS
    logits = {task: torch.randn(ROWS) for task in tasks}
    labels = {task: torch.randint(0, 2, (ROWS,)).float() for task in tasks}
    labels[tasks[0]][1] = torch.nan
    for task, loss in losses.losses(logits, labels).items():
        seen = ~labels[task].isnan()
        expected = F.binary_cross_entropy_with_logits(logits[task][seen], labels[task][seen])
        torch.testing.assert_close(loss, expected)
    with pytest.raises(ValueError, match=r"^labels missing: like$"):
        losses.loss(logits, {t: labels[t] for t in tasks if t != "like"})
    with pytest.raises(ValueError, match=r"from 0 to 1, or NaN: check those of like$"):
        losses.loss(logits, {**labels, "like": torch.full((ROWS,), 2.0)})


def test_plain_experts_have_a_norm_and_an_activation() -> None:
    expert = plain.Expert__batch((3, 4, 2), plain.BatchNorm1d(2, eps=1e-5, momentum=0.1), F.silu)
    assert {n for n, _ in expert.named_parameters()} == {
        "linears.0.weight", "linears.0.bias", "linears.1.weight", "norm.weight", "norm.bias",
    }  # fmt: skip
    assert expert(torch.randn(ROWS, 3)).shape == (ROWS, 2)


def test_without_a_gpu_kernels_are_their_parents() -> None:
    names = [f"a.loras.{i}" for i in range(4)]
    fused, parent = kernels.FusedFeatureGates(names, 6, 2), gates.FeatureGates(names, 6, 2)
    fused.load_state_dict({"weight": torch.randn(4, 6, 2)})
    parent.load_state_dict(fused.state_dict())
    given = torch.randn(1, 6, ROWS), torch.randn(4, 2, ROWS), torch.randn(2, 2, ROWS)
    assert torch.equal(fused(*given), parent(*given))
