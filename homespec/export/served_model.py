"""Export: the served model, whose outputs are the results of the tasks of a spec."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import torch
from torch import Tensor, nn

from homespec.api import LoadedSpec
from homespec.graph.nodes import FeatureGate
from homespec.schema.models import Spec
from homespec.scoring import Output

BATCH = "batch"
ROUNDING = 3e-5
"""Differences of logits that count as rounding, relative to the largest logit: float32 sums in
another order, repeated many times."""


class Served(nn.Module):
    """Features by name -> outputs [B] by task.

    With probabilities, a binary task returns the probability of its label (for a product, the
    product), and a regression its estimate in the unit of its label. With logits, both return the
    values that the model computes.
    """

    def __init__(self, model: nn.Module, spec: Spec, output: Output) -> None:
        super().__init__()
        self.model = model
        self.output = output
        self.scales = {n: t.scale for n, t in spec.tasks.items() if t.kind == "regression"}

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """The outputs of one batch."""
        logits = self.model(features)
        return {task: self._meaning(task, logit_B) for task, logit_B in logits.items()}

    def _meaning(self, task: str, logit_B: Tensor) -> Tensor:
        if self.output == "logits":
            return logit_B
        return logit_B * self.scales[task] if task in self.scales else logit_B.sigmoid()

    def rounding(self, task: str, output_B: Tensor, largest: float) -> Tensor:
        """How much outputs [B] may differ by rounding; `largest` is the largest size of a logit."""
        of_logit = ROUNDING * max(1.0, largest)
        if self.output == "logits":
            return torch.full_like(output_B, of_logit)
        if task in self.scales:
            return torch.full_like(output_B, of_logit * self.scales[task])
        return output_B * (1 - output_B) * of_logit + ROUNDING / 100  # the sigmoid's slope


class OneRowApart(nn.Module):
    """The same model, with a branch for batches of one row.

    The batch is the last axis of the trunk's tensors, and inductor vectorises along it. For a
    single row, vectors hold one number each, and each product is a library call with a matrix of
    one column. Within the branch, the batch is the constant 1, so inductor vectorises along another
    axis and generates the products itself. The program contains code for both.
    """

    def __init__(self, served: Served, tasks: Sequence[str]) -> None:
        super().__init__()
        self.model = served.model  # parameters keep their names
        self._served, self._tasks = [served], tuple(tasks)  # the list hides the module from torch

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """The outputs of one batch."""
        tensors = tuple(features.values())
        rows = tensors[0].shape[0]
        outputs_TB = torch.cond(rows == 1, self._one_row(features), self._rows(features), tensors)
        return dict(zip(self._tasks, outputs_TB.unbind(), strict=True))

    def _rows(self, names: Iterable[str]) -> Callable[..., Tensor]:
        """A function from features, in the order of their names, to outputs [T, B]."""

        def outputs(*tensors: Tensor) -> Tensor:
            features = dict(zip(names, tensors, strict=True))
            return torch.stack([*self._served[0](features).values()])

        return outputs

    def _one_row(self, names: Iterable[str]) -> Callable[..., Tensor]:
        """The same for batches of one row."""

        def outputs(*tensors: Tensor) -> Tensor:
            features = {n: t.narrow(0, 0, 1) for n, t in zip(names, tensors, strict=True)}
            rows = tensors[0].shape[0]  # torch.cond requires the shape of the other branch
            return torch.stack([o.expand(rows) for o in self._served[0](features).values()])

        return outputs


def one_row_gains(spec: LoadedSpec) -> bool:
    """Whether code for one row pays off.

    It does with feature gates, whose work is mostly elementwise. MMoE, which consists mostly of
    products, would be slower.
    """
    return any(spec.analysis.graph.of(FeatureGate))


def package_program_of(
    model: Served, features: dict[str, Tensor], one_row_apart: bool, user: Collection[str] = ()
) -> torch.export.ExportedProgram:
    """The program from which a package is compiled; on a CPU, it may have code for one row.

    It does not with inputs of a `user`, where requests with one candidate are rare.
    """
    device = next(iter(features.values())).device.type
    if user or not one_row_apart or device != "cpu":
        return program_of(model, features, user)
    with torch.no_grad():
        tasks = [*model(features)]
    return program_of(OneRowApart(model, tasks), features)


def program_of(
    model: nn.Module, features: dict[str, Tensor], user: Collection[str] = ()
) -> torch.export.ExportedProgram:
    """The model as a graph with a dynamic batch of at least one row; `features` have two or more.

    The inputs `user` always have one row. With a minimum of one, torch.export does not specialise
    on a batch of one row.
    """
    batch = torch.export.Dim(BATCH, min=1)
    shapes = {name: {} if name in user else {0: batch} for name in features}
    return torch.export.export(model, (features,), dynamic_shapes=(shapes,))
