"""The reference: plain torch in one process, its optimizers written out."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch
from sharding_cases import DENSE_LR, EPS, TABLE_LR, WORLD, batch, load, part
from torch import Tensor, nn

import homespec
from homespec.runtime import tables_of


class Single:
    """One process, plain torch: SGD for the trunk, row-wise Adagrad written out for the tables.

    With several `ranks` their copies differ in running statistics alone, as under DDP.
    """

    def __init__(self, folder: Path, case: str, ranks: int = 1, columns: int = 0) -> None:
        self.loaded = loaded = load(case)
        self.code = homespec.build_module(loaded)
        self.models = [homespec.build(loaded) for _ in range(ranks)]
        self.columns = {"features.video.weight": columns}
        state = safetensors.torch.load_file(folder / f"{case}.safetensors")
        for model in self.models:
            self.code.load_logical_state(model, state)
        self.tables = {
            name
            for table in tables_of(self.models[0])
            for tensor, name, _ in self.code.logical_names(self.models[0])
            if tensor == f"{table}.weight"
        }
        self.sums: dict[tuple[str, int], Tensor] = {}
        self.losses: list[list[Tensor]] = []
        self.grads: dict[str, Tensor] = {}

    def step(self, step: int) -> list[dict[str, Tensor]]:
        """One step of all ranks; their logits."""
        features, labels = batch(self.loaded, step)
        shares = [part(features, r) for r in range(WORLD)]
        targets = [part(labels, r) for r in range(WORLD)]
        if len(self.models) == 1:
            shares, targets = [features], [labels]
        logits = [model(share) for model, share in zip(self.models, shares, strict=True)]
        losses = [self.code.loss(*pair) for pair in zip(logits, targets, strict=True)]
        gradients = [
            torch.autograd.grad(loss, list(model.parameters()))
            for loss, model in zip(losses, self.models, strict=True)
        ]
        names = [name for name, _ in self.models[0].named_parameters()]
        means = [torch.stack(each).mean(0) for each in zip(*gradients, strict=True)]
        self.grads = dict(zip(names, means, strict=True))
        self.losses.append([loss.detach() for loss in losses])
        for model in self.models:
            self.update(
                model, self.code.logical_views(model, self.grads), last=model is self.models[-1]
            )
        return logits

    def update(self, model: nn.Module, grads: dict[str, Tensor], last: bool) -> None:
        weights = self.code.logical_state(model)
        for name, grad in grads.items():
            if name not in self.tables:
                weights[name] -= DENSE_LR * grad
                continue
            width = self.columns.get(name) or grad.shape[1]
            for left in range(0, grad.shape[1], width):
                part_RC = grad[:, left : left + width]
                old = self.sums.get((name, left), torch.zeros(len(grad), 1))
                new = old + part_RC.square().mean(1, keepdim=True)
                weights[name][:, left : left + width] -= TABLE_LR * part_RC / (new.sqrt() + EPS)
                if last:
                    self.sums[name, left] = new

    @property
    def dense_grads(self) -> dict[str, Tensor]:
        """Of all but the tables, by the names of the generated model."""
        tables = {f"{name}.weight" for name in tables_of(self.models[0])}
        return {name: grad for name, grad in self.grads.items() if name not in tables}

    def state(self) -> dict[str, Tensor]:
        """By logical name; running statistics are the ranks' mean."""
        states = [self.code.logical_state(model) for model in self.models]
        return {name: torch.stack([s[name] for s in states]).mean(0) for name in states[0]}
