"""Activations: computes the numbers of experts and gates from sums over rows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from homespec.activations.observers import ExpertSums, Observer, WeightSums
from homespec.activations.similarity import Covariances, Sibling
from homespec.graph.nodes import ExpertSet, FeatureGate, Gate, Mix, Node, SelfGate
from homespec.health import measures
from homespec.health.evidence import owning_span
from homespec.health.measures import QUANTILES, Expert, Lora, Role, Source, Use
from homespec.lower import Lowered


class Numbers:
    """All numbers of experts and gates of one model."""

    def __init__(self, lowered: Lowered, seen: Observer, similar: dict[str, Covariances]) -> None:
        self.lowered, self.graph, self.seen = lowered, lowered.graph, seen
        self.roles: dict[str, Role] = {n.name: n.role.value for n in lowered.root.walk()}
        self.sets = {node.name: node for node in self.graph.of(ExpertSet)}
        self.siblings = {name: covariance.siblings() for name, covariance in similar.items()}
        self.mixes = self.graph.of(Mix)
        self.means: dict[str, list[float]] = {
            name: sums.moments.mean.tolist() for name, sums in seen.weights.items()
        }
        self.uses = self._by_expert()
        self.use_variances = {
            name: statistics.pvariance(use.weight for use in uses)
            for name, uses in self.uses.items()
            if uses
        }
        self.by_name = {expert.name: expert for expert in self._every_expert()}

    def _line(self, node: Node) -> int:
        return owning_span(self.lowered, node).start.line

    # ------------------------------------------------------------ experts

    def experts(self) -> Iterator[Expert]:
        """The experts of all sets."""
        yield from self.by_name.values()

    def _every_expert(self) -> Iterator[Expert]:
        for node in self.sets.values():
            for index in range(node.count):
                yield self._expert(node, index)

    def _expert(self, node: ExpertSet, index: int) -> Expert:
        name, sums = f"{node.name}.{index}", self.seen.experts[node.name]
        sibling = self._sibling(node, index)
        return Expert(
            name=name,
            set=node.name,
            layer=node.layer,
            owner=node.place,
            role=self.roles[node.place],
            index=index,
            line=self._line(node),
            width=node.width,
            zeros=_at(sums.zeros.value, index),
            near_zeros=_at(sums.near_zeros.value, index),
            dead_channels=_at(_dead(sums), index),
            mean_abs=_at(sums.sizes.value, index),
            std=_at(_spread(sums.moments.variance), index),
            quantiles=_quantiles(sums, index),
            nearest=f"{node.name}.{sibling.position}" if sibling else "",
            similarity=sibling.similarity if sibling else math.nan,
            uses=self.uses[name],
            evenness=perplexity([use.share for use in self.uses[name]]),
        )

    def _sibling(self, node: ExpertSet, index: int) -> Sibling | None:
        return self.siblings[node.name][index] if node.name in self.siblings else None

    def _by_expert(self) -> dict[str, tuple[Use, ...]]:
        """For each expert, how much each gate that sees it uses it."""
        weights: dict[str, dict[str, float]] = {
            f"{node.name}.{index}": {} for node in self.sets.values() for index in range(node.count)
        }
        for mix in self.mixes:
            for expert, weight in zip(_experts(mix), self.means[mix.gate.node], strict=True):
                weights[expert][mix.gate.node] = weight
        return {expert: _shared_out(by_gate) for expert, by_gate in weights.items()}

    # ------------------------------------------------------------ gates

    def gates(self) -> Iterator[measures.Gate]:
        """The gates of all mixtures."""
        for mix in self.mixes:
            node = self.graph[mix.gate.node]
            assert isinstance(node, Gate)
            yield self._gate(node, mix)

    def _gate(self, node: Gate, mix: Mix) -> measures.Gate:
        sums, mean = self.seen.weights[node.name], self.means[node.name]
        owner = node.path[0]
        experts = [self.by_name[name] for name in _experts(mix)]
        return measures.Gate(
            name=node.name,
            layer=node.layer,
            owner=owner,
            role=self.roles[owner],
            line=self._line(node),
            experts=tuple(expert.name for expert in experts),
            mean=tuple(mean),
            std=_floats(sums.moments.std),
            top=_floats(sums.top.value),
            perplexity=math.exp(float(sums.entropy.value)) / len(mean),
            mean_perplexity=perplexity(mean),
            variance_rows=float(sums.moments.variance.sum()),
            variance_gates=sum(self.use_variances[expert.name] for expert in experts),
            scale_ratio=_ratio([expert.mean_abs for expert in experts]),
            std_ratio=_ratio([expert.std for expert in experts]),
            sources=tuple(self._sources(mix, sums)),
        )

    def _sources(self, mix: Mix, sums: WeightSums) -> Iterator[Source]:
        parts = self.seen.mixtures[mix.name]
        mean = sums.moments.mean
        added = self._added(mix)
        weights = [float(part.sum()) for part in torch.split(mean, list(mix.counts), -1)]
        with_self = [w + a for w, a in zip(weights, added, strict=True)]
        total = sum(with_self) or math.nan  # static self gates may take all of it away
        for at, port in enumerate(mix.sets):
            node = self.sets[port.node]
            yield Source(
                set=node.name,
                owner=node.place,
                role=self.roles[node.place],
                fair=node.count / sum(mix.counts),
                weight=weights[at],
                contribution=_share(parts.gated.value, at),
                weight_with_self=with_self[at] / total,
                contribution_with_self=_share(parts.with_self.value, at),
            )

    def _added(self, mix: Mix) -> list[float]:
        """The mean weights that self gates add to each set."""
        added = [0.0] * len(mix.counts)
        for gate, position in mix.residuals:
            added[position] += sum(self.means[gate.node])
        return added

    def self_gates(self) -> Iterator[measures.SelfGate]:
        """The self gates of all sets."""
        for node in self.graph.of(SelfGate):
            moments = self.seen.weights[node.name].moments
            yield measures.SelfGate(
                name=node.name,
                layer=node.layer,
                owner=node.place,
                line=self._line(node),
                mean=_floats(moments.mean),
                std=_floats(moments.std),
            )

    def feature_gates(self) -> Iterator[measures.FeatureGate]:
        """The feature gates of all sets."""
        for node in self.graph.of(FeatureGate):
            sums = self.seen.feature_gates[node.name]
            pairs = zip(_floats(sums.weights.value), _floats(sums.effects.value), strict=True)
            assert sums.range.low is not None
            assert sums.range.high is not None
            yield measures.FeatureGate(
                name=node.name,
                layer=node.layer,
                owner=node.path[0],
                line=self._line(node),
                width=node.width,
                low=float(sums.range.low.min()),
                high=float(sums.range.high.max()),
                mean=float(sums.moments.mean.mean()),
                std=float(_spread(sums.moments.variance)),
                saturated=float(sums.saturated.value),
                loras=tuple(Lora(i, weight, effect) for i, (weight, effect) in enumerate(pairs)),
            )


def _experts(mix: Mix) -> list[str]:
    """The experts of a mixture, in the order of its weights."""
    sets = zip(mix.sets, mix.counts, strict=True)
    return [f"{port.node}.{index}" for port, count in sets for index in range(count)]


def _shared_out(weights: dict[str, float]) -> tuple[Use, ...]:
    total = sum(weights.values())
    return tuple(Use(gate, w, w / total if total else math.nan) for gate, w in weights.items())


def _dead(sums: ExpertSums) -> Tensor:
    return (sums.range.extent < sums.tolerance).double().mean(-1)


def _spread(variance: Tensor) -> Tensor:
    """The root of the mean variance of channels."""
    return variance.clamp(min=0).mean(-1).sqrt()


def _quantiles(sums: ExpertSums, index: int) -> tuple[float, ...]:
    """Quantiles of some outputs; none if the observer keeps none."""
    assert sums.some_KN is not None
    if not sums.some_KN.numel():
        return ()
    at = torch.tensor(QUANTILES, dtype=torch.float64)
    return _floats(sums.some_KN[index].double().cpu().quantile(at))


def _share(values: Tensor, at: int) -> float:
    total = float(values.sum())
    return float(values[at]) / total if total else math.nan


def _ratio(values: Sequence[float]) -> float:
    """The ratio of the largest to the smallest; infinite if the smallest is 0."""
    return max(values) / min(values) if min(values) > 0 else math.inf


def perplexity(shares: Sequence[float]) -> float:
    """exp(entropy) of shares that sum to 1, divided by their number; NaN if there are none."""
    if not shares or any(map(math.isnan, shares)):
        return math.nan
    return math.exp(-sum(p * math.log(p) for p in shares if p > 0)) / len(shares)


def _at(values: Tensor, index: int) -> float:
    return float(values[index])


def _floats(values: Tensor) -> tuple[float, ...]:
    return tuple(values.tolist())
