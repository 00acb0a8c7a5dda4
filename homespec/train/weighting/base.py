"""Training: the base class of methods that combine the tasks' losses into one gradient."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

Tensors = Mapping[str, Tensor]


class Weighting(nn.Module):
    """Combines the tasks' losses into one gradient. A step is

        with weighting.several_passes():
            losses_T = step(features, labels)          # eager or compiled
        loss = weighting.loss(losses_T)
        weighting.backward(loss, losses_T, leaves, rows)

    where `leaves` are the tensors to train by name: the model's parameters that require a gradient,
    and those of `SparseTables`, with their `rows`. If it learns weights, its own parameters belong
    in the dense optimiser, in the groups of `groups`.

    With several processes all calls are collective and leave the same weights in each of them.
    """

    prior_T: Tensor
    """The weights of the spec."""
    last_T: Tensor
    """The weights of the last step."""
    lr: float | None = None
    """The learning rate of learned weights; None for that of the model."""
    passes_many: bool = False
    """Whether the losses are differentiated more than once."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        """Create the method for tasks in the order of the losses, with the weights of the spec."""
        super().__init__()
        self.tasks = tuple(weights)
        prior_T = torch.tensor(list(weights.values()))
        self.register_buffer("prior_T", prior_T, persistent=False)
        self.register_buffer("last_T", prior_T.clone())

    def several_passes(self) -> AbstractContextManager[object]:
        """A context for the step, in which torch.compile keeps values that later passes read.

        By default, the first backward pass of a compiled graph may overwrite its inputs.
        """
        if not self.passes_many:
            return nullcontext()
        from torch._functorch import config  # not imported by `import torch`

        patched: AbstractContextManager[object] = config.patch(donated_buffer=False)
        return patched

    def groups(self) -> list[dict[str, object]]:
        """Parameter groups for the dense optimiser: none, or the learned weights, without decay."""
        learned = list(self.parameters())
        rate = {} if self.lr is None else {"lr": self.lr}
        return [{"params": learned, "weight_decay": 0.0, **rate}] if learned else []

    def loss(self, losses_T: Tensor) -> Tensor:
        """The total loss [], to log: the sum of w_t L_t with the weights of the spec."""
        return (self.prior_T.to(losses_T.dtype) * losses_T).sum()

    def backward(
        self, loss: Tensor, losses_T: Tensor, leaves: Tensors, rows: Tensors | None = None,
        scale: float = 1.0,
    ) -> None:  # fmt: skip
        """Add gradients to `.grad` of leaves and learned weights; by default, those of the total.

        `loss` is the result of `loss` for these losses, from one forward pass, times `scale`, which
        scales the gradient. `rows` are the table rows of those leaves that are look-ups, by the
        same names.
        """
        loss.backward()  # type: ignore[no-untyped-call]

    def current(self) -> dict[str, float]:
        """The weights of the last step by task. Waits for the device."""
        return dict(zip(self.tasks, self.last_T.tolist(), strict=True))

    def _remember(self, weights_T: Tensor) -> None:
        self.last_T.copy_(weights_T.detach())
