"""The doctor: temporary changes of a model (`walk.Edit`), each made for one evaluation."""

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
    """Base class of changes to the value of one node."""

    node: str

    def touches(self, node: Node) -> bool:
        """Whether the change applies to this node."""
        return node.name == self.node

    def weights(self, node: Mix, gate: str, set_name: str, weights_BK: Tensor) -> Tensor:
        """The weights of mixtures, unchanged."""
        return weights_BK

    def value(self, node: Node, value: Tensor, parts: Any) -> Tensor:
        """The value, unchanged."""
        return value


@dataclass(frozen=True)
class Without:
    """Removes experts from all gates and self gates: their weights become 0, the others sum to 1.

    A mixture that has no experts left is 0.
    """

    experts: Mapping[str, tuple[int, ...]]
    """Positions of the removed experts, by set."""

    def touches(self, node: Node) -> bool:
        """Whether the node is a mixture that uses one of the experts."""
        return isinstance(node, Mix) and any(port.node in self.experts for port in node.sets)

    def weights(self, node: Mix, gate: str, set_name: str, weights_BK: Tensor) -> Tensor:
        """The weights, with 0 for the removed experts."""
        if set_name not in self.experts:
            return weights_BK
        kept = torch.ones(weights_BK.shape[1], dtype=weights_BK.dtype, device=weights_BK.device)
        kept[list(self.experts[set_name])] = 0
        return weights_BK * kept

    def value(self, node: Node, value: Tensor, parts: Any) -> Tensor:
        """The mixture, as computed from the changed weights."""
        return value


@dataclass(frozen=True)
class Shuffled(AtNode):
    """Gives each row the outputs that all experts of a set have in another row."""

    def value(self, node: Node, value: Tensor, parts: Any) -> Tensor:
        """The outputs [B, K, D] with the rows permuted."""
        random = torch.Generator().manual_seed(len(value))
        return value[torch.randperm(len(value), generator=random).to(value.device)]


@dataclass(frozen=True)
class Constant(AtNode):
    """Replaces a gate's weights [C] or a feature gate's values [N] by their means over all rows."""

    mean: Tensor

    def value(self, node: Node, value: Tensor, parts: Any) -> Tensor:
        """The mean weights, or the input times the mean values."""
        mean = self.mean.to(value)
        return parts.x_BN * mean if isinstance(node, FeatureGate) else mean.expand_as(value)


@dataclass(frozen=True)
class ConstantExpert(AtNode):
    """Replaces an expert's outputs [D] by their means, so that they no longer depend on the row."""

    index: int
    mean_D: Tensor

    def value(self, node: Node, value: Tensor, parts: Any) -> Tensor:
        """The outputs [B, K, D], those of one expert constant."""
        return _with_expert(value, self.index, self.mean_D.to(value).expand_as(value[:, 0]))


@dataclass(frozen=True)
class WithoutLora(AtNode):
    """Makes a LoRA of a feature gate output 0, so that its values are 1."""

    index: int

    def value(self, node: Node, value: Tensor, parts: Any) -> Tensor:
        """The gated input without the LoRA."""
        assert isinstance(node, FeatureGate)
        assert isinstance(parts, GateParts)
        logits = list(parts.logits)
        logits[self.index] = torch.zeros_like(logits[self.index])
        return parts.x_BN * mixed_gate(node, parts.weights_BL, logits)


@dataclass(frozen=True)
class Replaced(AtNode):
    """Replaces an expert's outputs by a linear function of those of another expert of the set."""

    index: int
    by: int
    matrix_DD: Tensor
    offset_D: Tensor

    def value(self, node: Node, value: Tensor, parts: Any) -> Tensor:
        """The outputs [B, K, D], those of one expert replaced."""
        fitted_BD = value[:, self.by] @ self.matrix_DD.to(value) + self.offset_D.to(value)
        return _with_expert(value, self.index, fitted_BD)


def _with_expert(outputs_BKD: Tensor, index: int, own_BD: Tensor) -> Tensor:
    """The outputs, those of one expert replaced."""
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
