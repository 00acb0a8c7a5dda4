"""A loop by hand in float64, weight by weight, for test_parts.py, and the spec that it trains."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import homespec
from homespec.data.batches import Batch
from homespec.train.settings import Settings
from homespec.train.train_step import TrainStep

EVENTS = """
homespec: 1
name: events
features:
  user: {id: {vocab: 20}, dim: 4}
  video: {id: {vocab: 30}, dim: 4}
  author: {table: video}
  seen: {sequence: {of: [video], max_len: 5, encoder: din}}
  tags: {id: {vocab: 12}, dim: 4, list: {max_len: 4, pool: mean}}
  price: {bucketize: [1, 2], dim: 3}
  age: {dense: 2}
groups: {g: [a, b], h: [c, d]}
tasks: {a: {}, b: {weight: 0.5}, c: {}, d: {}}
experts:
  width: 8
  norm: layer
  hidden: [6]
  meta: {shared: 1, group: 1}
  task: {shared: 1, group: 1, task: 1}
gates: {feature: {loras: 1, rank: 2}}
"""
"""Every way to look a row up: an id, a shared table, a history and a list, both padded. With batch
norm rows would know of each other, and biases before it have gradients that are rounding errors."""
ROWS = 16


def batch(seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)

    def ids(*size: int, most: int) -> Tensor:
        return torch.randint(0, most, size, generator=generator)

    def padded(length: int, most: int) -> Tensor:
        there = torch.arange(length) < ids(ROWS, 1, most=length)
        return ids(ROWS, length, most=most).where(there, -1)

    features = {
        "user": ids(ROWS, most=9), "video": ids(ROWS, most=9), "author": 20 + ids(ROWS, most=5),
        "seen.video": padded(5, 20), "tags": padded(4, 12),
        "price": torch.rand(ROWS, generator=generator, dtype=torch.float64) * 2,
        "age": torch.randn(ROWS, 2, generator=generator, dtype=torch.float64),
    }  # fmt: skip
    labels = {task: ids(ROWS, most=2).double() for task in "abcd"}
    return Batch(features, labels)


def rows_of(read: Batch) -> dict[str, Tensor]:
    """The rows of each table that events, tags and candidates name, each once; no padding.

    Row 0 of a table is that of what is missing.
    """
    f = read.features
    of_video = torch.cat([f[name].flatten() for name in ("video", "author", "seen.video")])
    price = torch.bucketize(f["price"], torch.tensor([1.0, 2.0]).double(), right=True)
    each = {"user": f["user"], "video": of_video, "tags": f["tags"].flatten(), "price": price}
    return {f"features.{n}.weight": 1 + rows[rows >= 0].unique() for n, rows in each.items()}


def step_of(settings: Settings, text: str = EVENTS) -> TrainStep:
    spec = homespec.loads(text)
    torch.manual_seed(0)
    code, model = homespec.build_with_module(spec, optimize=settings.optimize)
    if not settings.optimize:  # which draws its weights in another order
        first, drawn = step_of(Settings(), text), code
        drawn.load_logical_state(model, first.code.logical_state(first.model))
    kinds = dict.fromkeys(code.TASKS, "binary")
    return TrainStep(model.double(), code, kinds, settings, compiled=False)


def trained(settings: Settings, steps: int) -> dict[str, Tensor]:
    """All weights after some steps, by logical name."""
    step = step_of(settings)
    rates = step.schedule(steps)
    for number in range(steps):
        losses_T = step.losses(batch(number))
        step.backward(step.weighting.loss(losses_T), losses_T)
        step.clip(settings.clip)
        step.optimizer.step()
        step.optimizer.zero_grad()
        rates.step()
    return {n: each.clone() for n, each in step.code.logical_state(step.model).items()}


# ---------------------------------------------------------------- the loop by hand

Update = Callable[[Tensor, Tensor, dict[str, Any], float, float], Tensor]


def adam(w: Tensor, g: Tensor, state: dict[str, Any], lr: float, decay: float) -> Tensor:
    g = g + decay * w
    return w - lr * direction(g, state)


def adamw(w: Tensor, g: Tensor, state: dict[str, Any], lr: float, decay: float) -> Tensor:
    return w - lr * decay * w - lr * direction(g, state)


def direction(g: Tensor, state: dict[str, Any]) -> Tensor:
    state["t"] = t = state.get("t", 0) + 1
    state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
    state["v"] = 0.999 * state.get("v", 0) + 0.001 * g * g
    return state["m"] / (1 - 0.9**t) / ((state["v"] / (1 - 0.999**t)).sqrt() + 1e-8)


def sgd(w: Tensor, g: Tensor, state: dict[str, Any], lr: float, decay: float) -> Tensor:
    return w - lr * (g + decay * w)


def adagrad(w: Tensor, g: Tensor, state: dict[str, Any], lr: float, decay: float) -> Tensor:
    g = g + decay * w
    state["sum"] = state.get("sum", 0) + g * g
    return w - lr * g / (state["sum"].sqrt() + 1e-10)


def rowwise(w: Tensor, g: Tensor, state: dict[str, Any], lr: float, decay: float) -> Tensor:
    state["sum"] = state.get("sum", 0) + g.square().mean(1, keepdim=True)
    return w - lr * g / (state["sum"].sqrt() + 1e-8)


OPTIMIZERS: dict[str, Update] = {"adam": adam, "adamw": adamw, "sgd": sgd, "adagrad": adagrad}


def last(rules: tuple[str, ...], name: str) -> str | None:
    """What follows the `=` of the last rule that matches."""
    split = [rule.split("=") for rule in rules]
    found = [number for pattern, number in split if fnmatch.fnmatchcase(name, pattern)]
    return found[-1] if found else None


def rate_of(settings: Settings, name: str, base: float) -> float:
    number = last(settings.lr_of, name)
    if number is None:
        return base
    return base * float(number[:-1]) if number.endswith("x") else float(number)


def penalty(settings: Settings, weights: dict[str, Tensor], rows: dict[str, Tensor]) -> Tensor:
    """As its formula says it: matrices whole, of a table the rows that are read."""
    total = torch.zeros((), dtype=torch.float64)
    for name, weight in weights.items():
        own = weight[rows[name]] if name in rows else weight
        if weight.dim() > 1 and (factor := last(settings.l2, name)):
            total = total + float(factor) / 2 * own.square().sum()
        if weight.dim() > 1 and (factor := last(settings.l1, name)):
            total = total + float(factor) * own.abs().sum()
    return total


def by_hand(settings: Settings, steps: int) -> dict[str, Tensor]:
    """The same steps: gradients by autograd, every weight by itself.

    Of the model in the same form, since Adam makes steps of rounding errors where a gradient is 0.
    """
    step = step_of(Settings(optimize=settings.optimize))
    states: dict[str, dict[str, Any]] = {name: {} for name in step.code.logical_state(step.model)}
    for number in range(steps):
        rows = rows_of(batch(number))
        grads = gradients_by_hand(step, batch(number), settings)
        shape = 0.5 ** (number / settings.half_life) if settings.half_life else 1.0
        weights = step.code.logical_views(step.model, dict(step.model.named_parameters()))
        for name, weight in weights.items():
            base, update = settings.lr, OPTIMIZERS[settings.optimizer]
            if name in rows and settings.table_optimizer == "adagrad":
                base, update = settings.table_lr, rowwise
            elif name in rows:
                update = adam
            decay = settings.weight_decay if weight.dim() > 1 and name not in rows else 0.0
            lr = shape * rate_of(settings, name, base)
            with torch.no_grad():
                weight.copy_(update(weight, grads[name], states[name], lr, decay))
    return {n: each.clone() for n, each in step.code.logical_state(step.model).items()}


def gradients_by_hand(step: TrainStep, read: Batch, settings: Settings) -> dict[str, Tensor]:
    """Of the losses, clipped, and of the penalty as it is written."""
    model, code = step.model, step.code
    parameters = dict(model.named_parameters())
    weights = code.logical_views(model, parameters)
    losses_T = code.stacked_losses(model(read.features, stacked=True), read.labels)
    prior_T = losses_T.new_tensor([code.WEIGHTS[task] for task in code.TASKS])
    grads = autograd((prior_T * losses_T).sum(), parameters)
    norm = float(torch.stack([g.square().sum() for g in grads.values()]).sum().sqrt())
    scale = min(1.0, settings.clip / (norm + 1e-6)) if settings.clip else 1.0
    more = autograd(penalty(settings, weights, rows_of(read)), parameters)
    return code.logical_views(model, {n: g * scale + more[n] for n, g in grads.items()})


def autograd(loss: Tensor, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    if not loss.requires_grad:
        return {name: torch.zeros_like(p) for name, p in parameters.items()}
    grads = torch.autograd.grad(loss, list(parameters.values()), materialize_grads=True)
    return dict(zip(parameters, grads, strict=True))
