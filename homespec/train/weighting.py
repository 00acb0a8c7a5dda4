"""Training: how the losses of tasks become one gradient."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

from torch import Tensor, nn

METHODS = ("fixed", "uncertainty", "gradnorm", "pcgrad", "cagrad")


class Weighting(nn.Module):
    """Interface (skeleton; the implementation follows).

        weighting = weighting_of("pcgrad", code, weights, kinds)   # nn.Module; may have parameters
        with weighting.several_passes():           # around the (compiled) step: keeps its buffers
            losses_T = step(features, labels)
        total = weighting.backward(losses_T, leaves)   # sets .grad of all leaves and of its own
        weighting.current()                        # task -> weight of the last step, for logging

    `leaves` is name -> leaf tensor: dict(model.named_parameters()) without frozen ones, and the
    look-ups of `SparseTables` (see optimizers.py).
    """

    tasks: tuple[str, ...]

    def several_passes(self) -> AbstractContextManager[object]:
        """What the compiled step must run within, so that it can be differentiated repeatedly."""
        raise NotImplementedError

    def backward(self, losses_T: Tensor, leaves: Mapping[str, Tensor]) -> Tensor:
        """Set `.grad` of all leaves, and of the learned weights; the total [] to log."""
        raise NotImplementedError

    def current(self) -> dict[str, float]:
        """The weights of the last step by task."""
        raise NotImplementedError


class Fixed(Weighting):
    """The weights of the spec."""

    def __init__(self, code, weights):  # type: ignore
        super().__init__()
        self.tasks = code.TASKS
        self.register_buffer(
            "w", __import__("torch").tensor([weights[t] for t in code.TASKS]), persistent=False
        )

    def several_passes(self):  # type: ignore
        return __import__("contextlib").nullcontext()

    def backward(self, losses_T, leaves):  # type: ignore
        total = (losses_T * self.w).sum()
        total.backward()
        return total.detach()


def weighting_of(kind, code, weights, kinds):  # type: ignore
    return Fixed(code, weights)
