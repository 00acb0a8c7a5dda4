"""Training: the training step: losses, one gradient of them, clipping, an optimiser step."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn

from homespec import runtime
from homespec.data.batches import Batch
from homespec.runtime import GeneratedModule, Tensors, embeddings_of, tables_of
from homespec.train import RunError
from homespec.train.checkpoint_checks import Forms, check_forms, forms
from homespec.train.distributed import all_reduce_mean, loss_scales, world_size
from homespec.train.dropout_masks import own_masks
from homespec.train.frozen import Frozen
from homespec.train.optimizer_state import (
    WEIGHTING,
    copied,
    has_learned,
    is_of_weighting,
    load_moments,
    moment_forms,
    moments,
)
from homespec.train.optimizers import (
    EXPONENTIAL,
    CombinedOptimizer,
    Groups,
    RowwiseAdagrad,
    decayed,
    optimizer_of,
    schedule,
)
from homespec.train.penalties import Penalties
from homespec.train.rates import Rates, rate
from homespec.train.settings import Settings
from homespec.train.sparse_embeddings import SparseTables
from homespec.train.weighting import weighting_of
from homespec.train.weighting.gradnorm import last_shared

T = TypeVar("T")
Step = Callable[..., Tensor]
"""Maps features, labels and, if they exist, sample weights and sessions to losses [T]."""


class TrainStep:
    """The optimiser of a model, and the method that turns its tasks' losses into one gradient.

    A step is

        losses_T = step.losses(batch)
        loss = step.weighting.loss(losses_T)
        step.backward(loss, losses_T)
        step.clip(norm); step.optimizer.step(); step.optimizer.zero_grad()

    `code` is the generated module of `model`. Forward and losses are one graph for torch.compile.
    """

    def __init__(
        self,
        model: nn.Module,
        code: GeneratedModule,
        kinds: Mapping[str, str],
        settings: Settings,
        compiled: bool,
        frozen: frozenset[str] = frozenset(),
    ) -> None:
        """Take control of `model`, whose tasks are of these kinds. The spec freezes `frozen`."""
        self.model, self.code, self.settings = model, code, settings
        self.rows_T = torch.empty(0)
        """The weight of the last batch's rows in this process for each task."""
        weights = {task: code.WEIGHTS[task] for task in code.TASKS}
        self.views = functools.partial(code.logical_views, model)
        self.weighting = weighting_of(settings.weighting, weights, kinds, self.views)
        self.rates = Rates(model, code, settings)
        self.frozen = Frozen(model, code, settings.freeze, self.rates.zero, frozen)
        self.rates.check(self.frozen.names)
        self.penalties = Penalties(model, code, settings, self.frozen.names)
        self._statistics: dict[str, Tensor] = {}
        self.tables = self._sparse() if settings.table_optimizer != "adam" else None
        self._trained: dict[str, Tensor] = {
            name: p for name, p in model.named_parameters() if p.requires_grad
        }
        self._check_shared()
        self._rowwise: RowwiseAdagrad | None = None
        self.optimizer = self._optimizer()
        self.frozen.hold(self.optimizer)
        self.rates.hold(self.optimizer, self._rowwise)
        self._session_column = runtime.session_column(code)
        self._drops = any(isinstance(module, nn.Dropout) for module in model.modules())
        step = step_of(model, code)
        self.step: Step = runtime.compiled(step, dynamic=False) if compiled else step

    def _sparse(self) -> SparseTables | None:
        if not self.settings.optimize:
            raise RunError(
                f"--table-optimizer {self.settings.table_optimizer} is for optimised code: "
                "remove --no-optimize, or train with --table-optimizer adam"
            )
        return SparseTables(self.model, self.frozen) if tables_of(self.model) else None

    def _check_shared(self) -> None:
        if self.settings.weighting != "gradnorm":
            return
        try:
            shared = last_shared(dict(self.model.named_parameters()), self.views)
        except ValueError as error:
            raise RunError(f"{error}: take another --weighting") from None
        if frozen := [part for _, part in shared if part in self.frozen.names]:
            raise RunError(
                f"--weighting gradnorm balances the gradients of {frozen[0]}, which is frozen: "
                "use another --weighting, or freeze less"
            )

    def _optimizer(self) -> torch.optim.Optimizer:
        settings, learned = self.settings, self.weighting.groups()
        groups = decayed(self.model, self.views, settings.weight_decay)
        groups, of_tables = self._apart(self.rates.split(groups, settings.lr))
        parts: list[torch.optim.Optimizer] = []
        if groups or learned:  # otherwise everything except tables is frozen
            parts.append(optimizer_of(settings.optimizer, [*groups, *learned], settings.lr))
        if of_tables:
            parts.append(optimizer_of("adam", of_tables, settings.lr))
        if self.tables is not None:
            weights = [t.get_parameter("weight") for t in self.tables.tables.values()]
            by_rate = self.rates.split([{"params": weights}], settings.table_lr)
            self._rowwise = RowwiseAdagrad(by_rate, settings.table_lr)
            parts.append(self._rowwise)
        return parts[0] if len(parts) == 1 else CombinedOptimizer(*parts)

    def _apart(self, groups: Groups) -> tuple[Groups, Groups]:
        """Groups of the parameters that `--optimizer` trains, and of tables trained with Adam."""
        if self.settings.optimizer.startswith("adam"):
            return groups, []
        tables = {id(weight) for weight in embeddings_of(self.model)}
        parted: tuple[Groups, Groups] = ([], [])
        for group in groups:
            for those, into in zip((False, True), parted, strict=True):
                if own := [p for p in group["params"] if (id(p) in tables) == those]:
                    into.append({**group, "params": own})
        return parted

    def schedule(self, steps: float, done: int = 0) -> torch.optim.lr_scheduler.LambdaLR:
        """The learning rate over `steps` steps, possibly infinitely many, after those done."""
        check_schedule(self.settings, steps)
        warmup = self.settings.warmup_steps
        falls = warmup < steps < math.inf
        shape = self.settings.schedule or ("linear" if falls else "constant")
        half_life = self.settings.half_life or math.inf
        return schedule(self.optimizer, warmup, steps, shape, done, half_life)

    def losses(self, batch: Batch) -> Tensor:
        """The tasks' losses [T]; their means over all processes are those of the batch."""
        self.rows_T = runtime.row_totals(self.code, batch.labels, batch.weights)
        scales_T = loss_scales(self.rows_T)
        if self.tables:
            self.tables.fit(batch.features)
        self._statistics = self.frozen.statistics()
        with self.weighting.several_passes(), _one_graph(), own_masks(self._drops):
            more = (batch.weights,) if batch.weights else ()
            losses_T = self.step(batch.features, batch.labels, *more, *self._sessions(batch))
            return losses_T if scales_T is None else losses_T * scales_T

    def _sessions(self, batch: Batch) -> tuple[Tensor, ...]:
        """The ids of sessions, if the losses need them."""
        if self._session_column is None:
            return ()
        if batch.sessions is None:
            raise RunError(
                f"the batch has no `sessions`: the losses need the ids of `{self._session_column}`"
            )
        return (batch.sessions,)

    def backward(self, loss: Tensor, losses_T: Tensor, scale: float = 1.0) -> None:
        """Add the gradient of a batch; `loss` is the weighting's loss times `scale`."""
        rows = self.tables.rows if self.tables else None
        looked_up = self.tables.leaves if self.tables else {}
        leaves = self._trained | {n: leaf for n, leaf in looked_up.items() if leaf.requires_grad}
        self.weighting.backward(loss, losses_T, leaves, rows, scale)
        self.frozen.put_back(self._statistics)
        if self.tables:
            self.tables.set_aside()

    def gradient_norm(self) -> Tensor:
        """The norm of all gradients before clipping, on their device.

        Each look-up of a sparse table counts, in all processes, which must all call this.
        """
        looked_up = self.tables.pending if self.tables else []
        if not looked_up or world_size() == 1:
            return _norm([*self._trained.values(), *looked_up])
        dense, own = (_norm(each).square() for each in (self._trained.values(), looked_up))
        # gradients of look-ups are averaged over processes
        return (dense + all_reduce_mean(own) / world_size()).sqrt()

    def clip(self, most: float | None, by_value: bool = False, norm: Tensor | None = None) -> None:
        """Scale gradients to this norm, or clip each to this value, and complete those of tables.

        Then add those of penalties. `norm` is the current norm, if it is known.
        """
        looked_up = self.tables.pending if self.tables else []
        trained = [*self._trained.values(), *looked_up]
        if most is not None and by_value:
            nn.utils.clip_grad_value_(trained, most)
        elif most is not None:
            known = self.gradient_norm() if norm is None else norm
            nn.utils.clip_grads_with_norm_(trained, most, known)
        if self.tables:
            self.tables.collect()
        self.penalties.add()

    def learning_rates(self) -> dict[str, float]:
        """The learning rates of the next step by name.

        They are `lr`, `table_lr` if tables have their own optimiser, and `lr/PATTERN` or
        `table_lr/PATTERN` for each rule of `--lr-of`.
        """
        of_tables = self._rowwise.param_groups if self._rowwise else []
        bases = {"table_lr": self.settings.table_lr} if of_tables else {}
        if len(self.optimizer.param_groups) > len(of_tables):
            bases = {"lr": self.settings.lr} | bases
        rates = {name: self._now(base) for name, base in bases.items()}
        for name, base in bases.items():
            for rule in self.rates.used(self._rowwise, in_it=name == "table_lr"):
                rates[f"{name}/{rule.pattern}"] = self._now(rate(rule, base))
        return rates

    def _now(self, begin: float) -> float:
        """A rate after warm-up and schedule."""
        groups = [(g["lr"], g.get("initial_lr", g["lr"])) for g in self.optimizer.param_groups]
        now, first = next((each for each in groups if each[1] == begin), groups[0])
        return float(now if first == begin else begin * now / first)

    def state(self) -> dict[str, Tensor]:
        """Moments by logical name, and the state of the weighting, as copies on the CPU.

        Frozen weights have no moments.
        """
        return self._learned_weights() | self._of_trained(
            moments(self.views, self.names, self.optimizer)
        )

    def _of_trained(self, by_name: Mapping[str, T]) -> dict[str, T]:
        """The entries `MOMENT/LOGICAL NAME` whose weights are not frozen."""
        frozen = self.frozen.names
        return {k: each for k, each in by_name.items() if k.partition("/")[2] not in frozen}

    def _forms(self) -> list[Forms]:
        """For each parameter, the moments in `state` once all have had a gradient."""
        of_all = moment_forms(self.views, self.names, self.optimizer)
        return [self._of_trained(of_one) for of_one in of_all]

    def _learned_weights(self) -> dict[str, Tensor]:
        return {f"{WEIGHTING}/{n}": copied(t) for n, t in self.weighting.state_dict().items()}

    def check(self, stored: Mapping[str, Tensor], file: str, complete: bool) -> None:
        """Raise DamagedError, which names the first entry of `stored` that `load` could not use.

        All moments must exist. In a `complete` file, a weight that never had a gradient may lack
        them.
        """
        of_weights = self._forms()
        none = [each for each in of_weights if complete and not each.keys() & stored.keys()]
        expected = dict(forms(self._learned_weights()))
        for each in of_weights:
            expected |= each
        check_forms(stored, expected, file, may_lack=[name for each in none for name in each])

    def load(self, stored: Mapping[str, Tensor]) -> None:
        """Continue from the result of `state`."""
        prefix = f"{WEIGHTING}/"
        weights = {
            key.removeprefix(prefix): t for key, t in stored.items() if key.startswith(prefix)
        }
        self.weighting.load_state_dict(weights)
        load_moments(self.views, self.names, self.optimizer, stored)

    def start_from(self, stored: Mapping[str, Tensor], source: str) -> bool:
        """Load the moments of another run, and the state of its weighting if it was the same.

        Returns False if a learned state is left out or missing. Frozen and new weights begin
        without moments. Raises RunError, which names the `source`, if the moments belong to another
        optimiser.
        """
        learned = {key: tensor for key, tensor in stored.items() if is_of_weighting(key)}
        own = self._of_trained({key: stored[key] for key in stored.keys() - learned.keys()})
        by_parameter = self._forms()
        expected = {key: form for each in by_parameter for key, form in each.items()}
        if unknown := sorted(own.keys() - expected.keys()):
            raise RunError(
                f"{source} has {unknown[0]}, which the optimiser of this run does not have: "
                "train with the --optimizer and --table-optimizer of that run, or --no-init-moments"
            )
        check_forms(own, expected, source, may_lack=expected)
        for each in by_parameter:
            found = _kinds(each.keys() & own.keys())
            if found and found != _kinds(each.keys()):
                raise RunError(f"{source} lacks {min(each.keys() - own.keys())}")
        load_moments(self.views, self.names, self.optimizer, own)
        wanted = dict(forms(self._learned_weights())) | {
            key: form for key, form in expected.items() if is_of_weighting(key)
        }
        if forms(learned) == wanted:
            self.load(learned)
            return True
        return not has_learned([*wanted, *learned])

    @property
    def names(self) -> dict[Tensor, str]:
        """The names of all parameters that the optimiser steps."""
        names: dict[Tensor, str] = {p: name for name, p in self.model.named_parameters()}
        return names | {p: f"{WEIGHTING}.{n}" for n, p in self.weighting.named_parameters()}


