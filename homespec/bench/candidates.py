"""Benchmark: builds the variants of a spec with equal weights, and checks that they are equal."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

import homespec
from homespec.api import LoadedSpec
from homespec.bench.random_batch import even_boundaries, random_features, random_labels
from homespec.bench.step import Candidate, Tensors, model_loss
from homespec.bench.variants import VARIANTS
from homespec.runtime import GeneratedModule

SEED = 0
"""Of weights, features and labels."""

TOLERANCE = {"float32": 1e-3, "bf16": 2e-1}
"""Greatest relative difference of loss and of the whole gradient (by its norm) from plain code in
float32. At the industrial size rounding to bf16 alone moves the gradient of plain code by 0.10.
"""


STATISTICS = (".running_mean", ".running_var", ".boundaries")
"""Ends of the logical names of what is no parameter."""


class Unequal(Exception):  # noqa: N818  # a finding about the generated code
    """A variant computes something else than the plain code."""


@dataclass(slots=True)
class Built:
    """A variant of a spec, ready to train."""

    name: str
    candidate: Candidate
    code: GeneratedModule


def weights_of(spec: LoadedSpec) -> Tensors:
    """Initial weights by logical name; those that start at zero get values, to be compared."""
    torch.manual_seed(SEED)
    code, model = homespec.build_with_module(spec, optimize=False)
    if fitted := even_boundaries(spec):
        code.set_boundaries(model, fitted)
    state: Tensors = code.logical_state(model)
    return {
        name: tensor
        if tensor.any() or name.endswith(STATISTICS)
        else 0.1 * torch.randn_like(tensor)
        for name, tensor in state.items()
    }


def build(
    spec: LoadedSpec, name: str, weights: Tensors, rows: int, device: str, precision: str
) -> Built:
    """A variant with these weights; all variants get the same batch."""
    variant = VARIANTS[name]
    code, model = homespec.build_with_module(
        spec, optimize=variant.optimize, target=variant.target, device=device
    )
    code.load_logical_state(model, weights)
    torch.manual_seed(SEED)
    features, labels = random_features(spec, rows, device), random_labels(spec, rows, device)
    bf16 = precision == "bf16"
    loss_of = model_loss(model, code.loss)
    candidate = Candidate(model, loss_of, features, labels, device, bf16, variant.mode)
    return Built(name, candidate, code)


def first_step(built: Built) -> Tensors:
    """The loss, under the name `loss`, and all gradients by logical name, of the first batch."""
    loss = built.candidate.backward().detach().clone()
    model = built.candidate.model
    found = {"loss": loss, **_gradients(model, built.code)}
    model.zero_grad()
    return found


def _gradients(model: nn.Module, code: GeneratedModule) -> Tensors:
    """Gradients are laid out as the parameters are: they are put in their place to be read."""
    values = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        grad = parameter.grad
        parameter.data.copy_(torch.zeros_like(parameter) if grad is None else grad)
    named: Tensors = code.logical_state(model)
    found = {name: t.clone() for name, t in named.items() if not name.endswith(STATISTICS)}
    for name, parameter in model.named_parameters():
        parameter.data.copy_(values[name])
    return found


def difference(found: Tensors, expected: Tensors) -> float:
    """The greater of the relative differences of loss and gradient."""
    loss = abs(float(found["loss"] - expected["loss"])) / abs(float(expected["loss"]))
    own, other = (_flat(tensors, expected) for tensors in (found, expected))
    return max(loss, float((own - other).norm() / other.norm()))


def _flat(tensors: Tensors, order: Tensors) -> Tensor:
    return torch.cat([tensors[name].flatten().double() for name in order if name != "loss"])


def check_equal(name: str, found: Tensors, expected: Tensors, precision: str) -> float:
    """The difference of a variant from plain code; raises Unequal beyond TOLERANCE."""
    differs = difference(found, expected)
    if not differs <= TOLERANCE[precision]:
        raise Unequal(
            f"{name} computes another first step: it differs by {differs:.1e},"
            f" {TOLERANCE[precision]:g} is allowed in {precision}"
        )
    return differs
