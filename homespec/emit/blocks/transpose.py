"""From features, whose first axis is the batch, to the trunk, whose last axis is the batch."""

import torch


class Transpose(torch.autograd.Function):
    """x [B, V] -> [V, B]. The result and its gradient are written to memory (see Model)."""

    @staticmethod
    def forward(ctx, x):
        x = x.T.contiguous()
        return x.as_strided(x.shape, x.stride())  # makes torch.compile write x to memory

    @staticmethod
    def backward(ctx, grad):
        grad = grad.T.contiguous()
        return grad.as_strided(grad.shape, grad.stride())