def _kinds(keys: Iterable[str]) -> set[str]:
    """The kinds of moments among `MOMENT/LOGICAL NAME`."""
    return {key.partition("/")[0] for key in keys}


def _one_graph() -> AbstractContextManager[object]:
    """Under DDP, torch.compile would split the step at the ends of DDP's buckets."""
    if world_size() == 1:
        return nullcontext()
    patched: AbstractContextManager[object] = torch._dynamo.config.patch(optimize_ddp=False)
    return patched


def _norm(tensors: Iterable[Tensor]) -> Tensor:
    return nn.utils.get_total_norm([t.grad for t in tensors if t.grad is not None])


def check_schedule(settings: Settings, steps: float) -> None:
    """Raise RunError for a learning rate that falls over a run with too few or unknown steps."""
    if settings.schedule == EXPONENTIAL and settings.half_life is None:
        raise RunError(
            "--schedule exponential needs --half-life, the steps in which the learning rate halves"
        )
    if settings.schedule in (None, "constant", EXPONENTIAL):
        return
    if math.isinf(steps):
        raise RunError(
            f"--schedule {settings.schedule} falls to 0 at the end of a run, but this run has no "
            "end: give the Trainer max_epochs or max_steps"
        )
    if steps <= settings.warmup_steps:
        raise RunError(
            f"--schedule {settings.schedule} has no steps left: the run has {steps:g}"
            f" steps and --warmup-steps {settings.warmup_steps}; use a shorter warm-up"
        )


def step_of(model: nn.Module, code: GeneratedModule) -> Step:
    """Features, labels and optionally weights and sessions -> the tasks' losses [T]."""

    def step(features: Tensors, labels: Tensors, *more: Tensors | Tensor) -> Tensor:
        losses_T: Tensor = code.stacked_losses(model(features, stacked=True), labels, *more)
        return losses_T

    return step
