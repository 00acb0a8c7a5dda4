"""Training: PCGrad and CAGrad, which resolve conflicts between the tasks' gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor

from homespec.installation import install_command
from homespec.train import RunError
from homespec.train.distributed import all_gather, all_reduce_mean
from homespec.train.weighting.base import Tensors, Weighting

WeightsOf = Callable[[Tensor], Tensor]
"""A Gramian of gradients [T, T] -> their weights [T]."""


class Surgery(Weighting):
    """Combines the tasks' gradients g_t on shared elements, with weights that torchjd computes.

    An element of a tensor is shared if the gradients of at least two tasks are not zero, so nothing
    else must be known about batched tensors. Conflicts are measured on shared elements of all
    tensors and tables as one vector; elements that only one task reads get that task's own
    gradient. This takes one backward pass for each task, and memory for all their gradients.
    """

    passes_many = True

    def __init__(self, weights: Mapping[str, float], weights_of: WeightsOf) -> None:
        """`weights_of` is the method's function."""
        super().__init__(weights)
        self.weights_of = weights_of

    def backward(
        self, loss: Tensor, losses_T: Tensor, leaves: Tensors, rows: Tensors | None = None,
        scale: float = 1.0,
    ) -> None:  # fmt: skip
        """One pass for each task, then the combination; `loss` itself is not used.

        The combination is applied by a backward pass of only the leaves, which DDP waits for. It is
        the same in all processes, and so is DDP's mean of it.
        """
        from torchjd.autojac import jac

        weighted_T = scale * self.prior_T.to(losses_T.dtype) * losses_T
        jacobians = jac([weighted_T], inputs=list(leaves.values()), parallel_chunk_size=1)
        parts = list(_parts(dict(zip(leaves, jacobians, strict=True)), rows or {}))
        gramian_TT = torch.stack([part.gramian() for part in parts]).sum(0)
        weights_T = self._weights(gramian_TT)
        grads = dict(grad for part in parts for grad in part.combined(weights_T))
        torch.autograd.backward([leaves[name] for name in grads], list(grads.values()))
        self._remember(weights_T * self.prior_T)

    def _weights(self, gramian_TT: Tensor) -> Tensor:
        """The weights [T] of the tasks' gradients: the method's for those that are not zero.

        In the papers, every task has a gradient. A task without labels in the batch, or with weight
        0 in the spec, must not take part: its gradient would always be the worst off.
        """
        weights_T = torch.ones_like(self.prior_T)
        pulling_T = gramian_TT.diagonal() > 0
        if pulling_T.any() and gramian_TT.isfinite().all():  # NaN is reported where losses are read
            pulling_PP = gramian_TT[pulling_T][:, pulling_T]
            weights_T[pulling_T] = self.weights_of(pulling_PP).to(weights_T)
        return weights_T


