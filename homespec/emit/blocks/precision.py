"""Protects values that a cast of the model must not round."""

import torch
from torch import nn


class Float32Buffers(nn.Module):
    """A module whose buffers stay at least float32, whatever type the model is cast to."""

    def _apply(self, fn, recurse=True):
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, buffer in before.items():
            if self._buffers[name].dtype.itemsize < 4:
                self._buffers[name] = buffer.to(self._buffers[name].device, torch.float32)
        return self
