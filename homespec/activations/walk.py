"""Activations: evaluates the trunk of a plain model node by node along the graph.

The modules are the model's own. Only mixtures and feature gates are written out here, because their
parts are observed. `check` compares the logits with those of the model itself. Shapes: B batch, N
width of an input, K experts of a set, C choices of a gate, D expert width, L LoRAs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from homespec.graph import Graph
from homespec.graph.feature_nodes import INPUT, Columns, Detached
from homespec.graph.inputs import columns_read, readings_of
from homespec.graph.nodes import (
    ExpertSet,
    FeatureGate,
    Gate,
    Mix,
    Node,
    Placed,
    Port,
    Product,
    SelfGate,
    Tower,
)
from homespec.runtime import GeneratedModule

SQUASH: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits_BC: logits_BC.softmax(-1),
    "sigmoid": torch.sigmoid,
    "none": lambda weights_BC: weights_BC,
}
"""What makes weights of the logits of a gate."""

Values = dict[str, Tensor]
"""Outputs by node: states [B, D], gated inputs [B, N], weights [B, C], experts [B, K, D]."""


class GateParts(NamedTuple):
    """The parts of a feature gate."""

    x_BN: Tensor
    gate_BN: Tensor
    weights_BL: Tensor
    logits: list[Tensor]
    """The values of each LoRA, [B, N]."""


class MixParts(NamedTuple):
    """The parts of a mixture: by set [B, D], without and with the contributions of self gates."""

    gated: list[Tensor]
    with_self: list[Tensor]


class Watch(Protocol):
    """An observer of an evaluation."""

    def __call__(self, node: Node, value: Tensor, parts: Any) -> None:
        """Receive a node's value, with its parts if it is a feature gate or a mixture."""


class Edit(Protocol):
    """A change of a model for one evaluation."""

    def touches(self, node: Node) -> bool:
        """Whether the edit changes how the node's value is computed."""

    def weights(self, node: Mix, gate: str, set_name: str, weights_BK: Tensor) -> Tensor:
        """Return the weights of one set in a mixture, given by a gate or self gate."""

    def value(self, node: Node, value: Tensor, parts: Any) -> Tensor:
        """Return the value of a node that the edit touches."""


@dataclass(frozen=True)
class Trunk:
    """A plain model's trunk with its graph."""

    graph: Graph
    code: GeneratedModule
    model: nn.Module

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks in the order of the logits."""
        return self.code.TASKS

    def inputs(self, features: Mapping[str, Tensor]) -> Tensor:
        """The embeddings [B, V] of features by name, which are v without `at` in the spec."""
        model: Any = self.model
        weight = next(p for p in model.trunk.parameters() if p.is_floating_point())
        v: Tensor = model.features(features).to(weight.dtype)
        return v

    def __call__(
        self,
        x: Tensor,
        base: Values | None = None,
        edit: Edit | None = None,
        watch: Watch | None = None,
    ) -> Values:
        """The values of all nodes. With `base`, only those that `edit` changes are computed."""
        values: Values = self._readings(x) if base is None else dict(base)
        changed: set[str] = set()
        for node in self.graph:
            compute = COMPUTE.get(type(node))
            if compute is None:
                continue
            touched = edit is not None and edit.touches(node)
            if base is not None and not touched and changed.isdisjoint(p.node for p in node.reads):
                continue
            value, parts = compute(self, node, values, edit if touched else None)
            if touched and edit is not None:
                value = edit.value(node, value, parts)
            if watch is not None:
                watch(node, value, parts)
            values[node.name] = value
            changed.add(node.name)
        return values

    def _readings(self, x: Tensor) -> Values:
        """What nodes of the task tree read of the features x [B, V], which is all of them."""
        readings = readings_of(self.graph)
        if len(readings) == 1:
            return {INPUT: x}
        return {
            node.name: torch.cat([x[:, a : a + n] for a, n in columns_read(self.graph, node)], -1)
            for node in readings
        }

    def logits(self, values: Values) -> Tensor:
        """Logits [T, B] from the values of nodes."""
        kinds = ("towers", "products")
        return torch.stack(
            [next(values[f"{k}.{t}"] for k in kinds if f"{k}.{t}" in values) for t in self.tasks]
        )

    def check(self, x: Tensor) -> None:
        """Raise AssertionError if the logits differ from those of the model itself."""
        model: Any = self.model
        found_TB, expected_TB = self.logits(self(x)), model.trunk(x)
        if not torch.allclose(found_TB, expected_TB, rtol=1e-3, atol=1e-4, equal_nan=True):
            most = float((found_TB - expected_TB).abs().max())
            raise AssertionError(f"logits differ from the model's own by up to {most:.3g}")

    def module(self, node: Node) -> Any:
        """The module of a node."""
        model: Any = self.model
        head, *_ = node.name.partition(".")
        found = getattr(model.trunk, head)
        if not isinstance(node, Placed):
            assert isinstance(node, Tower)
            return found[node.task]
        found = found[node.layer]
        for key in node.path:
            found = found[key]
        return found


def _read(ports: tuple[Port, ...], values: Values) -> Tensor:
    read = [values[port.node] for port in ports]
    return read[0] if len(read) == 1 else torch.cat(read, -1)


def _feature_gate(
    trunk: Trunk, node: FeatureGate, values: Values, _: Edit | None
) -> tuple[Tensor, GateParts]:
    x_BN, read_BM = values[node.reads[0].node], _read(node.reading, values)
    module = trunk.module(node)
    logits = [lora(read_BM) for lora in module.loras]
    alone = len(logits) == 1
    weights_BL = x_BN.new_ones(len(x_BN), 1) if alone else module.router(read_BM).softmax(-1)
    gate_BN = mixed_gate(node, weights_BL, logits)
    return x_BN * gate_BN, GateParts(x_BN, gate_BN, weights_BL, logits)


def mixed_gate(node: FeatureGate, weights_BL: Tensor, logits: list[Tensor]) -> Tensor:
    """The values [B, N] of a feature gate, of its router's weights and its LoRAs."""
    after = node.mix == "after_sigmoid"
    columns = torch.split(weights_BL, 1, -1)
    parts = [u_BN.sigmoid() if after else u_BN for u_BN in logits]
    mixture = sum(w_B1 * u_BN for w_B1, u_BN in zip(columns, parts, strict=True))
    assert isinstance(mixture, Tensor)
    return 2 * (mixture if after else mixture.sigmoid())


