"""Stacks: Linears and MLPs of one shape, evaluated as batched products."""

from itertools import pairwise

import torch
from torch import nn

from homespec.emit.blocks.constants import USER_WIDTH
from homespec.emit.blocks.gains import start_bound


def named(pattern, nodes, count):
    """Logical names: the pattern, filled with each node and each number below `count`."""
    return tuple(pattern.format(node, i) for node in nodes for i in range(count))


def named__optional(pattern, nodes, count=1):
    """Logical names: the pattern, filled with each node and, if it has two fields, each number."""
    return tuple(pattern.format(node, i) for node in nodes for i in range(count))


def named__single(pattern, nodes):
    """Logical names: the pattern, filled with each node."""
    return tuple(pattern.format(node) for node in nodes)


def linear_init(width, *shape):
    """Weights or biases of Linears with `width` inputs, initialised as in nn.Linear."""
    bound = width**-0.5
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


def linear_init__inference(_, *shape):
    """Zeros, to be replaced by loaded weights."""
    return nn.Parameter(torch.zeros(shape))


class Linears(nn.Module):
    """M Linears of one shape as a batched product: x [G, N, B] -> [M, O, B].

    M/G consecutive Linears share each of the G inputs, and are computed as one wide product.
    """

    def __init__(self, names, width, out):
        super().__init__()
        self.names = names
        self.weight = linear_init(width, len(names), out, width)
        self.bias = linear_init(width, len(names), out)

    def forward(self, x):
        wide = self.weight.view(len(x), -1, x.shape[1])
        u = torch.bmm(wide, x).view(*self.bias.shape, x.shape[2])
        return u + self.bias.unsqueeze(-1).to(u.dtype)


class Linears__bare(nn.Module):
    """M Linears of one shape as a batched product: x [G, N, B] -> [M, O, B].

    M/G consecutive Linears share each of the G inputs, and are computed as one wide product.
    """

    def __init__(self, names, width, out, bias=True):
        super().__init__()
        self.names = names
        self.weight = linear_init(width, len(names), out, width)
        self.bias = linear_init(width, len(names), out) if bias else None

    def forward(self, x):
        wide = self.weight.view(len(x), -1, x.shape[1])
        u = torch.bmm(wide, x).view(*self.weight.shape[:2], x.shape[2])
        return u if self.bias is None else u + self.bias.unsqueeze(-1).to(u.dtype)


class SplitLinears(Linears):
    """Linears over v, given as the user's part [1, U, 1] and the candidates' [1, V - U, B].

    Returns [M, O, B]. The product with the user's part is computed only once.
    """

    def __init__(self, names, width, out):
        super().__init__(names, width - USER_WIDTH, out)
        self.user_weight = linear_init(width, len(names), out, USER_WIDTH)

    def forward(self, v):
        user, candidates = v
        once = torch.bmm(self.user_weight.view(1, -1, USER_WIDTH), user)
        return super().forward(candidates) + once.view(*self.user_weight.shape[:2], 1)


class SplitLinears__bare(Linears):
    """Linears over v, given as the user's part [1, U, 1] and the candidates' [1, V - U, B].

    Returns [M, O, B]. The product with the user's part is computed only once.
    """

    def __init__(self, names, width, out, bias=True):
        super().__init__(names, width - USER_WIDTH, out, bias)
        self.user_weight = linear_init(width, len(names), out, USER_WIDTH)

    def forward(self, v):
        user, candidates = v
        once = torch.bmm(self.user_weight.view(1, -1, USER_WIDTH), user)
        return super().forward(candidates) + once.view(*self.user_weight.shape[:2], 1)


class MLPs(nn.Sequential):
    """M MLPs of one shape: x [G, N, B] -> [M, out, B]; the last layers have no activation."""

    activation = nn.ReLU

    def __init__(self, names, *widths):
        super().__init__()
        for i, shape in enumerate(pairwise(widths)):
            if i > 0:
                self.append(self.activation())
            self.append(Linears([f"{name}.linears.{i}" for name in names], *shape))


class MLPs__bare(nn.Sequential):
    """M MLPs of one shape: x [G, N, B] -> [M, out, B]; the last layers have no activation."""

    activation = nn.ReLU

    def __init__(self, names, *widths, last_bias=True):
        super().__init__()
        for i, shape in enumerate(pairwise(widths)):
            if i > 0:
                self.append(self.activation())
            bias = last_bias or i < len(widths) - 2
            self.append(Linears([f"{name}.linears.{i}" for name in names], *shape, bias=bias))


class MLPs__prior(MLPs):
    def init_prior(self, rates):
        """Set the last biases to the log-odds of base rates, where training starts."""
        with torch.no_grad():
            self[-1].bias.copy_(torch.tensor(rates).logit().unsqueeze(-1))


class MLPs__known_prior(MLPs):
    def init_prior(self, rates):
        """Set the last biases to the log-odds of base rates; None is an unknown rate."""
        with torch.no_grad():
            for bias, rate in zip(self[-1].bias, rates, strict=True):
                if rate is not None:
                    bias.copy_(torch.tensor(rate).logit())


class MLPs__he(MLPs):
    def init_he(self, last=False):
        """Initialise Linears before an activation as in He (2015); the last ones only if `last`.

        Weights are uniform with variance 2 / fan-in, biases 0. Returns the MLPs.
        """
        with torch.no_grad():
            for linears in list(self)[::2][: None if last else -1]:
                bound = (6 / linears.weight.shape[2]) ** 0.5
                linears.weight.uniform_(-bound, bound)
                linears.bias.zero_()
        return self


class MLPs__gains(MLPs):
    def init_for(self, *activations):
        """Initialise the first Linears for the activations after them. Returns the MLPs.

        Weights are uniform, biases 0.
        """
        linears = [module for module in self if isinstance(module, Linears)]
        with torch.no_grad():
            for each, activation in zip(linears, activations, strict=False):
                bound = start_bound(activation, *each.weight.shape[1:])
                each.weight.uniform_(-bound, bound)
                each.bias.zero_()
        return self


class MLPs__over_v(MLPs):
    def over_v(self):
        """Read v as the user's part and the candidates'. Returns the MLPs."""
        out, width = self[0].weight.shape[1:]
        self[0] = SplitLinears(self[0].names, width, out)
        return self


class MLPs__swish(MLPs):
    activation = nn.SiLU


class SwishMLPs(MLPs):
    """MLPs whose activation is Swish."""

    activation = nn.SiLU


class LayeredMLPs(MLPs):
    """MLPs with modules after each hidden layer, which `hidden(names, width)` creates."""

    def __init__(self, names, *widths, hidden):
        nn.Sequential.__init__(self)
        for i, (width, out) in enumerate(pairwise(widths)):
            self.append(Linears([f"{name}.linears.{i}" for name in names], width, out))
            if i < len(widths) - 2:
                self.extend(hidden([f"{name}.hidden.{i}" for name in names], out))


class LayeredMLPs__bare(MLPs):
    """MLPs with modules after each hidden layer, which `hidden(names, width)` creates."""

    def __init__(self, names, *widths, hidden, biases):
        nn.Sequential.__init__(self)
        for i, (width, out) in enumerate(pairwise(widths)):
            linears = [f"{name}.linears.{i}" for name in names]
            self.append(Linears(linears, width, out, bias=biases[i]))
            if i < len(widths) - 2:
                self.extend(hidden([f"{name}.hidden.{i}" for name in names], out))
