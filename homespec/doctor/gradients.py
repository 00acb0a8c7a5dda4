"""The doctor: the gradient of each task's loss for its own experts and for shared ones."""

from __future__ import annotations

import math
from itertools import islice

import torch
from torch import Tensor, nn

from homespec.activations.walk import Trunk
from homespec.doctor.row_losses import RowLosses
from homespec.doctor.sample import Sample
from homespec.graph.nodes import ExpertSet
from homespec.health.measures import Gradients
from homespec.resolve.tree import Role, TreeNode

ROWS = 4096
"""Rows of the sample over which the loss is averaged."""
NOTHING = Gradients(math.nan, math.nan, math.nan)


def gradients(trunk: Trunk, sample: Sample, root: TreeNode) -> dict[str, Gradients]:
    """Gradient norms for each task: its own experts, those of its groups, and those of the root."""
    chunk = next(sample.chunks(ROWS), None)
    if chunk is None:
        return dict.fromkeys(trunk.tasks, NOTHING)
    losses, device = RowLosses(trunk.code), chunk.x_BV.device
    weights_B = sample.weights[chunk.strata_B].to(device)
    with torch.enable_grad():
        logits_TB = trunk.logits(trunk(chunk.x_BV.clone()))
        losses_TB = losses(logits_TB, chunk.labels_TB.to(device))
        found = {}
        for number, task in enumerate(trunk.tasks):
            seen = ~losses_TB[number].isnan()
            loss = (losses_TB[number] * weights_B)[seen].sum() / weights_B[seen].sum()
            found[task] = _of_task(trunk, loss, task, root) if seen.any() else NOTHING
    return found


def _of_task(trunk: Trunk, loss: Tensor, task: str, root: TreeNode) -> Gradients:
    path = next((n.path for n in root.of(Role.TASK) if n.name == task), [])
    weights = {
        role: _weights(trunk, {node.name for node in path if node.role is role}) for role in Role
    }
    every = [weight for own in weights.values() for weight in own]
    if not every:
        return NOTHING
    parts = torch.autograd.grad(loss, every, retain_graph=True, allow_unused=True)
    squares = iter([0.0 if part is None else float(part.double().square().sum()) for part in parts])
    norms = {role: _norm(list(islice(squares, len(own))), own) for role, own in weights.items()}
    return Gradients(norms[Role.TASK], norms[Role.GROUP], norms[Role.SHARED])


def _weights(trunk: Trunk, owners: set[str]) -> list[nn.Parameter]:
    """The weights of all experts of some nodes of the task tree."""
    sets = (node for node in trunk.graph.of(ExpertSet) if node.place in owners)
    return [weight for node in sets for weight in trunk.module(node).parameters()]


def _norm(squares: list[float], weights: list[nn.Parameter]) -> float:
    """The root mean square of the gradient; NaN without weights."""
    numbers = sum(weight.numel() for weight in weights)
    return math.sqrt(sum(squares) / numbers) if numbers else math.nan
