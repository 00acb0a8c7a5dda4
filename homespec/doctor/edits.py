"""The doctor: changes of a model for one evaluation (`walk.Edit`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from homespec.activations.walk import GateParts, mixed_gate
from homespec.graph import Graph
from homespec.graph.nodes import FeatureGate, Mix, Node, Product, Tower


@dataclass(frozen=True)
class AtNode:
    """Changes the value of one node."""

    node: str

    def touches(self, node: Node) -> bool:
        """Whether it is that node."""
        return node.name == self.node

    def weights(self, node: Mix, gate: str, set_name: str, weights_BK: Tensor) -> Tensor:
        """Mixtures stay."""
        return weights_BK

    def value(self, node: Node, value: Tensor, parts: Any) -> Tensor:
        """Nothing changes."""
        return value


@dataclass(frozen=True)
class Without:
    """No gate and no self gate may use some experts: their weights are 0, the others' add up to 1.

    A mixture of nothing is 0.
    """

    experts: Mapping[str, tuple[int, ...]]
    """Positions by set."""

    def touches(self, node: Node) -> bool:
        """Whether it is a mixture of such an expert."""
        return isinstance(node, Mix) and any(port.node in self.experts for port in node.sets)

    def weights(self, node: Mix, gate: str, set_name: str, weights_BK: Tensor) -> Tensor:
        """The weights without those of the experts."""
        if set_name not in self.experts:
            return weights_BK
        kept = torch.ones(weights_BK.shape[1], dtype=weights_BK.dtype, device=weights_BK.device)
        kept[list(self.experts[set_name])] = 0
        return weights_BK * kept

    def value(self, node: Node, value: Tensor, parts: Any) -> Tensor:
        """What the mixture computed."""
        return value


@dataclass(frozen=True)
class Shuffled(AtNode):
    """Each row gets the outputs of another row: all experts of a set those of the same one."""

    def value(self, node: Node, value: Tensor, parts: Any) -> Tensor:
        """The outputs [B, K, D] in another order of rows."""
        random = torch.Generator().manual_seed(len(value))
        return value[torch.randperm(len(value), generator=random).to(value.device)]


@dataclass(frozen=True)
class Constant(AtNode):
    """A gate has its mean weights [C] in all rows, or a feature gate its mean values [N]."""

    mean: Tensor

    def value(self, node: Node, value: Tensor, parts: Any) -> Tensor:
        """The means, or the gated input."""
        mean = self.mean.to(value)
        return parts.x_BN * mean if isinstance(node, FeatureGate) else mean.expand_as(value)


@dataclass(frozen=True)
class ConstantExpert(AtNode):
    """An expert has its mean outputs [D] in all rows: what it says of the row is gone."""

    index: int
    mean_D: Tensor

    def value(self, node: Node, value: Tensor, parts: Any) -> Tensor:
        """The outputs [B, K, D] with one expert held."""
        return _with_expert(value, self.index, self.mean_D.to(value).expand_as(value[:, 0]))


@dataclass(frozen=True)
class WithoutLora(AtNode):
    """A LoRA of a feature gate outputs 0, so that its values are 1."""

    index: int

    def value(self, node: Node, value: Tensor, parts: Any) -> Tensor:
        """The gated input."""
        assert isinstance(node, FeatureGate)
        assert isinstance(parts, GateParts)
        logits = list(parts.logits)
        logits[self.index] = torch.zeros_like(logits[self.index])
        return parts.x_BN * mixed_gate(node, parts.weights_BL, logits)


@dataclass(frozen=True)
class Replaced(AtNode):
    """An expert's outputs are a linear function of another's of the same set."""

    index: int
    by: int
    matrix_DD: Tensor
    offset_D: Tensor

    def value(self, node: Node, value: Tensor, parts: Any) -> Tensor:
        """The outputs [B, K, D] with one expert replaced."""
        fitted_BD = value[:, self.by] @ self.matrix_DD.to(value) + self.offset_D.to(value)
        return _with_expert(value, self.index, fitted_BD)


def _with_expert(outputs_BKD: Tensor, index: int, own_BD: Tensor) -> Tensor:
    """The outputs with those of one expert replaced."""
    parts = [outputs_BKD[:, :index], own_BD.unsqueeze(1), outputs_BKD[:, index + 1 :]]
    return torch.cat(parts, 1)


Change = Without | Shuffled | Constant | ConstantExpert | WithoutLora | Replaced


def reached(graph: Graph, change: Change) -> tuple[str, ...]:
    """The tasks whose logits a change can reach."""
    changed: set[str] = set()
    for node in graph:
        if change.touches(node) or not changed.isdisjoint(port.node for port in node.reads):
            changed.add(node.name)
    reached = {n.task for n in graph if isinstance(n, Tower | Product) and n.name in changed}
    return tuple(task for task in graph.tasks if task in reached)
