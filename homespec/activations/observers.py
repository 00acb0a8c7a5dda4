"""Activations: sums over rows for each node, collected while rows go through the model.

Memory depends only on the model. Shapes are those of `walk`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from homespec.activations.moments import Mean, Moments, Range
from homespec.activations.walk import GateParts, MixParts
from homespec.graph.nodes import ExpertSet, FeatureGate, Gate, Mix, Node, SelfGate

QUANTILE_ROWS = 1024
"""Default number of rows of the first batch from which quantiles of outputs are taken."""


@dataclass
class ExpertSums:
    """Sums over a set's outputs [B, K, D]."""

    tolerance: float
    quantile_rows: int
    moments: Moments = field(default_factory=Moments)
    range: Range = field(default_factory=Range)
    sizes: Mean = field(default_factory=Mean)
    """Mean |a| [K]."""
    zeros: Mean = field(default_factory=Mean)
    near_zeros: Mean = field(default_factory=Mean)
    some_KN: Tensor | None = None
    """Outputs of the first `quantile_rows` rows, by expert."""

    def add(self, outputs_BKD: Tensor) -> None:
        """Add outputs."""
        count = outputs_BKD.shape[0] * outputs_BKD.shape[2]
        size_BKD = outputs_BKD.abs()
        self.moments.add(outputs_BKD)
        self.range.add(outputs_BKD)
        self.sizes.add_total(size_BKD.sum((0, 2)), count)
        self.zeros.add_total((size_BKD == 0).sum((0, 2)), count)
        self.near_zeros.add_total((size_BKD < self.tolerance).sum((0, 2)), count)
        if self.some_KN is None:
            self.some_KN = outputs_BKD[: self.quantile_rows].transpose(0, 1).flatten(1).clone()


@dataclass
class WeightSums:
    """Sums over the weights [B, C] of a mixture gate or self gate."""

    moments: Moments = field(default_factory=Moments)
    entropy: Mean = field(default_factory=Mean)
    top: Mean = field(default_factory=Mean)

    def add(self, weights_BC: Tensor) -> None:
        """Add weights."""
        self.moments.add(weights_BC)
        self.entropy.add(torch.special.entr(weights_BC).sum(-1))
        choices = weights_BC.shape[1]
        counts_C = torch.bincount(weights_BC.argmax(-1), minlength=choices)
        self.top.add_total(counts_C, len(weights_BC))


@dataclass
class MixSums:
    """Sums of the lengths of each set's contribution to a mixture, without and with self gates."""

    gated: Mean = field(default_factory=Mean)
    with_self: Mean = field(default_factory=Mean)

    def add(self, parts: MixParts) -> None:
        """Add the parts [B, D] of each set."""
        for sums, by_set in zip((self.gated, self.with_self), parts, strict=True):
            sums.add(torch.stack([part.norm(dim=-1) for part in by_set], -1))


@dataclass
class FeatureGateSums:
    """Sums over the values [B, N] of a feature gate, and of its LoRAs."""

    saturation: float
    moments: Moments = field(default_factory=Moments)
    range: Range = field(default_factory=Range)
    saturated: Mean = field(default_factory=Mean)
    weights: Mean = field(default_factory=Mean)
    effects: Mean = field(default_factory=Mean)

    def add(self, parts: GateParts) -> None:
        """Add a gate's parts."""
        gate_BN = parts.gate_BN
        self.moments.add(gate_BN)
        self.range.add(gate_BN)
        beyond = ((gate_BN - 1).abs() > self.saturation).sum()
        self.saturated.add_total(beyond, gate_BN.numel())
        self.weights.add(parts.weights_BL)
        effects = [torch.tanh(u_BN / 2).abs().sum() for u_BN in parts.logits]  # |2 sigmoid(u) - 1|
        self.effects.add_total(torch.stack(effects), gate_BN.numel())


Sums = ExpertSums | WeightSums | MixSums | FeatureGateSums


class Observer:
    """Observes an evaluation and keeps the sums of each node by name."""

    def __init__(
        self, tolerance: float, saturation: float, quantile_rows: int = QUANTILE_ROWS
    ) -> None:
        """With `quantile_rows=0` there are no quantiles, which need a sort and so take time."""
        self.tolerance, self.saturation = tolerance, saturation
        self.quantile_rows = quantile_rows
        self.experts: dict[str, ExpertSums] = {}
        self.weights: dict[str, WeightSums] = {}
        self.mixtures: dict[str, MixSums] = {}
        self.feature_gates: dict[str, FeatureGateSums] = {}

    def experts_of_layer(self, layer: str) -> list[ExpertSums]:
        """The sums of all sets of a layer."""
        return [sums for name, sums in self.experts.items() if name.split(".")[1] == layer]

    def __call__(self, node: Node, value: Tensor, parts: object) -> None:
        """Add a node's value."""
        match node:
            case ExpertSet():
                sums = ExpertSums(self.tolerance, self.quantile_rows)
                self.experts.setdefault(node.name, sums).add(value)
            case Gate() | SelfGate():
                self.weights.setdefault(node.name, WeightSums()).add(value)
            case Mix():
                assert isinstance(parts, MixParts)
                self.mixtures.setdefault(node.name, MixSums()).add(parts)
            case FeatureGate():
                assert isinstance(parts, GateParts)
                gate_sums = FeatureGateSums(self.saturation)
                self.feature_gates.setdefault(node.name, gate_sums).add(parts)
