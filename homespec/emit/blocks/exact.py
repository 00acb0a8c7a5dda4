"""Buffers and constants that a cast of the model must not change."""

import torch
from torch import nn


class Exact(nn.Module):
    """A module whose buffers stay as precise as they must be, and whose constants are never lost.

    A cast of the model leaves boundaries float64 and other floats at least float32. Constants are
    neither buffers nor in a state, so that no average of models changes them: their numbers are in
    this file, from which they are made wherever the model goes.
    """

    def __init__(self, *args):
        super().__init__(*args)
        self.constants = {}
        self.register_load_state_dict_post_hook(Exact.complete)

    def constant(self, name, numbers, dtype=torch.int64):
        """Make the numbers an attribute, a tensor that moves with the module."""
        self.constants[name] = (numbers, dtype)
        self.make(name, None)

    def _apply(self, fn, recurse=True):
        """What `to`, `half`, `cuda` and `to_empty` do, the last of which forgets what was there."""
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, old in before.items():
            new = self._buffers[name]
            least = torch.float64 if name.endswith("boundaries") else torch.float32
            if new.is_floating_point() and new.dtype.itemsize < least.itemsize:
                self._buffers[name] = old.to(new.device, least)
        for name in self.constants:
            old = getattr(self, name)
            new = fn(old)
            if new is not old:
                self.make(name, new.device)
        return self

    def make(self, name, device):
        """Make a constant on a device."""
        numbers, dtype = self.constants[name]
        setattr(self, name, torch.tensor(numbers, dtype=dtype, device=device))

    def complete(self, _):
        """Bring constants from the meta device to where a loaded state put the weights."""
        for name in self.constants:
            if getattr(self, name).is_meta:
                self.make(name, next(self.parameters()).device)