def _columns(trunk: Trunk, node: Columns, values: Values, _: Edit | None) -> tuple[Tensor, None]:
    x = values[node.reads[0].node]
    return torch.cat([x[:, start:end] for start, end in node.slices], -1), None


def _detached(trunk: Trunk, node: Detached, values: Values, _: Edit | None) -> tuple[Tensor, None]:
    return values[node.reads[0].node].detach(), None


def _experts(trunk: Trunk, node: ExpertSet, values: Values, _: Edit | None) -> tuple[Tensor, None]:
    experts = list(trunk.module(node))
    reads = [values[port.node] for port in node.reads]
    reads = reads if len(reads) > 1 else reads * len(experts)
    outputs = [expert(x_BN) for expert, x_BN in zip(experts, reads, strict=True)]
    return torch.stack(outputs, 1), None


def _gate(trunk: Trunk, node: Gate, values: Values, _: Edit | None) -> tuple[Tensor, None]:
    x = values[INPUT]
    if not node.has_weights:
        return x.new_ones(len(x), 1), None
    logits_BC = trunk.module(node)(x if node.is_static else _read(node.reads, values))
    return SQUASH[node.squash](logits_BC), None


def _mix(trunk: Trunk, node: Mix, values: Values, edit: Edit | None) -> tuple[Tensor, MixParts]:
    weights = list(torch.split(values[node.gate.node], list(node.counts), -1))
    names = [port.node for port in node.sets]
    experts = [values[name] for name in names]
    experts = [e.detach() if i in node.foreign else e for i, e in enumerate(experts)]
    selves: list[list[Tensor]] = [[] for _ in names]
    for gate, position in node.residuals:
        own = values[gate.node]
        own_gate = trunk.graph[gate.node]
        assert isinstance(own_gate, SelfGate)
        selves[position].append(_edited(edit, node, own_gate, names[position], own))
    if edit is not None:
        weights = [
            edit.weights(node, node.gate.node, name, w)
            for name, w in zip(names, weights, strict=True)
        ]
        weights = renormalised(weights)
    gated = [_weighted(w, e) for w, e in zip(weights, experts, strict=True)]
    with_self = [
        sum((_weighted(w, e) for w in own), part)
        for part, own, e in zip(gated, selves, experts, strict=True)
    ]
    return torch.stack(with_self).sum(0), MixParts(gated, with_self)


def _edited(edit: Edit | None, node: Mix, gate: SelfGate, set_name: str, own: Tensor) -> Tensor:
    """The weights of a self gate: a softmax over the remaining experts, or weights as they are."""
    if edit is None:
        return own
    left = edit.weights(node, gate.name, set_name, own)
    return renormalised([left])[0] if gate.squash == "softmax" else left


def renormalised(weights: list[Tensor]) -> list[Tensor]:
    """Weights [B, K] of several sets, rescaled to sum to 1; 0 if no weight is left."""
    total_B1 = torch.stack([w.sum(-1, keepdim=True) for w in weights]).sum(0)
    # 1 / total is infinite if almost no weight is left, as for a gate that was certain
    return [torch.where(total_B1 > 0, w / total_B1, 0.0) for w in weights]


def _weighted(weights_BK: Tensor, experts_BKD: Tensor) -> Tensor:
    return torch.bmm(weights_BK.unsqueeze(1), experts_BKD).squeeze(1)


def _tower(trunk: Trunk, node: Tower, values: Values, _: Edit | None) -> tuple[Tensor, None]:
    logit_B: Tensor = trunk.module(node)(_read(node.reads, values)).squeeze(-1)
    return logit_B, None


def _product(trunk: Trunk, node: Product, values: Values, _: Edit | None) -> tuple[Tensor, None]:
    code: Any = trunk.code
    return code.product_logit(*(values[port.node] for port in node.reads)), None


COMPUTE: dict[type[Node], Callable[..., tuple[Tensor, Any]]] = {
    Columns: _columns,
    Detached: _detached,
    FeatureGate: _feature_gate,
    ExpertSet: _experts,
    Gate: _gate,
    SelfGate: _gate,
    Mix: _mix,
    Tower: _tower,
    Product: _product,
}
"""The kinds of nodes in a trunk, which excludes inputs and objectives."""
