"""Export: the model that is served, whose outputs are what the tasks of a spec mean."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from homespec.schema.models import Spec
from homespec.scoring import Output

BATCH = "batch"
ROUNDING = 3e-5
"""What logits may differ by rounding, beside the largest one: sums of float32 numbers in another
order, many times over."""


class Served(nn.Module):
    """Features by name -> outputs [B] by task.

    As probabilities a binary task gives the one of its label (of a product: the product), and a
    regression its estimate in the unit of its label. As logits both are what the model computes.
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
        """What outputs [B] may differ by rounding, where `largest` is the largest logit in size."""
        of_logit = ROUNDING * max(1.0, largest)
        if self.output == "logits":
            return torch.full_like(output_B, of_logit)
        if task in self.scales:
            return torch.full_like(output_B, of_logit * self.scales[task])
        return output_B * (1 - output_B) * of_logit + ROUNDING / 100  # the sigmoid's slope


def program_of(model: Served, features: dict[str, Tensor]) -> torch.export.ExportedProgram:
    """The model as a graph whose batch is free, from one row on; `features` are two rows or more.

    With a minimum of one, torch.export does not take a batch of one row for a case of its own.
    """
    batch = torch.export.Dim(BATCH, min=1)
    shapes = {name: {0: batch} for name in features}
    return torch.export.export(model, (features,), dynamic_shapes=(shapes,))
