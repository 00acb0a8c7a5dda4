"""Training: `--l1` and `--l2`, penalties on weights, applied through their gradients.

For tensors w_t of weights that rules name, they add to the loss

    sum over t of l2_t / 2 * |w_t|²  +  l1_t * |w_t|_1

where only those rows of an embedding table count, once each, for which the losses of the batch have
a gradient. The gradient, l2 w + l1 sign(w), is added to that of the losses after clipping, like the
weight decay of torch's optimisers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from homespec.runtime import GeneratedModule, embeddings_of
from homespec.train import RunError
from homespec.train.patterns import assigned, counted, penalty_rule
from homespec.train.settings import Settings
from homespec.train.tensor_parts import Views, spread

Factors = dict[str, float]
"""The factors other than 0, by logical name."""


@dataclass
class Penalised:
    """A tensor of the model with penalties on all or parts of it."""

    name: str
    by_row: bool
    """Whether it is a table, of which only rows that the batch reads count."""
    l1: Tensor
    """The factors, as tensors that broadcast to the weight."""
    l2: Tensor

    def to(self, weight: Tensor) -> None:
        """Move the factors to the device of the weight."""
        if (self.l1.device, self.l1.dtype) != (weight.device, weight.dtype):
            self.l1, self.l2 = (each.to(weight.device, weight.dtype) for each in (self.l1, self.l2))


class Penalties:
    """The penalties of a run."""

    def __init__(
        self, model: nn.Module, code: GeneratedModule, settings: Settings, frozen: frozenset[str]
    ) -> None:
        """Raises RunError for a rule that matches nothing that it could penalise."""
        self.model = model
        self.remarks: list[str] = []
        """A line for each flag with the number of weights that it penalises."""
        self.terms: list[Penalised] = []
        if settings.l1 or settings.l2:
            self._views: Views = lambda tensors: code.logical_views(model, tensors)
            self._make(settings, frozen)

    def _make(self, settings: Settings, frozen: frozenset[str]) -> None:
        tables = {id(weight) for weight in embeddings_of(self.model)}
        parameters = {n: p.detach() for n, p in self.model.named_parameters()}
        parts = self._views(dict(parameters))
        l1, l2 = (
            self._factors(flag, rules, parts, frozen)
            for flag, rules in (("--l1", settings.l1), ("--l2", settings.l2))
        )
        for name, parameter in self.model.named_parameters():
            own = self._views({name: parameter.detach()})
            if any(part in l1 or part in l2 for part in own):
                by_row = id(parameter) in tables
                factors = (spread(self._views, name, parameter, f, by_row) for f in (l1, l2))
                self.terms.append(Penalised(name, by_row, *factors))

    def _factors(
        self, flag: str, texts: tuple[str, ...], parts: Mapping[str, Tensor], frozen: frozenset[str]
    ) -> Factors:
        rules = [penalty_rule(text) for text in texts]
        found = assigned(flag, rules, list(parts))
        own = {n: rule for n, rule in found.items() if parts[n].dim() > 1 and n not in frozen}
        for rule in rules:
            if rule in own.values() or not rule.number:
                continue
            raise RunError(
                f"{flag} '{rule.pattern}=…' matches {_unfit(found, rule, parts, frozen)}: name"
                " matrices or tables that are trained"
            )
        factors = {name: rule.number for name, rule in own.items() if rule.number}
        if factors:
            sizes = {name: part.numel() for name, part in parts.items()}
            self.remarks.append(f"{flag} penalises {counted(factors, sizes)}")
        return factors

    @torch.no_grad()
    def add(self) -> None:
        """Add to `.grad` of the weights; for sparse gradients, only to their rows."""
        for term in self.terms:
            weight = self.model.get_parameter(term.name)
            term.to(weight)
            if term.by_row:
                _add_by_row(term, weight)
            elif weight.grad is None:
                weight.grad = _gradient(weight, term.l1, term.l2)
            else:
                weight.grad += _gradient(weight, term.l1, term.l2)


def _unfit(
    found: Mapping[str, object], rule: object, parts: Mapping[str, Tensor], frozen: frozenset[str]
) -> str:
    """Why nothing that a rule matches can be penalised."""
    own = [name for name, each in found.items() if each is rule]
    if all(name in frozen for name in own):
        return "only what is frozen"
    if all(parts[name].dim() == 1 for name in own):
        return "only vectors (biases, norms and the like), which penalties spare as decay does"
    return "only vectors, which penalties spare, and what is frozen"


def _gradient(weight: Tensor, l1: Tensor, l2: Tensor) -> Tensor:
    """l2 w + l1 sign(w), with the shape of the weight; the derivative of l1 at 0 is 0."""
    return weight * l2 + weight.sign() * l1


def _add_by_row(term: Penalised, weight_RE: Tensor) -> None:
    grad = weight_RE.grad
    if grad is None:
        return
    if not grad.is_sparse:
        read_R1 = (grad != 0).any(1, keepdim=True)
        grad += _gradient(weight_RE, term.l1, term.l2) * read_R1
        return
    grad = grad.coalesce()  # one entry for each row
    rows_U, grad_UE = grad.indices()[0], grad.values()
    read_U1 = (grad_UE != 0).any(1, keepdim=True)
    l1, l2 = (f if len(f) == 1 else f[rows_U] for f in (term.l1, term.l2))
    own_UE = _gradient(weight_RE[rows_U], l1, l2) * read_U1
    weight_RE.grad = torch.sparse_coo_tensor(
        rows_U.unsqueeze(0), grad_UE + own_UE, weight_RE.shape,
        check_invariants=False, is_coalesced=True,
    )  # fmt: skip
