"""Benchmark: a training step of a model, and its forward pass, as functions to call."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from homespec import runtime
from homespec.bench.variants import FUSED, GRAPHS, Mode

Tensors = dict[str, Tensor]
LossOf = Callable[[Any, Any], Tensor]
"""Features and labels -> loss, a scalar."""

F = TypeVar("F", bound=Callable[..., Tensor])


@dataclass(slots=True)
class Candidate:
    """A model in training mode with one batch to train on, eager or compiled.

    The loss is part of what is compiled; the optimiser, torch's fused Adam, is one kernel or few
    already. `bf16` means autocast over forward and loss.
    """

    model: nn.Module
    loss_of: LossOf
    features: Any
    labels: Any
    device: str
    bf16: bool = False
    mode: Mode | None = None

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.Adam(self.model.parameters(), fused=True)
        self.forward_loss = self.loss_of
        if self.mode is not None:
            self.loss_of = compiled(self.loss_of, self.mode)
            self.forward_loss = compiled(self.forward_loss, self.mode)

    optimizer: torch.optim.Optimizer = None  # type: ignore[assignment]  # set above
    forward_loss: LossOf = None  # type: ignore[assignment]  # set above

    def backward(self) -> Tensor:
        """Forward, loss and backward: the loss; gradients stay."""
        self._mark()
        with self._autocast():
            loss = self.loss_of(self.features, self.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    def step(self) -> None:
        """A training step: forward, loss, backward, Adam, and the gradients given up."""
        self.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def forward(self) -> Tensor:
        """Forward and loss in training mode, with nothing kept for a backward pass."""
        self._mark()
        with torch.no_grad(), self._autocast():
            return self.forward_loss(self.features, self.labels)

    def _mark(self) -> None:
        """Tell CUDA graphs that what the last step put out is no longer needed."""
        if self.mode in GRAPHS:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device, torch.bfloat16) if self.bf16 else _nothing()


def _nothing() -> AbstractContextManager[object]:
    return contextlib.nullcontext()


def compiled(function: F, mode: Mode) -> F:
    """The function under torch.compile, of a fixed shape and without graph breaks."""
    if mode == "default":
        return runtime.compiled(function, dynamic=False)
    options = runtime.SAFE | (FUSED if mode in ("fused", "fused-graphs") else {})
    if mode in GRAPHS:
        options = options | {"triton.cudagraphs": True}
    own = runtime.own(function)
    return cast(F, torch.compile(own, fullgraph=True, dynamic=False, options=options))


def model_loss(model: nn.Module, loss: Callable[[Tensors, Tensors], Tensor]) -> LossOf:
    """Loss of a generated model on features and labels by name."""

    def loss_of(features: Mapping[str, Tensor], labels: Tensors) -> Tensor:
        return loss(model(features, stacked=True), labels)

    return loss_of
