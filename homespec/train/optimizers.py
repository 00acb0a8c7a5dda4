"""Training: the optimisers of dense parameters and of embedding tables, and the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from homespec.runtime import embeddings_of

SHAPES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 + 0.5 * math.cos(math.pi * done),
    "linear": lambda done: 1.0 - done,
}
"""The learning rate as a function of progress after the warm-up, 0 to 1."""
EXPONENTIAL = "exponential"
"""The shape that does not depend on the run's length: the rate halves in a number of steps."""

Groups = list[dict[str, Any]]


# ---------------------------------------------------------------- dense parameters


def optimizer_of(kind: str, groups: Groups, lr: float) -> torch.optim.Optimizer:
    """A torch optimiser by its name in `--optimizer`; groups without a rate use `lr`.

    `adam`, `sgd` and `adagrad` add weight decay to the gradient; `adamw` decouples it. All are
    fused except Adagrad, whose counters are created before the model moves to its device. SGD has
    no momentum.
    """
    match kind:
        case "sgd":
            return torch.optim.SGD(groups, lr=lr, fused=True)
        case "adagrad":
            return torch.optim.Adagrad(groups, lr=lr)
        case "adamw":
            return torch.optim.AdamW(groups, lr=lr, fused=True)
    return torch.optim.Adam(groups, lr=lr, fused=True)


def decayed(
    model: nn.Module,
    views: Callable[[dict[str, Tensor]], Mapping[str, Tensor]],
    weight_decay: float,
) -> Groups:
    """The parameters that require a gradient in two groups: with weight decay, and without.

    Matrices of experts, towers, gates, LoRAs and encoders decay. Vectors (biases, norms, DICE,
    learned values for missing input) do not, and neither do tables, whose rows would shrink while
    no batch looks them up. For a batched tensor, the shape of its logical parts decides.
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


def around_steps(
    optimizer: torch.optim.Optimizer,
    copies: Callable[[], dict[str, Tensor]],
    mend: Callable[[dict[str, Tensor]], None],
) -> None:
    """Copy weights before each step of an optimiser, and correct them afterwards."""
    kept: dict[str, Tensor] = {}

    def before(*_: Any) -> None:
        kept.update(copies())

    def after(*_: Any) -> None:
        mend(kept)
        kept.clear()

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)


# ---------------------------------------------------------------- tables


class RowwiseAdagrad(torch.optim.Optimizer):
    """Adagrad with one accumulator for each row of a table, for sparse and dense gradients.

    With g_r the gradient of row r (E numbers), summed over its look-ups:

        s_r += mean(g_r²)        w_r -= lr g_r / (sqrt(s_r) + eps)

    A row without a gradient does not change. State: `sum` [rows] for each table. A table may have
    `factors` [rows, 1], which multiply the rates of its rows. Sources: Duchi et al. 2011; by rows,
    as in TorchRec and FBGEMM (EXACT_ROWWISE_ADAGRAD).
    """

    def __init__(self, params: ParamsT, lr: float = 0.05, eps: float = 1e-8) -> None:
        super().__init__(params, {"lr": lr, "eps": eps})
        self.factors: dict[Tensor, Tensor] = {}
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
                    sums_R, factors = self.state[weight]["sum"], self._factors(weight)
                    _update(weight, weight.grad, sums_R, group, factors)
        return loss

    def _factors(self, weight: Tensor) -> Tensor | None:
        """The factors of a table [R, 1], on its device."""
        factors_R1 = self.factors.get(weight)
        if factors_R1 is not None and factors_R1.device != weight.device:
            self.factors[weight] = factors_R1 = factors_R1.to(weight.device)
        return factors_R1


def _update(
    weight_RE: Tensor, grad: Tensor, sum_R: Tensor, group: Mapping[str, Any],
    factors_R1: Tensor | None,
) -> None:  # fmt: skip
    if not grad.is_sparse:
        sum_R += grad.float().square().mean(1)
        steps_R1 = _steps(sum_R, group) if factors_R1 is None else _steps(sum_R, group) * factors_R1
        weight_RE += (grad * steps_R1).to(weight_RE.dtype)
        return
    grad = grad.coalesce()  # sum the look-ups of a row
    rows_U, grad_UE = grad.indices()[0], grad.values()
    sum_U = sum_R[rows_U] + grad_UE.float().square().mean(1)
    sum_R[rows_U] = sum_U
    steps_U1 = _steps(sum_U, group)
    if factors_R1 is not None:
        steps_U1 = steps_U1 * factors_R1[rows_U]
    weight_RE.index_add_(0, rows_U, (grad_UE * steps_U1).to(weight_RE.dtype))


def _steps(sum_R: Tensor, group: Mapping[str, Any]) -> Tensor:
    """The factors [R, 1] of a gradient's rows."""
    steps_R: Tensor = -group["lr"] / (sum_R.sqrt() + group["eps"])
    return steps_R.unsqueeze(1)


class CombinedOptimizer(torch.optim.Optimizer):
    """Several optimisers that step together, because Lightning's automatic optimisation takes one.

    They share their groups and state with this one, so schedules and checkpoints affect them.
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
        """Call the closure, which computes gradients, and step each of them."""
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
    """The moments of each group's weights by name, with their shapes."""
    if isinstance(optimizer, CombinedOptimizer):
        return [shapes for part in optimizer.parts for shapes in moment_shapes(part)]
    shapes = {"step": ONE, "exp_avg": LIKE_WEIGHT, "exp_avg_sq": LIKE_WEIGHT}
    if isinstance(optimizer, RowwiseAdagrad):
        shapes = {"sum": BY_ROW}
    elif isinstance(optimizer, torch.optim.Adagrad):
        shapes = {"step": ONE, "sum": LIKE_WEIGHT}
    elif isinstance(optimizer, torch.optim.SGD):
        shapes = {}
    return [shapes] * len(optimizer.param_groups)


# ---------------------------------------------------------------- learning rate


def schedule(
    optimizer: torch.optim.Optimizer,
    warmup: int = 0,
    total: float | None = None,
    shape: str = "constant",
    done: int = 0,
    half_life: float = math.inf,
) -> torch.optim.lr_scheduler.LambdaLR:
    """Warm-up over the first `warmup` steps, then a shape of SHAPES, at 0 after step `total`.

    Or `exponential`: the rate halves every `half_life` steps after the warm-up. Step it after every
    optimisation step; `done` steps have been done. Raises ValueError if a shape that falls to 0 has
    no steps after the warm-up.
    """
    endless = shape in ("constant", EXPONENTIAL)
    if not endless and (total is None or total <= warmup):
        raise ValueError(f"{shape} needs more steps than the {warmup} of warm-up, not {total}")

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if shape == EXPONENTIAL:
            return float(0.5 ** ((step - warmup) / half_life))
        passed = (step - warmup) / (total - warmup) if total and total > warmup else 0.0
        return SHAPES[shape](min(passed, 1.0))

    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor, last_epoch=done - 1)
