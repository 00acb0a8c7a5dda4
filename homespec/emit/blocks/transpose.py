"""From features, which are rows, to the trunk, whose last axis is the batch."""

import torch


class Transpose(torch.autograd.Function):
    """x [B, V] -> [V, B], written to memory like its gradient (see the docstring of Model)."""

    @staticmethod
    def forward(ctx, x):
        x = x.T.contiguous()
        return x.as_strided(x.shape, x.stride())  # no change; has torch.compile write x to memory

    @staticmethod
    def backward(ctx, grad):
        grad = grad.T.contiguous()
        return grad.as_strided(grad.shape, grad.stride())
