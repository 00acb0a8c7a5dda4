"""Training: the optimisers of dense parameters and of embedding tables, and the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, overload

import torch
from torch import Tensor, nn

from homespec.runtime import embeddings_of

SHAPES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 + 0.5 * math.cos(math.pi * done),
    "linear": lambda done: 1.0 - done,
}
"""The learning rate over the part of training after the warm-up that is done, 0 to 1."""

Groups = list[dict[str, Any]]


# ---------------------------------------------------------------- dense parameters


def dense_optimizer(
    kind: str,
    model: nn.Module,
    views: Callable[[dict[str, Tensor]], Mapping[str, Tensor]],
    lr: float,
    weight_decay: float = 0.0,
    also: Iterable[dict[str, Any]] = (),
) -> torch.optim.Optimizer:
    """Fused `adam` (decay as a penalty in the gradient) or `adamw` (decoupled decay).

    On all parameters that ask for a gradient: tables too, unless `SparseTables` took them. `views`
    is the generated `logical_views`; `also` are further groups, such as learned weights of losses.
    """
    groups = [*decayed(model, views, weight_decay), *also]
    if kind == "adamw":
        return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay, fused=True)
    return torch.optim.Adam(groups, lr=lr, weight_decay=weight_decay, fused=True)


def decayed(
    model: nn.Module,
    views: Callable[[dict[str, Tensor]], Mapping[str, Tensor]],
    weight_decay: float,
) -> Groups:
    """The parameters that ask for a gradient in two groups: with weight decay, and without.

    Matrices decay: those of experts, towers, gates, LoRAs and encoders. Vectors (biases, norms,
    DICE, learned values for what is missing) do not, nor do tables, whose rows would shrink while
    no batch looks them up. A batched tensor is judged by its logical parts.
    """
    embeddings = {id(weight) for weight in embeddings_of(model)}
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parts = views({name: parameter.detach()}).values()
            matrix = all(part.dim() > 1 for part in parts) and id(parameter) not in embeddings
            (matrices if matrix else others).append(parameter)
    groups = ({"params": matrices, "weight_decay": weight_decay}, {"params": others})
    return [{"weight_decay": 0.0, **group} for group in groups if group["params"]]


# ---------------------------------------------------------------- tables


class RowwiseAdagrad(torch.optim.Optimizer):
    """Adagrad with one accumulator for each row of a table; for sparse and dense gradients.

    With g_r the gradient of row r (E numbers), summed over its look-ups:

        s_r += mean(g_r²)        w_r -= lr g_r / (sqrt(s_r) + eps)

    A row without a gradient does not change. State: `sum` [rows] for each table.
    Sources: Duchi et al. 2011; by rows, as in TorchRec and FBGEMM (EXACT_ROWWISE_ADAGRAD).
    """

    def __init__(self, params: Iterable[Tensor], lr: float = 0.05, eps: float = 1e-8) -> None:
        super().__init__(params, {"lr": lr, "eps": eps})
        for group in self.param_groups:
            for weight in group["params"]:
                self.state[weight]["sum"] = weight.new_zeros(len(weight), dtype=torch.float32)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update the tables by their `.grad`."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    _update(weight, weight.grad, self.state[weight]["sum"], group)
        return loss


def _update(weight_RE: Tensor, grad: Tensor, sum_R: Tensor, group: Mapping[str, Any]) -> None:
    if not grad.is_sparse:
        sum_R += grad.float().square().mean(1)
        weight_RE += (grad * _steps(sum_R, group)).to(weight_RE.dtype)
        return
    grad = grad.coalesce()  # sums the look-ups of a row
    rows_U, grad_UE = grad.indices()[0], grad.values()
    sum_U = sum_R[rows_U] + grad_UE.float().square().mean(1)
    sum_R[rows_U] = sum_U
    weight_RE.index_add_(0, rows_U, (grad_UE * _steps(sum_U, group)).to(weight_RE.dtype))


def _steps(sum_R: Tensor, group: Mapping[str, Any]) -> Tensor:
    """What a gradient is multiplied by, [R, 1]."""
    steps_R: Tensor = -group["lr"] / (sum_R.sqrt() + group["eps"])
    return steps_R.unsqueeze(1)


class CombinedOptimizer(torch.optim.Optimizer):
    """Several optimisers that step as one, since Lightning's automatic optimisation takes one.

    They share this one's groups and state: what schedules and checkpoints change here is theirs.
    """

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})
        for part in parts:
            self.state.update(part.state)
        self._share()

    def _share(self) -> None:
        groups = iter(self.param_groups)
        for part in self.parts:
            part.state = self.state
            part.param_groups = [next(groups) for _ in part.param_groups]

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Step each of them, after the gradients that the closure gives."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state of all of them."""
        super().load_state_dict(state_dict)
        self._share()


# ---------------------------------------------------------------- moments

LIKE_WEIGHT, BY_ROW, ONE = "like its weight", "one for each row", "one"


def moment_shapes(optimizer: torch.optim.Optimizer) -> list[dict[str, str]]:
    """The moments that each group's weights have, by name, and what shape they have."""
    if isinstance(optimizer, CombinedOptimizer):
        return [shapes for part in optimizer.parts for shapes in moment_shapes(part)]
    adam = {"step": ONE, "exp_avg": LIKE_WEIGHT, "exp_avg_sq": LIKE_WEIGHT}
    shapes = {"sum": BY_ROW} if isinstance(optimizer, RowwiseAdagrad) else adam
    return [shapes] * len(optimizer.param_groups)


# ---------------------------------------------------------------- learning rate


def schedule(
    optimizer: torch.optim.Optimizer,
    warmup: int = 0,
    total: float | None = None,
    shape: str = "constant",
    done: int = 0,
) -> torch.optim.lr_scheduler.LambdaLR:
    """Warm-up over the first `warmup` steps, then a shape of SHAPES, at 0 after step `total`.

    To be stepped after every optimisation step, of which `done` are done. Raises ValueError if a
    shape that falls has no end after the warm-up.
    """
    if shape != "constant" and (total is None or total <= warmup):
        raise ValueError(f"{shape} needs more steps than the {warmup} of warm-up, not {total}")

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        passed = (step - warmup) / (total - warmup) if total and total > warmup else 0.0
        return SHAPES[shape](min(passed, 1.0))

    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor, last_epoch=done - 1)
