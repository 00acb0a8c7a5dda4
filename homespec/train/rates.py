"""Training: the learning rates that `--lr-of` sets for parts of a model.

A tensor whose parts all have the same rate is in a group of the optimiser with that rate, at no
cost. Optimised code stores many experts in one tensor, some of which may have another rate. Such a
tensor steps with the rate of the model; then the step of each part is scaled to its own rate. The
steps of all optimisers here are proportional to the rate, so the result is exact. Row-wise Adagrad
multiplies by the factor of each row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from homespec.runtime import GeneratedModule, embeddings_of
from homespec.train import RunError
from homespec.train.optimizers import Groups, RowwiseAdagrad, around_steps
from homespec.train.patterns import Rule, assigned, counted, rate_rule
from homespec.train.settings import Settings
from homespec.train.tensor_parts import Views, spread

FLAG = "--lr-of"


class Rates:
    """The rules of a run, and their effect on the tensors of a model."""

    def __init__(self, model: nn.Module, code: GeneratedModule, settings: Settings) -> None:
        """Raises RunError for a rule that matches no weight that learns."""
        self.model = model
        self._views: Views = lambda tensors: code.logical_views(model, tensors)
        self.rules = [rate_rule(text) for text in settings.lr_of]
        self.of_name: dict[str, Rule] = {}
        """The rule of each weight that has one, by logical name."""
        self.zero: frozenset[str] = frozenset()
        """Logical names of weights and statistics whose rate is 0: they are frozen."""
        self.shares: dict[str, Tensor] = {}
        """For each tensor whose parts have several rates, their shares of the tensor's rate, as a
        tensor that broadcasts to it."""
        if self.rules:
            self._assign(code)

    def _assign(self, code: GeneratedModule) -> None:
        sizes = self._sizes()
        of_state = assigned(FLAG, self.rules, list(code.logical_state(self.model)))
        self.zero = frozenset(name for name, rule in of_state.items() if not rule.number)
        self.of_name = {n: r for n, r in of_state.items() if n in sizes and n not in self.zero}
        for rule in self.rules:
            if rule.number and rule not in self.of_name.values():
                raise RunError(
                    f"{FLAG} '{rule.pattern}=…' matches running statistics alone, which have no"
                    " learning rate: name weights"
                )

    def _sizes(self) -> dict[str, int]:
        weights = {n: p.detach() for n, p in self.model.named_parameters()}
        return {name: part.numel() for name, part in self._views(weights).items()}

    def check(self, frozen: Iterable[str]) -> None:
        """Raise RunError if all that a rule matches is frozen."""
        left = {id(rule) for name, rule in self.of_name.items() if name not in set(frozen)}
        for rule in self.rules:
            if rule.number and id(rule) not in left:
                raise RunError(
                    f"{FLAG} '{rule.pattern}=…' names only what --freeze keeps as it is: leave one"
                    " of the two out"
                )

    def remarks(self, lr: float, table_lr: float) -> Iterator[str]:
        """A line for each rule, with its rate and the number of weights that have it."""
        sizes = self._sizes() if self.rules else {}
        for rule in self.rules:
            own = [name for name, each in self.of_name.items() if each is rule]
            if own:
                rates = " or ".join({f"{rate(rule, base):g}": 0 for base in (lr, table_lr)})
                yield f"learning rate of {rule.pattern}: {rates}, {counted(own, sizes)}"

    def split(self, groups: Groups, lr: float) -> Groups:
        """Groups of parameters by rate, which is `lr` unless a rule applies."""
        if not self.of_name:
            return groups
        names = {id(p): name for name, p in self.model.named_parameters()}
        return [part for group in groups for part in self._by_rate(group, lr, names)]

    def _by_rate(
        self, group: dict[str, Any], lr: float, names: Mapping[int, str]
    ) -> Iterator[dict[str, Any]]:
        by_rate: dict[float, list[Tensor]] = {lr: []}
        for parameter in group["params"]:
            own = self._rate_of(names[id(parameter)], parameter, lr)
            by_rate.setdefault(own, []).append(parameter)
        for each, having in by_rate.items():
            if having:
                yield {**group, "params": having, "lr": each}

    def _rate_of(self, name: str, parameter: Tensor, lr: float) -> float:
        """The rate of all parts of a tensor, or `lr` if they have several, which are recorded.

        Frozen parts have none.
        """
        parts = self._views({name: parameter.detach()})
        rates = {
            part: rate(self.of_name[part], lr) if part in self.of_name else lr
            for part in parts
            if part not in self.zero
        }
        different = set(rates.values())
        if len(different) == 1:
            return different.pop()
        if different:
            shares = {part: own / lr for part, own in rates.items()}
            table = any(parameter is each for each in embeddings_of(self.model))
            self.shares[name] = spread(self._views, name, parameter, shares, table)
        return lr

    def hold(self, optimizer: torch.optim.Optimizer, tables: RowwiseAdagrad | None) -> None:
        """Scale the step of each part of a tensor to its own share."""
        own: list[str] = []
        for name, shares in self.shares.items():
            parameter = self.model.get_parameter(name)
            if tables is not None and _is_of(tables, parameter):
                tables.factors[parameter] = shares.float()
            else:
                own.append(name)
        if own:
            around_steps(optimizer, lambda: self._copies(own), self._move)

    def used(self, tables: RowwiseAdagrad | None, in_it: bool) -> list[Rule]:
        """The rules for weights that `tables` steps, or for other weights."""
        found: set[int] = set()
        for name, parameter in self.model.named_parameters():
            if (tables is not None and _is_of(tables, parameter)) == in_it:
                parts = self._views({name: parameter.detach()})
                found |= {id(self.of_name[part]) for part in parts if part in self.of_name}
        return [rule for rule in self.rules if id(rule) in found]

    def _copies(self, names: Iterable[str]) -> dict[str, Tensor]:
        return {name: self.model.get_parameter(name).detach().clone() for name in names}

    @torch.no_grad()
    def _move(self, before: Mapping[str, Tensor]) -> None:
        """Move each part from its position after a step to its share of the way from `before`."""
        for name, then in before.items():
            shares = self.shares[name] = self.shares[name].to(then.device, then.dtype)
            now = self.model.get_parameter(name)
            now.copy_(torch.lerp(then, now, shares.expand_as(now)))


def _is_of(optimizer: torch.optim.Optimizer, parameter: Tensor) -> bool:
    return any(parameter is own for group in optimizer.param_groups for own in group["params"])


def rate(rule: Rule, otherwise: float) -> float:
    """The rate that a rule sets for a weight with the given rate."""
    return rule.number * otherwise if rule.relative else rule.number
