"""Training: what one batch does to the weights: losses, one gradient of them, clipped, a step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from homespec import runtime
from homespec.data.batches import Batch
from homespec.runtime import GeneratedModule, tables_of
from homespec.train import RunError
from homespec.train.checkpoint_checks import check_forms, forms
from homespec.train.distributed import all_reduce_mean, loss_scales, world_size
from homespec.train.optimizer_state import copied, load_moments, moment_forms, moments
from homespec.train.optimizers import RowwiseAdagrad, dense_optimizer, schedule
from homespec.train.settings import Settings
from homespec.train.sparse_embeddings import SparseTables
from homespec.train.weighting import weighting_of
from homespec.train.weighting.gradnorm import last_shared

Step = Callable[[dict[str, Tensor], dict[str, Tensor]], Tensor]
WEIGHTING = "weighting"


class Learner:
    """The optimisers of a model, and how the losses of its tasks become one gradient.

    `code` is the generated Python module that `model` comes from. Forward and losses are one graph
    for torch.compile.
    """

    def __init__(
        self,
        model: nn.Module,
        code: GeneratedModule,
        kinds: Mapping[str, str],
        settings: Settings,
        compiled: bool,
        steps: int,
    ) -> None:
        """Take over `model`, whose tasks are of these kinds, for so many steps in all epochs."""
        self.model, self.code, self.settings = model, code, settings
        weights = {task: code.WEIGHTS[task] for task in code.TASKS}
        self.views = functools.partial(code.logical_views, model)
        self.announce: Callable[[Tensor], None] = lambda losses_T: None
        """Called before each backward pass: DDP has to know of it."""
        self.weighting = weighting_of(settings.weighting, weights, kinds, self.views)
        self.tables = self._sparse() if settings.table_optimizer != "adam" else None
        self._trained: dict[str, Tensor] = {
            name: p for name, p in model.named_parameters() if p.requires_grad
        }
        self._check_shared()
        self.optimizers = self._optimizers()
        self._check_schedule(steps)
        self.schedules = [
            schedule(each, settings.warmup_steps, steps, settings.schedule)
            for each in self.optimizers
        ]
        step = step_of(model, code)
        self.step: Step = runtime.compiled(step, dynamic=False) if compiled else step

    def _sparse(self) -> SparseTables | None:
        if not self.settings.optimize:
            raise RunError(
                f"--table-optimizer {self.settings.table_optimizer} is for optimised code: leave"
                " --no-optimize out, or train with --table-optimizer adam"
            )
        return SparseTables(self.model) if tables_of(self.model) else None

    def _check_shared(self) -> None:
        if self.settings.weighting == "gradnorm":
            try:
                last_shared(self.leaves, self.views)
            except ValueError as error:
                raise RunError(f"{error}: take another --weighting") from None

    def _check_schedule(self, steps: int) -> None:
        warmup = self.settings.warmup_steps
        if self.settings.schedule != "constant" and steps <= warmup:
            raise RunError(
                f"--schedule {self.settings.schedule} has nothing left to fall over: the run has"
                f" {steps} steps, --warmup-steps {warmup}; warm up for fewer"
            )

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        settings = self.settings
        dense = dense_optimizer(
            settings.optimizer, self.model, self.views, settings.lr,
            settings.weight_decay, self.weighting.groups(),
        )  # fmt: skip
        if self.tables is None:
            return [dense]
        weights = [t.get_parameter("weight") for t in self.tables.tables.values()]
        return [dense, RowwiseAdagrad(weights, settings.table_lr)]

    def learn(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Take one step; the loss [] and the tasks' own losses [T].

        With several processes the means over them are the losses of the whole batch.
        """
        shares_T = self._shares(batch)
        if self.tables:
            self.tables.fit(batch.features)
        with self.weighting.several_passes():
            losses_T = self.step(batch.features, batch.labels)
            if shares_T is not None:
                losses_T = losses_T * shares_T
        with torch.autocast(losses_T.device.type, enabled=False):  # it is for the forward alone
            leaves = self.leaves
            rows = self.tables.rows if self.tables else None
            self.announce(losses_T)
            loss = self.weighting.backward(losses_T, leaves, rows)
            if self.settings.clip is not None:
                self._clip(self.settings.clip)
            if self.tables:
                self.tables.collect()
            for optimizer, scheduled in zip(self.optimizers, self.schedules, strict=True):
                optimizer.step()
                optimizer.zero_grad()
                scheduled.step()
        return loss.detach(), losses_T.detach()

    def _shares(self, batch: Batch) -> Tensor | None:
        observed = runtime.observed(self.code)(batch.labels)
        return loss_scales({task: observed[task] for task in self.code.TASKS})

    def _clip(self, most: float) -> None:
        """Scale gradients to this norm; look-ups of all processes count in that of each."""
        if self.tables is None or world_size() == 1:
            nn.utils.clip_grad_norm_(self.leaves.values(), most)
            return
        dense, own = (
            nn.utils.get_total_norm([t.grad for t in found.values() if t.grad is not None]).square()
            for found in (self._trained, self.tables.leaves)
        )
        # a look-up's gradient counts by its mean
        norm = (dense + all_reduce_mean(own) / world_size()).sqrt()
        nn.utils.clip_grads_with_norm_(self.leaves.values(), most, norm)

    @property
    def leaves(self) -> dict[str, Tensor]:
        """What gets a gradient: parameters by name, and what was looked up in sparse tables."""
        return self._trained | (self.tables.leaves if self.tables else {})

    def stored(self) -> dict[str, Tensor]:
        """Moments by logical name, and what the weighting has learned: copies on the CPU."""
        own = {f"{WEIGHTING}/{n}": copied(t) for n, t in self.weighting.state_dict().items()}
        return own | moments(self.views, self.names, self.optimizers)

    def check(self, stored: Mapping[str, Tensor], file: str, complete: bool) -> None:
        """Raise DamagedError that names the first of `stored` that `load` could not use.

        All moments must be there. Of what is known to be `complete` a weight may have none, one
        that never had a gradient.
        """
        own = {f"{WEIGHTING}/{n}": t for n, t in self.weighting.state_dict().items()}
        of_weights = moment_forms(self.views, self.names, self.optimizers)
        none = [each for each in of_weights if complete and not each.keys() & stored.keys()]
        wanted = {name: form for each in (forms(own), *of_weights) for name, form in each.items()}
        check_forms(stored, wanted, file, may_lack=[name for each in none for name in each])

    def load(self, stored: Mapping[str, Tensor], step: int) -> None:
        """Go on from what `stored` gave after `step` steps."""
        start = f"{WEIGHTING}/"
        own = {k.removeprefix(start): t for k, t in stored.items() if k.startswith(start)}
        self.weighting.load_state_dict(own)
        load_moments(self.views, self.names, self.optimizers, stored)
        for scheduled in self.schedules:
            scheduled.last_epoch = step
            factor = scheduled.lr_lambdas[0](step)
            groups = zip(scheduled.optimizer.param_groups, scheduled.base_lrs, strict=True)
            for group, lr in groups:
                group["lr"] = lr * factor

    @property
    def names(self) -> dict[Tensor, str]:
        """The names of all parameters that optimisers step."""
        found: dict[Tensor, str] = {p: name for name, p in self.model.named_parameters()}
        return found | {p: f"{WEIGHTING}.{n}" for n, p in self.weighting.named_parameters()}


def step_of(model: nn.Module, code: GeneratedModule) -> Step:
    """A function of features and labels to the tasks' own losses [T]."""

    def step(features: dict[str, Tensor], labels: dict[str, Tensor]) -> Tensor:
        losses_T: Tensor = code.stacked_losses(model(features, stacked=True), labels)
        return losses_T

    return step
