"""Training: GradNorm, which balances the tasks' gradients for shared weights."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from homespec.train.distributed import all_reduce_mean
from homespec.train.optimizer_state import Views
from homespec.train.weighting.base import Tensors, Weighting

SHARED = re.compile(r"experts\.(?P<layer>\w+)\.shared\.\w+\.linears\.(?P<linear>\d+)\.weight")


class GradNorm(Weighting):
    """Adapts the weights so that slower tasks get larger gradients.

        G_t = |gradient of w_t L_t on W|     r_t = (L_t / L_t(0)) over its mean
        learns w from: the sum of |G_t - mean(G) r_t^alpha|, the target taken as a constant

    W is the last Linear of the root's experts in the last layer where the root has some: the last
    weights that all tasks read. L_t(0) is a task's loss in the first batch that has labels of it.
    Weights are sum(w of the spec) * softmax(theta), so they stay positive and keep their sum, for
    which the paper divides after each step; they start at the spec's. The paper's tasks all have
    labels in each batch. A task without one, or of weight 0 in the spec, takes no part in a step:
    both means are over the other tasks, whose weights share their own sum. One backward pass of the
    whole model, and one to W for each task (a compiled step always goes all the way).
    Source: Chen et al., *GradNorm*, ICML 2018; its alpha 1.5 and learning rate 0.025.
    """

    lr = 0.025
    passes_many = True
    first_T: Tensor
    """Each task's first loss; 0 if there was no label yet."""

    def __init__(self, weights: Mapping[str, float], views: Views, alpha: float = 1.5) -> None:
        """`views` is the generated `logical_views`."""
        super().__init__(weights)
        self.views, self.alpha = views, alpha
        self.theta_T = nn.Parameter(self.prior_T.log())
        self.register_buffer("first_T", torch.zeros(len(self.tasks)))

    def weights(self) -> Tensor:
        """The current weights [T]."""
        return self.prior_T.sum() * self.theta_T.softmax(0)

    def loss(self, losses_T: Tensor) -> Tensor:
        """The sum of w_t L_t with the current weights."""
        return (self.weights().detach().to(losses_T.dtype) * losses_T).sum()

    def backward(
        self, loss: Tensor, losses_T: Tensor, leaves: Tensors, rows: Tensors | None = None,
        scale: float = 1.0,
    ) -> None:  # fmt: skip
        """Add the gradient of the weighted sum, and that of the weights."""
        weights_T = self.weights().detach()
        norms_T = self._norms(losses_T, leaves)
        loss.backward()  # type: ignore[no-untyped-call]
        self._learn(norms_T, all_reduce_mean(losses_T.detach().to(weights_T.dtype)), scale)
        self._remember(weights_T)

    def _learn(self, norms_T: Tensor, losses_T: Tensor, scale: float) -> None:
        """Add the gradient of theta, computed from the tasks with labels and a weight."""
        self.first_T.copy_(torch.where(self.first_T > 0, self.first_T, losses_T))
        present_T = (self.prior_T > 0) & (losses_T > 0)
        present_T = present_T | ~present_T.any()  # without any, all gradients are 0
        count = present_T.sum()
        ratio_T = torch.where(losses_T > 0, losses_T / self.first_T, 1.0) * present_T
        pull_T = self._weights_among(present_T) * norms_T
        target_T = pull_T.sum() / count * (ratio_T / (ratio_T.sum() / count)) ** self.alpha
        distance_T = (pull_T - target_T.detach()).abs() * present_T
        (scale * distance_T.sum()).backward()  # type: ignore[no-untyped-call]

    def _weights_among(self, present_T: Tensor) -> Tensor:
        """The current weights [T], 0 for absent tasks, as a function of the present thetas."""
        total = (self.weights().detach() * present_T).sum()
        return total * self.theta_T.masked_fill(~present_T, -torch.inf).softmax(0)

    def _norms(self, losses_T: Tensor, leaves: Tensors) -> Tensor:
        """The norm of each loss's gradient on W [T]."""
        names = last_shared(leaves, self.views)
        tensors = {name: leaves[name] for name in {tensor for tensor, _ in names}}
        norms = []
        for loss in losses_T.unbind():
            grads = torch.autograd.grad(
                loss, list(tensors.values()), retain_graph=True, materialize_grads=True
            )
            views = self.views({n: all_reduce_mean(g) for n, g in zip(tensors, grads, strict=True)})
            squares = torch.stack([views[part].float().square().sum() for _, part in names])
            norms.append(squares.sum().sqrt())
        return torch.stack(norms)


def last_shared(leaves: Tensors, views: Views) -> list[tuple[str, str]]:
    """The tensors that form W, with the logical names of their parts.

    Raises ValueError if the root owns no experts.
    """
    matches = [
        ((match["layer"], match["linear"]), (name, part))
        for name, leaf in leaves.items()
        if "/" not in name  # a look-up
        for part in views({name: leaf.detach()})
        if (match := SHARED.fullmatch(part))
    ]
    if not matches:
        raise ValueError("gradnorm needs experts that all tasks share, but the root owns none")
    layers = [key[0] for key, _ in matches]
    last = max((key for key, _ in matches if key[0] == layers[-1]), key=lambda key: int(key[1]))
    return [names for key, names in matches if key == last]
