"""Models of public libraries for peers.py: how they are built, and where their weights are.

The top of that file says what is taken out of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from torch import Tensor, nn

WIDTH, INPUT, TOWER, EXPERTS = 64, 128, 64, 2
LEVELS = ("meta", "task")


@dataclass(frozen=True)
class Case:
    """A model's size: `shared` experts of the root; in a PLE also EXPERTS of each task."""

    family: str
    tasks: tuple[str, ...]
    shared: int


@dataclass(frozen=True)
class Part:
    """A Linear of a peer by our logical name; `gate` says that its rows are a gate's."""

    name: str
    weight: Tensor
    bias: Tensor | None
    gate: bool = False


@dataclass(frozen=True)
class Peer:
    """A library: how to build its model of a case, and where its weights are."""

    name: str
    build: Callable[[Case], nn.Module]
    parts: Callable[[Any, Case], Iterator[Part]]
    inputs: Callable[[Tensor], Any] = lambda x: x


# ---------------------------------------------------------------- torch-rechub


class Given(nn.Module):
    """In place of an EmbeddingLayer: the input is one dense tensor."""

    def forward(self, inputs: Any, features: Any, squeeze_dim: bool = True) -> Tensor:
        """The tensor itself."""
        return inputs["x"]


def rechub() -> Peer:
    """torch-rechub; ImportError if it is not installed."""
    from torch_rechub.basic.features import DenseFeature
    from torch_rechub.models import multi_task

    def build(case: Case) -> nn.Module:
        features, types = [DenseFeature("x", INPUT)], ["classification"] * len(case.tasks)
        experts, towers = {"dims": [WIDTH]}, [{"dims": [TOWER]}] * len(case.tasks)
        if case.family == "mmoe":
            model = multi_task.MMOE(features, types, case.shared, experts, towers)
        else:
            counts = (len(LEVELS), EXPERTS, case.shared)
            model = multi_task.PLE(features, types, *counts, experts, towers)
        model.embedding = Given()
        return without(model, nn.BatchNorm1d, nn.Dropout)

    return Peer("torch-rechub", build, rechub_parts, lambda x: {"x": x})


def without(model: nn.Module, *kinds: type[nn.Module]) -> nn.Module:
    """The model with modules of these kinds taken out of sequences, elsewhere doing nothing."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, kinds):
                setattr(parent, name, nn.Identity())
        if isinstance(parent, nn.Sequential):
            kept = [child for child in parent if not isinstance(child, nn.Identity)]
            parent._modules = {str(index): child for index, child in enumerate(kept)}
    return model


def rechub_parts(model: Any, case: Case) -> Iterator[Part]:
    """The Linears of their MMOE or PLE."""
    for task, tower in zip(case.tasks, model.towers, strict=True):
        yield from rechub_mlp(f"towers.{task}", tower)
    if case.family == "mmoe":
        for index, expert in enumerate(model.experts):
            yield from rechub_mlp(f"experts.task.shared.{index}", expert)
        for task, gate in zip(case.tasks, model.gates, strict=True):
            yield from rechub_mlp(f"gates.task.{task}", gate, gate=True)
        return
    for name, level in zip(LEVELS, model.cgc_layers, strict=True):
        for index, expert in enumerate(level.experts_shared):
            yield from rechub_mlp(f"experts.{name}.shared.{index}", expert)
        for index, expert in enumerate(level.experts_specific):
            task, own = divmod(index, EXPERTS)
            yield from rechub_mlp(f"experts.{name}.{case.tasks[task]}.{own}", expert)
        for task, gate in zip(case.tasks, level.gates_specific, strict=True):
            yield from rechub_mlp(f"gates.{name}.{task}", gate, gate=True)
        if hasattr(level, "gate_shared"):
            yield from rechub_mlp(f"gates.{name}.shared", level.gate_shared, gate=True)


def rechub_mlp(name: str, mlp: Any, gate: bool = False) -> Iterator[Part]:
    """The Linears of their MLP."""
    linears = [layer for layer in mlp.mlp if isinstance(layer, nn.Linear)]
    for index, linear in enumerate(linears):
        yield Part(f"{name}.linears.{index}", linear.weight, linear.bias, gate)


# ---------------------------------------------------------------- deepctr-torch


def deepctr() -> Peer:
    """deepctr-torch; ImportError if it is not installed."""
    quiet = ModuleType("deepctr_torch.utils")
    quiet.check_version = lambda version: None  # type: ignore[attr-defined]  # it asks the network
    sys.modules.setdefault("deepctr_torch.utils", quiet)
    from deepctr_torch.inputs import DenseFeat
    from deepctr_torch.models import MMOE, PLE

    def build(case: Case) -> nn.Module:
        sizes = {
            "expert_dnn_hidden_units": (WIDTH,),
            "gate_dnn_hidden_units": (),
            "tower_dnn_hidden_units": (TOWER,),
            "task_types": ["binary"] * len(case.tasks),
            "task_names": list(case.tasks),
            "l2_reg_linear": 0,
            "l2_reg_embedding": 0,
        }
        features = [DenseFeat("x", INPUT)]
        if case.family == "mmoe":
            return without(MMOE(features, num_experts=case.shared, **sizes), nn.Dropout)
        counts = {"shared_expert_num": case.shared, "specific_expert_num": EXPERTS}
        return without(PLE(features, num_levels=len(LEVELS), **counts, **sizes), nn.Dropout)

    return Peer("deepctr-torch", build, deepctr_parts)


def deepctr_parts(model: Any, case: Case) -> Iterator[Part]:
    """The Linears of their MMOE or PLE; the last one's bias of a tower is in the output layer."""
    towers = zip(model.tower_dnn, model.tower_dnn_final_layer, model.out, strict=True)
    for task, (tower, final, out) in zip(case.tasks, towers, strict=True):
        yield from deepctr_dnn(f"towers.{task}", tower)
        yield Part(f"towers.{task}.linears.1", final.weight, out.bias)
    if case.family == "mmoe":
        for index, expert in enumerate(model.expert_dnn):
            yield from deepctr_dnn(f"experts.task.shared.{index}", expert)
        for task, gate in zip(case.tasks, model.gate_dnn_final_layer, strict=True):
            yield Part(f"gates.task.{task}.linears.0", gate.weight, None, gate=True)
        return
    for depth, name in enumerate(LEVELS):
        for index, expert in enumerate(model.shared_experts[depth][0]):
            yield from deepctr_dnn(f"experts.{name}.shared.{index}", expert)
        gates = model.specific_gate_dnn_final_layer[depth]
        for task, experts, gate in zip(
            case.tasks, model.specific_experts[depth], gates, strict=True
        ):
            for index, expert in enumerate(experts):
                yield from deepctr_dnn(f"experts.{name}.{task}.{index}", expert)
            yield Part(f"gates.{name}.{task}.linears.0", gate.weight, None, gate=True)
        if name != LEVELS[-1]:
            gate = model.shared_gate_dnn_final_layer[depth]
            yield Part(f"gates.{name}.shared.linears.0", gate.weight, None, gate=True)


def deepctr_dnn(name: str, dnn: Any) -> Iterator[Part]:
    """The Linears of their DNN."""
    for index, linear in enumerate(dnn.linears):
        yield Part(f"{name}.linears.{index}", linear.weight, linear.bias)
