"""Norms and activations of stacked experts: u [M, D, B] -> same."""

import torch
import torch.nn.functional as F
from torch import nn

from homespec.emit.blocks.precision import Float32Buffers


class _BatchStatistics(Float32Buffers):
    """Base class of norms with statistics of each expert and channel, in float32 or more."""

    def statistics(self, u):
        """Mean and variance [M, D, 1]: of the batch in training, else the running ones."""
        if not self.training:
            # A copy, because the mean is saved for backward and a training step overwrites it.
            return self.running_mean.unsqueeze(-1).clone(), self.running_var.unsqueeze(-1)
        rows = u.shape[-1]
        if rows < 2:
            raise ValueError("training needs batches of at least 2 rows")
        var, mean = torch.var_mean(u, dim=-1, correction=0, keepdim=True)
        with torch.no_grad():
            self.running_mean.lerp_(mean.squeeze(-1), self.momentum)
            self.running_var.lerp_((var * (rows / (rows - 1))).squeeze(-1), self.momentum)
        return mean, var


class _BatchNorm(_BatchStatistics):
    def __init__(self, names, width, eps, momentum):
        super().__init__()
        self.names = [f"{name}.norm" for name in names]
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(len(names), width))
        self.bias = nn.Parameter(torch.zeros(len(names), width))
        self.register_buffer("running_mean", torch.zeros(len(names), width))
        self.register_buffer("running_var", torch.ones(len(names), width))


class BatchNorm(_BatchNorm):
    """Batch norm of M experts, each with its own statistics: u [M, D, B] -> same."""

    def forward(self, u):
        x = u.to(self.running_mean.dtype)
        mean, var = self.statistics(x)
        scale = self.weight.unsqueeze(-1) * (var + self.eps).rsqrt()
        return ((x - mean) * scale + self.bias.unsqueeze(-1)).to(u.dtype)


class NormSwish(torch.autograd.Function):
    """swish(w n + b), n = (u - mean) rsqrt(var + eps): u [M, D, B] -> same; the others are [M, D,
    1].

    Only u is saved. The backward pass recomputes the rest, and reads memory once for the sums and
    once for the gradient of u. `batch_stats` means that mean and var are those of u.
    """

    @staticmethod
    def forward(ctx, u, w, b, mean, var, eps, batch_stats):
        rstd = (var + eps).rsqrt()
        ctx.save_for_backward(u, w, b, mean, rstd)
        ctx.batch_stats = batch_stats
        return F.silu((u.to(mean.dtype) - mean) * (w * rstd) + b).to(u.dtype)

    @staticmethod
    def backward(ctx, grad):
        if torch.is_grad_enabled():
            raise RuntimeError(
                "this batch norm has no second derivative: compile with --no-optimize"
            )
        u, w, b, mean, rstd = ctx.saved_tensors
        centred = u.to(mean.dtype) - mean
        n = centred * rstd
        y = centred * (w * rstd) + b  # as in forward, which torch.compile recognises
        # sigmoid(-y), not 1 - sigmoid(y): on a CPU, torch.compile would write a shared sigmoid to
        # memory.
        grad = (grad * (y.sigmoid() * (1 + y * (-y).sigmoid()))).to(u.dtype)
        grad_w = (grad * n).sum(-1, keepdim=True)
        grad_b = grad.sum(-1, keepdim=True, dtype=mean.dtype)
        if ctx.batch_stats:  # mean and var depend on u
            grad = grad - (n * grad_w + grad_b) / u.shape[-1]
        grad_u = (grad * (w * rstd)).to(u.dtype)
        return grad_u, grad_w.to(w.dtype), grad_b.to(b.dtype), None, None, None, None


class BatchNormSwish(_BatchNorm):
    """swish(batch norm(u)) of M experts, each with its own statistics: u [M, D, B] -> same."""

    def forward(self, u):
        with torch.no_grad():
            mean, var = self.statistics(u.to(self.running_mean.dtype))
        w, b = self.weight.unsqueeze(-1), self.bias.unsqueeze(-1)
        return NormSwish.apply(u, w, b, mean, var, self.eps, self.training)


class LayerNorm(nn.Module):
    """Layer norm of M experts, each with its own scale and shift: u [M, D, B] -> same."""

    def __init__(self, names, width, eps):
        super().__init__()
        self.names = [f"{name}.norm" for name in names]
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(len(names), width))
        self.bias = nn.Parameter(torch.zeros(len(names), width))

    def forward(self, u):
        x = u.to(torch.promote_types(u.dtype, torch.float32))
        var, mean = torch.var_mean(x, dim=1, correction=0, keepdim=True)
        normal = (x - mean) * (var + self.eps).rsqrt()
        return (normal * self.weight.unsqueeze(-1) + self.bias.unsqueeze(-1)).to(u.dtype)


class PReLU(nn.Module):
    """PReLU with one slope below 0 for each of M MLPs: u [M, D, B] -> same."""

    def __init__(self, names):
        super().__init__()
        self.names = [f"{name}.act" for name in names]
        self.weight = nn.Parameter(torch.full((len(names), 1), 0.25))

    def forward(self, u):
        return u.where(u > 0, self.weight.unsqueeze(-1).to(u.dtype) * u)


class Dice(_BatchStatistics):
    """DICE: p u + (1 - p) alpha u with p = sigmoid(BN without affine(u)): u [M, D, B] -> same."""

    def __init__(self, names, width, eps, momentum):
        super().__init__()
        self.names = [f"{name}.dice" for name in names]
        self.eps, self.momentum = eps, momentum
        self.alpha = nn.Parameter(torch.zeros(len(names), width))
        self.register_buffer("running_mean", torch.zeros(len(names), width))
        self.register_buffer("running_var", torch.ones(len(names), width))

    def forward(self, u):
        x = u.to(self.running_mean.dtype)
        mean, var = self.statistics(x)
        p = ((x - mean) * (var + self.eps).rsqrt()).sigmoid()
        return (x * (p + (1 - p) * self.alpha.unsqueeze(-1))).to(u.dtype)


class FoldedDice(Float32Buffers):
    """DICE with constant statistics: p u + (1 - p) alpha u with p = sigmoid(scale u + shift).

    u [M, D, B] -> same. Each expert and channel has its own scale and shift.
    """

    def __init__(self, names, width):
        super().__init__()
        self.names = [f"{name}.dice" for name in names]
        self.alpha = nn.Parameter(torch.zeros(len(names), width))
        self.register_buffer("scale", torch.ones(len(names), width))
        self.register_buffer("shift", torch.zeros(len(names), width))

    def forward(self, u):
        p = (u * self.scale.unsqueeze(-1) + self.shift.unsqueeze(-1)).sigmoid()
        return (u * (p + (1 - p) * self.alpha.unsqueeze(-1))).to(u.dtype)
