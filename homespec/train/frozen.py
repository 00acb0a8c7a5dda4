"""Training: keeps weights of `--freeze` bitwise the same, even if they share a tensor with others.

Optimised code stores many experts in one tensor, so a frozen name is often a slice of a trained
tensor. Tensors that are frozen completely do not require a gradient. For the others,

* the gradient is 0 in frozen slices: in its norm, for gradient surgery, in moments;
* slices are restored after each step of the optimiser, because weight decay and moments change them
  even without a gradient.

Running statistics change in the forward pass of a training step, and are restored after its
backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from homespec.runtime import GeneratedModule
from homespec.train import RunError
from homespec.train.optimizers import around_steps
from homespec.train.patterns import matching
from homespec.train.tensor_parts import narrowed


class Frozen:
    """The frozen part of a model."""

    def __init__(
        self,
        model: nn.Module,
        code: GeneratedModule,
        patterns: Sequence[str],
        also: frozenset[str] = frozenset(),
        in_spec: frozenset[str] = frozenset(),
    ) -> None:
        """Freeze weights that match patterns, that have rate 0 (`also`), or that the spec freezes.

        Raises RunError for a pattern that matches nothing.
        """
        self.model = model
        self.names: frozenset[str] = frozenset()
        """Logical names of frozen weights and statistics."""
        self.masks: dict[str, Tensor] = {}
        """For each tensor of the model, a tensor that broadcasts to it, True where it is frozen."""
        self.remark = ""
        """A line on how much is frozen; empty if nothing is."""
        self._buffers: list[str] = []
        if patterns or also or in_spec:
            self._freeze(code, patterns, also, in_spec)

    def _freeze(
        self, code: GeneratedModule, patterns: Sequence[str], also: frozenset[str],
        in_spec: frozenset[str],
    ) -> None:  # fmt: skip
        state, parameters = code.logical_state(self.model), dict(self.model.named_parameters())
        self.names = matching("--freeze", patterns, list(state)) | also | in_spec
        self.remark = _remark(self.names, state)
        if not code.logical_views(self.model, parameters).keys() - self.names:
            flags = "--lr-of with rate 0" if also else "--freeze"
            raise RunError(f"{flags} leaves nothing to train: give fewer patterns")
        for name, tensor in (parameters | dict(self.model.named_buffers())).items():
            mask = torch.zeros(tensor.shape, dtype=torch.bool)
            for part, view in code.logical_views(self.model, {name: mask}).items():
                view.fill_(part in self.names)
            if not mask.any():
                continue
            self.masks[name] = narrowed(mask)
            if name not in parameters:
                self._buffers.append(name)
            elif mask.all():
                tensor.requires_grad_(False)
            else:  # torch does not annotate this method
                tensor.register_hook(self._without_frozen(name))  # type: ignore[no-untyped-call]

    def of_new(self, names: frozenset[str]) -> Iterator[str]:
        """A warning if frozen weights were not carried over from a trained model."""
        if both := sorted(self.names & names):
            others = (
                f" and {len(both) - 1} more, which start" if len(both) > 1 else ", which starts"
            )
            yield f"warning: --freeze keeps {both[0]}{others} fresh, so its new parts never learn"

    def _without_frozen(self, name: str) -> Callable[[Tensor], Tensor]:
        def hook(grad: Tensor) -> Tensor:
            return grad.masked_fill(self._mask(name, grad.device), 0.0)

        return hook

    def _mask(self, name: str, device: torch.device) -> Tensor:
        if self.masks[name].device != device:
            self.masks[name] = self.masks[name].to(device)
        return self.masks[name]

    def hold(self, optimizer: torch.optim.Optimizer) -> None:
        """Prevent an optimiser from changing frozen parts of its parameters."""
        own = [n for n, p in self.model.named_parameters() if n in self.masks and p.requires_grad]
        if not own:
            return
        around_steps(optimizer, lambda: self._copies(own), self.put_back)

    def statistics(self) -> dict[str, Tensor]:
        """Copies of the buffers that have frozen parts, for `put_back`."""
        return self._copies(self._buffers)

    def _copies(self, names: Sequence[str]) -> dict[str, Tensor]:
        return {name: self._tensor(name).detach().clone() for name in names}

    def _tensor(self, name: str) -> Tensor:
        """A tensor of the model, which is replaced if the model moves to another device."""
        path, _, attribute = name.rpartition(".")
        tensor: Tensor = getattr(self.model.get_submodule(path), attribute)
        return tensor

    @torch.no_grad()
    def put_back(self, copies: Mapping[str, Tensor]) -> None:
        """Restore frozen parts from their copies."""
        for name, before in copies.items():
            now = self._tensor(name)
            now.copy_(torch.where(self._mask(name, now.device), before, now))

    @contextmanager
    def keeping_statistics(self) -> Iterator[None]:
        """Keep frozen statistics unchanged in the block."""
        copies = self.statistics()
        yield
        self.put_back(copies)

    def has_row(self, table: str, row: int) -> bool:
        """Whether any row of a table, a parameter given by name, is frozen."""
        mask = self.masks.get(table)
        return mask is not None and bool(mask[row if len(mask) > 1 else 0].all())


def _remark(names: frozenset[str], state: Mapping[str, Tensor]) -> str:
    numbers, of_all = (sum(state[name].numel() for name in each) for each in (names, state))
    return (
        f"frozen: {len(names)} of {len(state)} weights and statistics, {numbers:,} of {of_all:,}"
        " numbers"
    )