class Dense:
    """The tasks' gradients of one tensor, [T, ...]; the mean over all processes."""

    def __init__(self, name: str, jacobian_T: Tensor) -> None:
        self.name, self.jacobian_T = name, all_reduce_mean(jacobian_T)
        self.shared = _shared(self.jacobian_T)

    def gramian(self) -> Tensor:
        """The inner products of the tasks' gradients where they are shared, [T, T]."""
        return _products(self.jacobian_T, self.shared)

    def combined(self, weights_T: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The gradient by the name of its leaf."""
        yield self.name, _combined(self.jacobian_T, self.shared, weights_T)


class LookedUp:
    """The tasks' gradients of the look-ups of one table, summed by row and over all processes."""

    def __init__(self, jacobians: dict[str, Tensor], rows: Tensors) -> None:
        self.jacobians = jacobians
        width = next(iter(jacobians.values())).shape[-1]
        flat = [j.flatten(1, -2).transpose(0, 1) for j in jacobians.values()]  # [N, T, E]
        own_NTE, rows_N = torch.cat(flat), torch.cat([rows[name].flatten() for name in jacobians])
        (all_NTE, all_N), ranks = all_gather(own_NTE, rows_N)
        found_U, at_N = torch.unique(all_N, return_inverse=True)
        sums_UTE = own_NTE.new_zeros(len(found_U), own_NTE.shape[1], width)
        self.sums_TUE = sums_UTE.index_add_(0, at_N, all_NTE / ranks).transpose(0, 1)
        self.shared = _shared(self.sums_TUE)
        self.own_at = torch.searchsorted(found_U, rows_N)

    def gramian(self) -> Tensor:
        """The inner products of the tasks' gradients where they are shared, [T, T]."""
        return _products(self.sums_TUE, self.shared)

    def combined(self, weights_T: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The gradient of each look-up of this process by the name of its leaf."""
        shared_NE, start = self.shared[self.own_at], 0
        for name, jacobian_T in self.jacobians.items():
            shape = jacobian_T.shape[1:]
            end = start + shape[:-1].numel()
            yield name, _combined(jacobian_T, shared_NE[start:end].view(shape), weights_T)
            start = end


def _parts(jacobians: dict[str, Tensor], rows: Tensors) -> Iterator[Dense | LookedUp]:
    tables: dict[str, dict[str, Tensor]] = {}
    for name, jacobian in jacobians.items():
        if name in rows:
            tables.setdefault(name.rpartition("/")[0], {})[name] = jacobian
        else:
            yield Dense(name, jacobian)
    for table in tables.values():
        yield LookedUp(table, rows)


def _shared(jacobian_T: Tensor) -> Tensor:
    return (jacobian_T != 0).sum(0) > 1


def _products(jacobian_T: Tensor, shared: Tensor) -> Tensor:
    all_TP = (jacobian_T * shared).flatten(1).double()
    return all_TP @ all_TP.T


def _combined(jacobian_T: Tensor, shared: Tensor, weights_T: Tensor) -> Tensor:
    weighted = torch.tensordot(weights_T.to(jacobian_T.dtype), jacobian_T, dims=1)
    return torch.where(shared, weighted, jacobian_T.sum(0))


# ---------------------------------------------------------------- methods


def pcgrad() -> WeightsOf:
    """Remove from each gradient its part along every conflicting one, in random order.

    Uses torch's random numbers. Source: Yu et al., *Gradient Surgery for Multi-Task Learning*,
    NeurIPS 2020, algorithm 1.
    """
    return cast(WeightsOf, _aggregation("pcgrad").PCGradWeighting())


def cagrad(c: float = 0.5) -> WeightsOf:
    """The gradient within c |g| of the plain sum g with the largest gain for the worst-off task.

    The paper uses the mean of the gradients; here it is T times that, so that learning rate and
    clipping mean the same as with other methods. Source: Liu et al., *Conflict-Averse Gradient
    Descent for Multi-task Learning*, NeurIPS 2021; solved by cvxpy.

    If some mixture of the gradients is 0, no gradient in the ball helps all tasks. The result is
    then the plain sum, which the paper's radius allows. torchjd would raise an error there and for
    short gradients, so they are scaled to a total length of 1.
    """
    try:
        weights_of = _aggregation("cagrad").CAGradWeighting(c=c)
    except ImportError:
        raise RunError(_missing("cagrad")) from None

    def scaled(gramian_TT: Tensor) -> Tensor:
        weights_T = cast(Tensor, weights_of(gramian_TT / gramian_TT.trace())) * len(gramian_TT)
        return weights_T if weights_T.any() else torch.ones_like(weights_T)

    return scaled


def _missing(method: str) -> str:
    return f"--weighting {method} needs torchjd and its solver: {install_command('balance')}"


def _aggregation(method: str) -> Any:
    try:
        import torchjd.aggregation
    except ImportError:
        raise RunError(_missing(method)) from None
    return torchjd.aggregation
