"""Training: weighted sums of losses, with the spec's weights or learned uncertainties."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from homespec.train.distributed import all_reduce_mean
from homespec.train.weighting.base import Weighting


class Fixed(Weighting):
    """The sum of w_t L_t with the weights of the spec; one backward pass."""


class Uncertainty(Weighting):
    """Weights from a learned noise level of each task; one backward pass.

        sum of w_t (a_t exp(-s_t) L_t + s_t / 2)        s_t = log sigma_t², learned from 0

    a is 1/2 for a regression (a Gaussian likelihood of variance sigma²) and 1 for a binary task
    (the paper's approximation for logits divided by sigma²). At its optimum exp(s_t) = 2 a_t L_t.
    The spec's weight multiplies the whole term; inside, s_t would only cancel it. A task without
    labels in the batch (its loss is 0) is left out, because its s_t would fall without reason.
    Source: Kendall et al., *Multi-Task Learning Using Uncertainty to Weigh Losses*, CVPR 2018.
    """

    half_T: Tensor

    def __init__(self, weights: Mapping[str, float], kinds: Mapping[str, str]) -> None:
        super().__init__(weights)
        half_T = torch.tensor([0.5 if kinds[t] == "regression" else 1.0 for t in self.tasks])
        self.register_buffer("half_T", half_T, persistent=False)
        self.log_variance_T = nn.Parameter(torch.zeros(len(self.tasks)))

    def loss(self, losses_T: Tensor) -> Tensor:
        """The sum above, which also trains the log-variances."""
        s_T = self.log_variance_T
        weights_T = self.prior_T * self.half_T * torch.exp(-s_T)
        terms_T = weights_T * losses_T + self.prior_T * s_T / 2
        self._remember(weights_T)
        return terms_T.where(all_reduce_mean(losses_T.detach()) > 0, 0.0).sum()
