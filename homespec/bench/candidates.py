"""Benchmark: models to train or serve, each with a batch and with the same weights.

When serving, `naive` is the plain training model in eval mode, and `ours` is the file for
inference, into which batch norm is folded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from homespec import api, runtime
from homespec.api import CompileOptions, LoadedSpec
from homespec.bench.random_batch import random_features, random_labels, set_fitted
from homespec.bench.variants import FUSED, GRAPHS, VARIANTS, Mode

Tensors = dict[str, Tensor]
Function = Callable[[Any, Any], Tensor]
"""Features and labels -> loss, a scalar, or logits."""

F = TypeVar("F", bound=Callable[..., Tensor])

SEED = 0
"""Seed of weights, features and labels."""

TOLERANCE = {"float32": 1e-3, "bf16": 2e-1}
"""Maximum relative difference from plain code in float32, of the loss and of the whole gradient (by
its norm). At the industrial size, rounding to bf16 alone changes the gradient of plain code by
0.10.
"""

LOGITS_TOLERANCE = {"float32": 1e-4, "bf16": 1e-1}
"""Maximum difference of a logit between variants, relative to the largest logit."""

NOT_TRAINED = (".running_mean", ".running_var", ".boundaries", ".scaling", ".vocabulary")
"""Suffixes of logical names of buffers, which no optimiser changes."""


class Unequal(Exception):  # noqa: N818  # a finding about the generated code
    """Raised if a variant computes something other than the plain code."""


class Candidate:
    """A model with one batch, eager or compiled.

    The loss is compiled with the model. The optimiser is torch's fused Adam, which already takes
    one kernel or few. `bf16` means autocast over forward and loss.
    """

    def __init__(
        self,
        model: nn.Module,
        function: Function,
        features: Any,
        labels: Any = None,
        *,
        device: str = "cpu",
        bf16: bool = False,
        mode: Mode | None = None,
    ) -> None:
        self.model, self.features, self.labels = model, features, labels
        self.device, self.bf16, self.mode = device, bf16, mode
        self.optimizer = torch.optim.Adam(model.parameters(), fused=True)
        self._loss_of, self._forward_of = (
            compiled(function, mode) if mode else function for _ in range(2)
        )

    def backward(self) -> Tensor:
        """Run forward, loss and backward, and return the loss; gradients are kept."""
        self._mark()
        with self._autocast():
            loss = self._loss_of(self.features, self.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    def step(self) -> None:
        """Run a training step: forward, loss, backward, Adam; gradients are then freed."""
        self.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def forward(self) -> Tensor:
        """The function without anything saved for a backward pass."""
        self._mark()
        with torch.no_grad(), self._autocast():
            return self._forward_of(self.features, self.labels)

    def _mark(self) -> None:
        """Tell CUDA graphs that the outputs of the last step are no longer needed."""
        if self.mode in GRAPHS:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]

    def _autocast(self) -> AbstractContextManager[object]:
        cast_to = torch.bfloat16
        return torch.autocast(self.device, cast_to) if self.bf16 else contextlib.nullcontext()


def compiled(function: F, mode: Mode) -> F:
    """The function under torch.compile, with a fixed shape and without graph breaks."""
    if mode == "default":
        return runtime.compiled(function, dynamic=False)
    options = runtime.SAFE | (FUSED if mode in ("fused", "fused-graphs") else {})
    if mode in GRAPHS:
        options = options | {"triton.cudagraphs": True}
    own = runtime.own(function)
    return cast(F, torch.compile(own, fullgraph=True, dynamic=False, options=options))


# ---------------------------------------------------------------- variants of a spec


def weights_of(spec: LoadedSpec) -> Tensors:
    """Initial weights by logical name.

    Weights that start at zero get other values, so that differences show.
    """
    torch.manual_seed(SEED)
    code, model = api.build_with_module(spec, optimize=False)
    set_fitted(code, model, spec)
    return {
        name: tensor
        if tensor.any() or name.endswith(NOT_TRAINED)
        else 0.1 * torch.randn_like(tensor)
        for name, tensor in code.logical_state(model).items()
    }


def trained(weights: Tensors) -> Tensors:
    """Weights with the running statistics of some data, so that folding has an effect."""
    torch.manual_seed(SEED)
    state = dict(weights)
    for name, tensor in weights.items():
        if name.endswith(".running_mean"):
            state[name] = torch.randn_like(tensor)
        elif name.endswith(".running_var"):
            state[name] = 0.5 + torch.rand_like(tensor)
    return state


def build(
    spec: LoadedSpec, name: str, weights: Tensors, rows: int, device: str, precision: str
) -> Candidate:
    """A variant for training with these weights. All variants get the same batch."""
    variant = VARIANTS[name]
    code, model = api.build_with_module(
        spec, optimize=variant.optimize, target=variant.target, device=device
    )
    code.load_logical_state(model, weights)
    torch.manual_seed(SEED)
    return Candidate(
        model, model_loss(model, code), random_features(spec, rows, device),
        random_labels(spec, rows, device), device=device, bf16=precision == "bf16",
        mode=variant.mode,
    )  # fmt: skip


def model_loss(model: nn.Module, code: runtime.GeneratedModule) -> Function:
    """Loss of a generated model on features and labels by name; sample weights are 1, and sessions
    have SESSION_ROWS rows.
    """
    sampled, ranks = runtime.sampled(code), runtime.session_column(code) is not None
    if not sampled and not ranks:
        return lambda features, labels: code.loss(model(features, stacked=True), labels)

    def with_more(features: Tensors, labels: Tensors) -> Tensor:
        some = labels[code.TASKS[0]]
        more: list[Tensors | Tensor] = []
        if sampled:
            more.append(dict.fromkeys(sampled, torch.ones_like(some)))
        if ranks:
            more.append(torch.arange(len(some), device=some.device) // SESSION_ROWS)
        return code.loss(model(features, stacked=True), labels, *more)

    return with_more


SESSION_ROWS = 8
"""Rows of a session, where losses rank rows within them."""


def build_server(
    spec: LoadedSpec, name: str, weights: Tensors, rows: int, device: str, precision: str,
    keep: Sequence[str] = (),
) -> Candidate:  # fmt: skip
    """A variant for serving, whose `forward` returns logits [T, B].

    They are those of all tasks or, if it is pruned, of the tasks `keep`.
    """
    variant = VARIANTS[name]
    options: CompileOptions = {
        "optimize": variant.optimize,
        "mode": "inference" if variant.optimize else "training",
        "target": variant.target,
        "tasks": keep if variant.pruned else None,
    }
    code, model = api.build_with_module(spec, device=device, **options)
    code.load_logical_state(model, weights)
    model.eval()
    torch.manual_seed(SEED)
    return Candidate(
        model, lambda features, _: cast(Tensor, model(features, stacked=True)).float(),
        random_features(spec, rows, device), device=device, bf16=precision == "bf16",
        mode=variant.mode,
    )  # fmt: skip


# ---------------------------------------------------------------- equality


def first_step(candidate: Candidate) -> Tensors:
    """The loss, under the name `loss`, and all gradients by logical name, of the first batch."""
    loss, model = candidate.backward().detach().clone(), candidate.model
    grads = {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in model.named_parameters()
    }
    model.zero_grad()
    return {"loss": loss, **runtime.module_of(model).logical_views(model, grads)}


def check_equal(name: str, step: Tensors, expected: Tensors, precision: str) -> float:
    """The difference between the first steps of a variant and of plain code.

    It is the larger of the relative differences of loss and gradient. Raises Unequal beyond
    TOLERANCE.
    """
    loss = abs(float(step["loss"] - expected["loss"])) / abs(float(expected["loss"]))
    own, other = (_flat(tensors, expected) for tensors in (step, expected))
    differs = max(loss, float((own - other).norm() / other.norm()))
    if not differs <= TOLERANCE[precision]:
        raise Unequal(
            f"{name} computes another first step, which differs by {differs:.1e};"
            f" at most {TOLERANCE[precision]:g} is "
            f"allowed in {precision}"
        )
    return differs


def _flat(tensors: Tensors, order: Tensors) -> Tensor:
    return torch.cat([tensors[name].flatten().double() for name in order if name != "loss"])


def check_logits(name: str, logits: Tensor, expected: Tensor, precision: str) -> float:
    """The largest difference of logits, relative to the largest logit. Raises Unequal."""
    differs = float((logits - expected).abs().max() / expected.abs().max())
    if not differs <= LOGITS_TOLERANCE[precision]:
        raise Unequal(f"{name} computes other logits, which differ by {differs:.1e}")
    return differs
